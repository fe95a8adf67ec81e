//! Things with small numbers: a vector whose gaps are filled again.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// The number of nothing.
pub(super) const NONE: u32 = u32::MAX;

/// A number stands for a thing until it is removed, and then, sooner or later, for another one.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// The gap that is filled next.
    gap: u32,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Thing(T),
    /// Where the next gap is.
    Gap(u32),
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), gap: NONE, len: 0 }
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        self.len += 1;
        let at = self.gap;
        match self.entries.get_mut(at as usize) {
            Some(entry) => {
                if let Entry::Gap(next) = core::mem::replace(entry, Entry::Thing(thing)) {
                    self.gap = next;
                }
                at
            }
            None => {
                self.entries.push(Entry::Thing(thing));
                self.entries.len() as u32 - 1
            }
        }
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let entry = self.entries.get_mut(at as usize)?;
        match core::mem::replace(entry, Entry::Gap(self.gap)) {
            Entry::Thing(thing) => {
                self.gap = at;
                self.len -= 1;
                Some(thing)
            }
            gap @ Entry::Gap(_) => {
                *entry = gap;
                None
            }
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        match self.entries.get(at as usize)? {
            Entry::Thing(thing) => Some(thing),
            Entry::Gap(_) => None,
        }
    }

    /// The things, by rising numbers.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| match entry {
            Entry::Thing(thing) => Some((at as u32, thing)),
            Entry::Gap(_) => None,
        })
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        match &self.entries[at as usize] {
            Entry::Thing(thing) => thing,
            Entry::Gap(_) => unreachable!("invariant: numbers that are kept stand for something"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        match &mut self.entries[at as usize] {
            Entry::Thing(thing) => thing,
            Entry::Gap(_) => unreachable!("invariant: numbers that are kept stand for something"),
        }
    }
}
