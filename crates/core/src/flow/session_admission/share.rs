//! The share of a cache for active contexts, learned from mispredicted cached tokens.
//!
//! Additive increase, multiplicative decrease, as in TCP congestion control. It grows only while it
//! limits admission (RFC 7661): a period without losses and without load proves nothing about a
//! full cache.

use super::config::SessionAdmissionConfig;

/// The learned share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    now: f64,
    least: f64,
    most: f64,
    /// Tokens expected in caches since the last step.
    expected: u64,
    /// Of those, the tokens that were missing.
    lost: u64,
    /// Whether a session was delayed since then.
    limiting: bool,
}

/// Expected tokens between steps: half a minute of one request of 60,000 tokens a second.
const WINDOW: u64 = 2_000_000;
/// The share of losses up to which caches count as large enough; some mispredictions do not depend
/// on size.
const TOLERATED: f64 = 0.1;
/// Six steps from the default to the minimum.
const DECREASE: f64 = 0.95;
/// 20 steps back.
const INCREASE: f64 = 0.01;

impl Share {
    pub(super) const fn new(config: &SessionAdmissionConfig) -> Self {
        Self {
            now: config.share,
            least: config.share_min,
            most: if config.share > config.share_max { config.share } else { config.share_max },
            expected: 0,
            lost: 0,
            limiting: false,
        }
    }

    /// Records the `predicted` and the `reported` cached tokens of a prompt.
    pub(super) fn observe(&mut self, predicted: u32, reported: u32) {
        self.expected += u64::from(predicted);
        self.lost += u64::from(predicted.saturating_sub(reported));
        if self.expected < WINDOW {
            return;
        }
        if self.lost as f64 > TOLERATED * self.expected as f64 {
            self.now *= DECREASE;
        } else if self.limiting {
            self.now += INCREASE;
        }
        let now = self.now.min(self.most).max(self.least);
        *self = Self { now, expected: 0, lost: 0, limiting: false, ..*self };
    }

    /// Records that the share delayed a session.
    pub(super) fn record_limiting(&mut self) {
        self.limiting = true;
    }

    pub(super) const fn get(&self) -> f64 {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(count: u32, reported: u32, limiting: bool) -> f64 {
        steps(&SessionAdmissionConfig::default(), count, reported, limiting)
    }

    fn steps(config: &SessionAdmissionConfig, count: u32, reported: u32, limiting: bool) -> f64 {
        let mut share = Share::new(config);
        for _ in 0..20 * count {
            if limiting {
                share.record_limiting();
            }
            share.observe(100_000, reported);
        }
        share.get()
    }

    #[test]
    fn it_falls_when_caches_lose_what_they_should_hold() {
        assert!((after(1, 80_000, true) - 0.8 * 0.95).abs() < 1e-9);
        assert!((after(100, 80_000, true) - 0.6).abs() < 1e-9);
    }

    #[test]
    fn it_rises_only_while_it_holds_somebody_back() {
        let low = SessionAdmissionConfig { share: 0.7, ..SessionAdmissionConfig::default() };
        assert!((steps(&low, 3, 95_000, true) - 0.73).abs() < 1e-9);
        assert!((steps(&low, 100, u32::MAX, true) - 0.8).abs() < 1e-9);
        assert!((steps(&low, 100, 95_000, false) - 0.7).abs() < 1e-9);
    }

    #[test]
    fn a_configured_share_above_the_maximum_is_the_maximum() {
        let high = SessionAdmissionConfig { share: 0.9, ..SessionAdmissionConfig::default() };
        assert!((steps(&high, 100, u32::MAX, true) - 0.9).abs() < 1e-9);
        assert!((steps(&high, 1, 80_000, true) - 0.9 * 0.95).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_expected_says_nothing() {
        let mut share = Share::new(&SessionAdmissionConfig::default());
        (0..1_000_000).for_each(|_| share.observe(0, 100_000));
        assert!((share.get() - 0.8).abs() < 1e-9);
    }
}
