//! Whether an endpoint can be trusted to answer.
//!
//! An endpoint that fails at once is always idle, and would draw all requests to itself. So a failure holds requests off for a
//! while: the time that is left counts as a wait, so that others go first, and if all have failed, the one that may be back
//! soonest is tried. Each period ends with a trial; if that fails too, the next is twice as long.

use core::time::Duration;

use crate::time::{Instant, Seconds};

/// The failures of one endpoint since it last answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    until: Instant,
    period: Duration,
}

impl Health {
    /// A request failed. Those that fail while requests are held off were sent before, and prove nothing new.
    pub(crate) fn fail(&mut self, now: Instant, first: Duration, longest: Duration) {
        if now >= self.until {
            self.period = self.period.saturating_mul(2).clamp(first.min(longest), longest);
            self.until = now + self.period;
        }
    }

    /// The endpoint answered.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// How long requests are still held off.
    pub(crate) fn held_off(&self, now: Instant) -> Seconds {
        if self.until <= now { Seconds::ZERO } else { Seconds::from(self.until.saturating_since(now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_trial_doubles_the_period_and_an_answer_ends_it() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut health = Health::default();
        let fail = |health: &mut Health, now| {
            health.fail(at(now), first, longest);
            health.held_off(at(now)).get()
        };
        let held: [f64; 5] = [10, 10, 11, 13, 17].map(|now| fail(&mut health, now));
        assert_eq!(held.map(|seconds| seconds as u32), [1, 1, 2, 4, 5]);
        health.succeed();
        assert_eq!(health.held_off(at(17)), Seconds::ZERO);
    }
}
