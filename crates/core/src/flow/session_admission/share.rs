//! Which share of a cache active contexts may fill: learned from the tokens that were thought to be cached and were not.
//!
//! Additive increase, multiplicative decrease, as for TCP's congestion window. And as for that (RFC 7661), it grows only
//! when it was what held somebody back: a quiet night without losses proves nothing about a full cache.

use super::config::SessionAdmissionConfig;

/// The learned share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    now: f64,
    least: f64,
    most: f64,
    /// Tokens that were thought to be cached, since the last step.
    expected: u64,
    /// Those of them that were not.
    lost: u64,
    /// Whether somebody was held back since then.
    limiting: bool,
}

/// Expected tokens from step to step: half a minute of one request of 60,000 tokens a second.
const WINDOW: u64 = 2_000_000;
/// The share of losses up to which caches are thought to be large enough: some are mispredicted however large they are.
const TOLERATED: f64 = 0.1;
/// Seven steps from the default down to the least.
const DECREASE: f64 = 0.95;
/// 25 steps back.
const INCREASE: f64 = 0.01;

impl Share {
    pub(super) const fn new(config: &SessionAdmissionConfig) -> Self {
        Self {
            now: config.share,
            least: config.share_min,
            most: config.share_max,
            expected: 0,
            lost: 0,
            limiting: false,
        }
    }

    /// An endpoint was expected to find `predicted` tokens of a prompt in its cache, and found `reported`.
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

    /// Somebody waits because of it.
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

    fn after(steps: u32, reported: u32, limiting: bool) -> f64 {
        let mut share = Share::new(&SessionAdmissionConfig::default());
        for _ in 0..20 * steps {
            if limiting {
                share.record_limiting();
            }
            share.observe(100_000, reported);
        }
        share.get()
    }

    #[test]
    fn it_falls_when_caches_lose_what_they_should_hold() {
        assert!((after(1, 80_000, true) - 0.85 * 0.95).abs() < 1e-9);
        assert!((after(100, 80_000, true) - 0.6).abs() < 1e-9);
    }

    #[test]
    fn it_rises_only_while_it_holds_somebody_back() {
        assert!((after(3, 95_000, true) - 0.88).abs() < 1e-9);
        assert!((after(100, u32::MAX, true) - 0.95).abs() < 1e-9);
        assert!((after(100, 95_000, false) - 0.85).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_expected_says_nothing() {
        let mut share = Share::new(&SessionAdmissionConfig::default());
        (0..1_000_000).for_each(|_| share.observe(0, 100_000));
        assert!((share.get() - 0.85).abs() < 1e-9);
    }
}
