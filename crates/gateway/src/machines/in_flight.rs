//! What a machine has handed out, by number.

use alloc::collections::BTreeMap;

/// Values that a host names by number until it returns them. A number is never given twice.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    values: BTreeMap<u64, T>,
    next: u64,
}

impl<T> InFlight<T> {
    pub(super) const fn new() -> Self {
        Self { values: BTreeMap::new(), next: 0 }
    }

    /// Keeps the value. Returns its number, and the value to look at.
    pub(super) fn insert(&mut self, value: T) -> (u64, &T) {
        let number = self.next;
        self.next += 1;
        (number, self.values.entry(number).or_insert(value))
    }

    /// The value of this number, once.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.values.remove(&number)
    }
}
