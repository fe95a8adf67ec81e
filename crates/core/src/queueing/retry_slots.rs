//! When refused clients are told to come back: one after the other, not all at once.
//!
//! A wave of refusals whose `Retry-After` is the same comes back as the same wave. So refused work is a
//! fluid queue behind the waiting room: each refusal gets the end of the slots that were handed out
//! before it, and moves that end by its own share of what the pool drains. The end is a time, so the
//! queue runs down by the clock.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::request::Priority;
use crate::time::{Instant, Seconds};

/// The ends of the slots that were handed out, by priority, and how long requests stay in the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetrySlots {
    ends: BTreeMap<i32, Instant>,
    residence: f64,
    completed: u32,
}

impl RetrySlots {
    /// A request was completed, so long after its dispatch.
    pub(crate) fn observe(&mut self, residence: Duration) {
        self.completed = (self.completed + 1).min(MEMORY);
        self.residence += (residence.as_secs_f64() - self.residence) / f64::from(self.completed);
    }

    /// How long a pool takes to finish one of the requests that are in flight, by Little's law; nothing
    /// before the first completion.
    pub(crate) fn interval(&self, in_flight: usize) -> Seconds {
        Seconds::new(self.residence / in_flight.max(1) as f64)
    }

    /// How long a refused request of this priority stays away, if it would wait for `wait` and takes
    /// `share` of the pool's time. RetrySlots of lower priority do not count. At most [`LONGEST`].
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

/// No client is told to stay away for longer.
const LONGEST: Duration = Duration::from_secs(600);
/// Completions that the mean residence is over.
const MEMORY: u32 = 64;
/// Priorities whose slots are remembered; the lowest is forgotten first.
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
