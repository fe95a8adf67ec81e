//! A sequential test of whether an endpoint fails more than the others.
//!
//! Each outcome updates the likelihood ratio of two hypotheses (Wald, 1945). Either the endpoint is
//! like the others, whose outcomes are bad with probability `p`; or it is bad, with `q = 1/2`. The
//! ratio `L` starts at 1. A bad outcome multiplies it by `p / q`, a good one by `(1 - p) / (1 -
//! q)`. It is capped at 1, so a long good history does not hide a change (Page's CUSUM, 1954). At
//! or below the threshold, the endpoint is bad.
//!
//! Where all endpoints fail alike, `p` reaches `q` and no outcome is evidence. Malformed requests
//! of one client, or a broken network of the gateway, therefore back off no endpoint.

use crate::time::Instant;

/// The kind of a bad outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Failed = 0,
    Unanswered = 1,
    Late = 2,
}

/// The likelihood ratio of each class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence([f64; 3]);

/// The rate of a bad endpoint.
pub(crate) const BAD_RATE: f64 = 0.5;
/// Lower limit of the pool's assumed rate, so that a single soft outcome never decides.
const BEST_RATE: f64 = 0.01;
/// The prior of a pool without outcomes: the number of outcomes, and of bad ones.
const PRIOR: (f64, f64) = (5.0, 0.05);
/// The threshold of `L`. Its inverse bounds the rate of false alarms.
const THRESHOLD: f64 = 0.001;
/// The threshold for a failure where no other endpoint has had one lately: the first decides.
const THRESHOLD_ALONE: f64 = 0.021;

impl Default for Evidence {
    fn default() -> Self {
        Self([1.0; 3])
    }
}

impl Evidence {
    /// Records a bad outcome. Returns whether the threshold is reached.
    pub(super) fn weigh(&mut self, class: Class, rate: f64, alone: bool) -> bool {
        if rate >= BAD_RATE {
            return false;
        }
        let ratio = &mut self.0[class as usize];
        *ratio = (*ratio * (rate / BAD_RATE)).max(f64::MIN_POSITIVE);
        let alone = alone && class == Class::Failed;
        *ratio <= if alone { THRESHOLD_ALONE } else { THRESHOLD }
    }

    /// Whether there were no bad outcomes, or good ones have made up for them.
    pub(super) fn is_none(&self) -> bool {
        self.0.iter().all(|ratio| *ratio >= 1.0)
    }

    /// Records a good outcome.
    pub(super) fn clear_by(&mut self, class: Class, rate: f64) {
        let ratio = &mut self.0[class as usize];
        *ratio = (*ratio * ((1.0 - rate) / (1.0 - BAD_RATE)).max(1.0)).min(1.0);
    }
}

/// The estimated rate behind these counts, at least [`BEST_RATE`].
pub(crate) fn rate(good: u32, bad: u32) -> f64 {
    let (good, bad) = (f64::from(good), f64::from(bad));
    ((bad + PRIOR.1) / (good + bad + PRIOR.0)).max(BEST_RATE)
}

/// Outcomes of the last 30 to 60 seconds, by class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    epoch: u64,
    now: OutcomeCounts,
    before: OutcomeCounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct OutcomeCounts {
    good: [u32; 3],
    bad: [u32; 3],
}

/// Microseconds of a bucket.
const BUCKET: u64 = 30_000_000;

impl Window {
    /// Records an outcome.
    pub(crate) fn note(&mut self, now: Instant, class: Class, bad: bool) {
        self.turn(now);
        let counts = if bad { &mut self.now.bad } else { &mut self.now.good };
        let count = &mut counts[class as usize];
        *count = count.saturating_add(1);
    }

    /// Good and bad outcomes of a class.
    pub(crate) fn sums(&self, now: Instant, class: Class) -> (u32, u32) {
        let mut turned = *self;
        turned.turn(now);
        let at = class as usize;
        let sum = |of: fn(&OutcomeCounts) -> &[u32; 3]| {
            of(&turned.now)[at].saturating_add(of(&turned.before)[at])
        };
        (sum(|tally| &tally.good), sum(|tally| &tally.bad))
    }

    fn turn(&mut self, now: Instant) {
        let epoch = now.as_micros() / BUCKET;
        if epoch != self.epoch {
            let next = epoch == self.epoch + 1;
            self.before = if next { self.now } else { OutcomeCounts::default() };
            (self.now, self.epoch) = (OutcomeCounts::default(), epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn the_first_failure_decides_in_a_healthy_pool_and_two_soft_ones_are_needed() {
        let mut evidence = Evidence::default();
        assert!(evidence.weigh(Class::Failed, rate(0, 0), true));
        assert!(!evidence.weigh(Class::Unanswered, rate(1_000, 0), true));
        assert!(evidence.weigh(Class::Unanswered, rate(1_000, 0), true));
    }

    #[test]
    fn where_all_fail_alike_nothing_is_evidence() {
        let mut evidence = Evidence::default();
        assert!((0..1_000).all(|_| !evidence.weigh(Class::Failed, rate(10, 20), false)));
    }

    #[test]
    fn good_outcomes_make_up_for_a_bad_one() {
        let mut evidence = Evidence::default();
        for _ in 0..1_000 {
            assert!(!evidence.weigh(Class::Unanswered, rate(1_000, 10), false));
            (0..8).for_each(|_| evidence.clear_by(Class::Unanswered, rate(1_000, 10)));
        }
    }

    #[test]
    fn a_window_forgets_within_a_minute() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.note(at(29), Class::Failed, true);
        window.note(at(31), Class::Failed, false);
        assert_eq!(window.sums(at(59), Class::Failed), (1, 1));
        assert_eq!(window.sums(at(60), Class::Failed), (1, 0));
        assert_eq!(window.sums(at(600), Class::Failed), (0, 0));
    }
}
