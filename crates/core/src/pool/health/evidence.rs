//! A sequential test: does an endpoint fail more than the others?
//!
//! Two hypotheses are compared after each outcome (Wald, 1945): the endpoint is like the others, which give a bad outcome
//! with probability `p`; or it is bad, and gives one with `q = 1/2`. The likelihood ratio `L` begins at 1. A bad outcome
//! multiplies it by `p / q`, a good one by `(1 - p) / (1 - q)`; it never rises above 1, so that a long good past does
//! not hide a change (Page's CUSUM, 1954). Once `L` is as low as the threshold, the endpoint is bad.
//!
//! Where all fail alike, `p` is as high as `q`, and nothing is evidence: a client's poisonous requests, or the gateway's own
//! broken network, take no endpoint out.

use crate::time::Instant;

/// What kind of bad outcome.
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
/// No pool is believed to be better than this: a single soft outcome never decides.
const BEST_RATE: f64 = 0.01;
/// What is thought of a pool before it has shown anything: as if it had had so many outcomes, and so many bad ones.
const PRIOR: (f64, f64) = (5.0, 0.05);
/// How low `L` must fall. A false alarm comes at most once in as many outcomes as its inverse.
const THRESHOLD: f64 = 0.001;
/// The same for a failure where no other endpoint has had one lately: the first decides.
const THRESHOLD_ALONE: f64 = 0.021;

impl Default for Evidence {
    fn default() -> Self {
        Self([1.0; 3])
    }
}

impl Evidence {
    /// A bad outcome: whether it is enough.
    pub(super) fn weigh(&mut self, class: Class, rate: f64, alone: bool) -> bool {
        if rate >= BAD_RATE {
            return false;
        }
        let ratio = &mut self.0[class as usize];
        *ratio = (*ratio * (rate / BAD_RATE)).max(f64::MIN_POSITIVE);
        let alone = alone && class == Class::Failed;
        *ratio <= if alone { THRESHOLD_ALONE } else { THRESHOLD }
    }

    /// A good outcome.
    pub(super) fn clear_by(&mut self, class: Class, rate: f64) {
        let ratio = &mut self.0[class as usize];
        *ratio = (*ratio * ((1.0 - rate) / (1.0 - BAD_RATE)).max(1.0)).min(1.0);
    }
}

/// The rate behind so many outcomes, never as good as certain.
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
    /// Takes in an outcome.
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
