//! Times at which slots must be looked at again.

use alloc::collections::BTreeSet;

use crate::time::Instant;

/// At most one time for each slot, which the slot remembers.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, u32)>);

impl Timers {
    /// The earliest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Removes the earliest time if it has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        self.next().filter(|at| *at <= now).and_then(|_| self.0.pop_first())
    }

    /// Changes the time of a slot.
    pub(super) fn replace(&mut self, slot: u32, before: Option<Instant>, after: Option<Instant>) {
        if before != after {
            before.map(|at| self.0.remove(&(at, slot)));
            self.0.extend(after.map(|at| (at, slot)));
        }
    }
}
