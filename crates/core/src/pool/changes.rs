//! Which slots may have changed since a reader looked.

use alloc::vec::Vec;
use core::fmt;

/// A number for each slot that rises whenever the slot may have changed.
///
/// It also rises for a refused call that changed nothing. It is therefore no part of the pool's
/// state, and its debug format is empty.
#[derive(Default)]
pub(super) struct Changes(Vec<u64>);

impl Changes {
    /// Adds a slot.
    pub(super) fn push(&mut self) {
        self.0.push(0);
    }

    /// Marks a slot as changed, if it exists.
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(changes) = self.0.get_mut(slot as usize) {
            *changes += 1;
        }
    }

    /// The slot's number; the slot must exist.
    pub(super) fn of(&self, slot: u32) -> u64 {
        self.0[slot as usize]
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
