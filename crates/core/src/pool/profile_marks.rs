//! What a scheduling profile reads of all slots at once.
//!
//! The default profile reads none of it, so a pool keeps it only once a scheduling profile is set.

use alloc::vec::Vec;
use core::fmt;

/// Which slots may have changed, and which endpoints take any request that fits.
///
/// All of it follows from the slots and from the calls, some of which changed nothing. It is
/// therefore no part of the pool's state, and its debug format is empty.
#[derive(Default)]
pub(crate) struct ProfileMarks {
    /// A number for each slot that rises whenever the slot may have changed.
    changes: Vec<u64>,
    /// In parallel with `changes`.
    open_capacities: Vec<u32>,
}

impl ProfileMarks {
    /// Adds slots up to this one.
    pub(super) fn ensure(&mut self, slot: u32) {
        let count = self.changes.len().max(slot as usize + 1);
        self.changes.resize(count, 0);
        self.open_capacities.resize(count, 0);
    }

    /// Marks a slot as changed, if it exists.
    pub(super) fn change(&mut self, slot: u32) {
        if let Some(changes) = self.changes.get_mut(slot as usize) {
            *changes += 1;
        }
    }

    /// Sets a slot's open capacity, if the slot exists.
    pub(super) fn set_open_capacity(&mut self, slot: u32, tokens: u32) {
        if let Some(capacity) = self.open_capacities.get_mut(slot as usize) {
            *capacity = tokens;
        }
    }

    /// By slot, a number that rises whenever the endpoint in the slot may have changed, except in
    /// its learned speed and in its place in the adapter window.
    pub(crate) fn changes(&self) -> &[u64] {
        &self.changes
    }

    /// By slot, the capacity of the KV cache of each endpoint that takes any request which fits: it
    /// is healthy, has room, serves every model, and computes prompts and answers. Zero for others.
    pub(crate) fn open_capacities(&self) -> &[u32] {
        &self.open_capacities
    }
}

impl fmt::Debug for ProfileMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileMarks").finish_non_exhaustive()
    }
}
