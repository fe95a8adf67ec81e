//! What a machine has handed out, by number.

use alloc::collections::BTreeMap;

/// Values that a host names by number until it returns them. A number is never given twice.
pub(super) struct InFlight<T> {
    values: BTreeMap<u64, T>,
    next: u64,
}

impl<T> InFlight<T> {
    pub(super) const fn new() -> Self {
        Self { values: BTreeMap::new(), next: 0 }
    }

    /// Keeps the value; its number.
    pub(super) fn insert(&mut self, value: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.values.insert(number, value);
        number
    }

    /// The value of this number, once.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.values.remove(&number)
    }
}
