//! Spreads the retry times of rejected requests, so that they do not return all at once.
//!
//! Rejections with the same `Retry-After` would return as one wave. So rejected work forms a fluid
//! queue behind the request queue. Each rejection gets the end of the slots before it, and moves
//! that end by its own share of the pool's capacity. The end is a time, so the fluid queue drains
//! by the clock.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::request::Priority;
use crate::time::{Instant, Seconds};

/// The end of the assigned slots by priority, and the mean residence of requests in the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetrySlots {
    ends: BTreeMap<i32, Instant>,
    residence: f64,
    completed: u32,
}

impl RetrySlots {
    /// Records the time from a request's dispatch to its completion.
    pub(crate) fn observe(&mut self, residence: Duration) {
        self.completed = (self.completed + 1).min(MEMORY);
        self.residence += (residence.as_secs_f64() - self.residence) / f64::from(self.completed);
    }

    /// The mean time between two completions by Little's law; zero before the first completion.
    pub(crate) fn interval(&self, in_flight: usize) -> Seconds {
        Seconds::new(self.residence / in_flight.max(1) as f64)
    }

    /// The retry time of a rejected request of this priority, which would wait for `wait` and takes
    /// `share` of the pool's time. Slots of lower priority do not count. At most [`LONGEST`].
    pub(crate) fn next(
        &mut self,
        now: Instant,
        priority: Priority,
        wait: Duration,
        share: Duration,
    ) -> Duration {
        let before = self.ends.range(priority.0..).map(|(_, end)| *end).max();
        let at = before.unwrap_or(now).max(now + wait).min(now + LONGEST);
        if self.ends.len() >= MOST_BANDS && !self.ends.contains_key(&priority.0) {
            self.ends.retain(|_, end| *end > now);
            if self.ends.len() >= MOST_BANDS {
                self.ends.pop_first();
            }
        }
        self.ends.insert(priority.0, (at + share).min(now + LONGEST));
        at.saturating_since(now)
    }
}

/// The longest retry time.
const LONGEST: Duration = Duration::from_secs(600);
/// Number of completions in the mean residence.
const MEMORY: u32 = 64;
/// Most priorities with slots; the lowest is dropped first.
const MOST_BANDS: usize = 64;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_refusal_gets_the_next_slot_and_slots_pass_with_the_clock() {
        let mut slots = RetrySlots::default();
        let at = |seconds| Instant::ORIGIN + seconds * SECOND;
        let next = |slots: &mut RetrySlots, now, wait: u32| {
            slots.next(at(now), Priority(0), wait * SECOND, SECOND / 4).as_millis()
        };
        let wave: Vec<_> = (0..4).map(|_| next(&mut slots, 0, 2)).collect();
        assert_eq!(wave, [2_000, 2_250, 2_500, 2_750]);
        assert_eq!(next(&mut slots, 0, 5), 5_000, "a longer wait goes first");
        assert_eq!(next(&mut slots, 3, 1), 2_250);
        assert_eq!(next(&mut slots, 60, 1), 1_000);
    }

    #[test]
    fn the_interval_is_learned() {
        let mut slots = RetrySlots::default();
        assert_eq!(slots.interval(8), Seconds::ZERO);
        (0..9).for_each(|_| slots.observe(2 * SECOND));
        assert_eq!(slots.interval(8), Seconds::new(0.25));
    }

    #[test]
    fn lower_priorities_come_after_higher_ones() {
        let mut slots = RetrySlots::default();
        let mut next =
            |priority| slots.next(Instant::ORIGIN, Priority(priority), SECOND, SECOND).as_secs();
        assert_eq!([next(-1), next(-1), next(0), next(0), next(-1)], [1, 2, 1, 2, 3]);
    }

    #[test]
    fn time_and_memory_are_bounded() {
        let mut slots = RetrySlots::default();
        for priority in 0..1_000 {
            let after =
                slots.next(Instant::ORIGIN, Priority(priority % 100), Duration::MAX, Duration::MAX);
            assert_eq!(after, LONGEST);
        }
        assert!(slots.ends.len() <= MOST_BANDS);
    }
}
