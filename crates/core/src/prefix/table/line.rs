//! One cache line of the table, with six entries.

use core::array;

use crate::prefix::address::{Address, RunId};

/// The part of a key that a segment stores.
pub(super) type Tag = u32;

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line {
    pub(super) tags: [Tag; SLOTS],
    pub(super) runs: [RunId; SLOTS],
    /// Entries that were passed on from here, in the upper 24 bits; entries that are here, in the
    /// lower 8.
    pub(super) counts: u32,
    pub(super) offsets: [u16; SLOTS],
}

impl Line {
    #[inline]
    pub(super) const fn len(&self) -> usize {
        (self.counts & 0xff) as usize
    }

    #[inline]
    pub(super) const fn is_passed(&self) -> bool {
        self.counts > 0xff
    }

    /// Whether it has space and passed none on.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        self.counts < SLOTS as u32
    }

    /// Whether a slot has this tag, or had it before its entry left.
    #[inline]
    pub(super) fn may_contain(&self, tag: Tag) -> bool {
        self.tags.iter().fold(false, |any, there| any | (*there == tag))
    }

    /// A saturated counter stays so: searches may go too far, but never stop too early.
    #[inline]
    pub(super) const fn pass(&mut self) {
        if self.counts >> 8 != MAX_PASSED {
            self.counts += 1 << 8;
        }
    }

    #[inline]
    pub(super) const fn unpass(&mut self) {
        if self.counts >> 8 != MAX_PASSED && self.is_passed() {
            self.counts -= 1 << 8;
        }
    }

    pub(super) fn words(&self) -> [u64; 8] {
        let two = |numbers: [u32; SLOTS], at: usize| {
            u64::from(numbers[2 * at]) | u64::from(numbers[2 * at + 1]) << 32
        };
        let offsets = |from: usize| {
            (from..SLOTS).take(4).rev().fold(0, |word, at| word << 16 | u64::from(self.offsets[at]))
        };
        let mut words = [0; 8];
        for at in 0..SLOTS / 2 {
            (words[at], words[3 + at]) = (two(self.tags, at), two(self.runs, at));
        }
        (words[6], words[7]) = (u64::from(self.counts) | offsets(4) << 32, offsets(0));
        words
    }

    pub(super) fn of_words(words: [u64; 8]) -> Self {
        let half = |at: usize| (words[at / 2] >> (at % 2 * 32)) as u32;
        let offset = |at: usize| {
            if at < 4 { words[7] >> (16 * at) } else { words[6] >> (32 + 16 * (at - 4)) }
        };
        Self {
            tags: array::from_fn(half),
            runs: array::from_fn(|at| half(SLOTS + at)),
            counts: words[6] as u32,
            offsets: array::from_fn(|at| offset(at) as u16),
        }
    }

    /// A bit for each slot with this tag, without unpredictable branches.
    #[inline]
    pub(super) fn matching(&self, tag: Tag) -> u32 {
        let mut matching = 0;
        for slot in 0..SLOTS {
            matching |= u32::from(self.tags[slot] == tag) << slot;
        }
        matching & ((1 << self.len()) - 1)
    }

    #[inline]
    pub(super) const fn address(&self, slot: usize) -> Address {
        Address { run: self.runs[slot], offset: self.offsets[slot] }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Tag, Address)> + '_ {
        (0..self.len()).map(|slot| (self.tags[slot], self.address(slot)))
    }

    #[inline]
    pub(super) const fn push(&mut self, tag: Tag, address: Address) {
        self.set(self.len(), tag, address);
        self.counts += 1;
    }

    /// Empties a slot; the last entry moves into it.
    #[inline]
    pub(super) const fn clear(&mut self, slot: usize) {
        self.counts -= 1;
        let last = self.len();
        self.set(slot, self.tags[last], self.address(last));
    }

    #[inline]
    pub(super) const fn set(&mut self, slot: usize, tag: Tag, address: Address) {
        self.tags[slot] = tag;
        self.runs[slot] = address.run;
        self.offsets[slot] = address.offset;
    }
}

/// Entries in a line.
pub(super) const SLOTS: usize = 6;
pub(super) const MAX_PASSED: u32 = (1 << 24) - 1;
