//! [`slab::Slab`] with numbers of 32 bits, as heaps and queues store them.

use core::ops::{Index, IndexMut};

/// The number of nothing.
pub(super) const NONE: u32 = u32::MAX;

/// Values by number. The number of a removed value is given to a later one.
#[derive(Debug)]
pub(super) struct Slab<T>(slab::Slab<T>);

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self(slab::Slab::new())
    }

    /// Adds a value and returns its number. The queue is limited to fewer than [`NONE`] requests.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.0.insert(value) as u32
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        self.0.try_remove(at as usize)
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.0.get(at as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The values, by rising numbers.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.0.iter().map(|(at, value)| (at as u32, value))
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.0[at as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.0[at as usize]
    }
}
