//! The share of an export that comes back: it grows in a straight line, so returning requests do
//! not stampede onto cold caches.

use core::time::Duration;

use slotwise::Instant;

/// How an export comes back.
///
/// The share decides by error diffusion, not by chance: each request that would take the export
/// adds the share to a credit, and a credit of 1 buys one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ramp {
    since: Option<Instant>,
    credit: f64,
}

impl Ramp {
    /// Begins to come back at `at`, with a share of 0. A later beginning is kept.
    pub(super) fn start(&mut self, at: Instant) {
        if self.since.is_none_or(|since| since < at) {
            *self = Self { since: Some(at), credit: 0.0 };
        }
    }

    /// The share at `now`, from 0 to 1. It never falls before the next start.
    pub(super) fn share(&self, now: Instant, length: Duration) -> f64 {
        let Some(since) = self.since else { return 1.0 };
        let elapsed = now.saturating_since(since);
        if elapsed >= length { 1.0 } else { elapsed.as_secs_f64() / length.as_secs_f64() }
    }

    /// When the share is 1 again, if that is to come.
    pub(super) fn end(&self, now: Instant, length: Duration) -> Option<Instant> {
        let end = self.since? + length;
        (end > now).then_some(end)
    }

    /// Whether the next request would be let in, without counting it.
    pub(super) fn admits(&self, share: f64) -> bool {
        self.credit + share >= 1.0
    }

    /// Whether a request is let in; counts it.
    pub(super) fn admit(&mut self, share: f64) -> bool {
        let admitted = self.admits(share);
        self.credit = if admitted { self.credit + share - 1.0 } else { self.credit + share };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With even arrivals, each tenth of the ramp lets in at least as many as the one before,
        /// up to one request that the credit carries over.
        #[test]
        fn a_ramp_is_monotone(length in 1u64..1_000, each in 1u64..50) {
            let (mut ramp, at) = (Ramp::default(), |tick: u64| Instant::from_micros(tick * 1_000));
            let window = Duration::from_millis(length * 10 * each);
            ramp.start(Instant::ORIGIN);
            let mut tick = 0;
            let mut before = (0, 0.0);
            for _ in 0..12 {
                let mut admitted = 0;
                for _ in 0..length * each {
                    let share = ramp.share(at(tick), window);
                    prop_assert!(share >= before.1 && share <= 1.0);
                    before.1 = share;
                    admitted += u64::from(ramp.admit(share));
                    tick += 1;
                }
                prop_assert!(admitted + 1 >= before.0, "{admitted} after {}", before.0);
                before.0 = admitted;
            }
            prop_assert_eq!(before.0, length * each);
        }
    }
}
