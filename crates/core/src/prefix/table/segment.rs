//! The entries of one range of tags: a ring of lines.
//!
//! An entry is in the first line with space from its home on. A search ends at the first line that
//! passed none on, so most read one line. A removal decrements the counts, so there are no
//! tombstones.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::line::{Line, SLOTS, Tag};
use crate::prefix::address::Address;

/// The entries whose tags differ from `first` in the lower bits alone.
#[derive(Debug)]
pub(super) struct Segment {
    /// A power of two.
    pub(super) lines: Box<[Line]>,
    pub(super) len: u32,
    /// The most entries for these lines.
    pub(super) most: u32,
    pub(super) first: Tag,
    /// The number of these bits.
    pub(super) below: u32,
}

impl Segment {
    pub(super) fn new(lines: usize, first: Tag, below: u32) -> Self {
        Self::of_lines(vec![Line::default(); lines].into(), first, below)
    }

    pub(super) fn of_lines(lines: Box<[Line]>, first: Tag, below: u32) -> Self {
        let (len, most) = (lines.iter().map(Line::len).sum::<usize>(), most(lines.len()));
        Self { lines, len: len as u32, most: most as u32, first, below }
    }

    /// Whether entries with this tag belong here.
    #[inline]
    pub(super) const fn contains(&self, tag: Tag) -> bool {
        (tag ^ self.first) as u64 >> self.below == 0
    }

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.len == self.most
    }

    /// Whether it has so few entries that it should shrink.
    #[inline]
    pub(super) const fn is_sparse(&self) -> bool {
        (self.len as usize) < least(self.lines.len())
    }

    /// The tags of its entries, in no defined order.
    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        self.lines.iter().flat_map(Line::entries).map(|(tag, _)| tag)
    }

    /// The line and the slot of the entry under `tag` that `is` confirms.
    #[inline]
    pub(super) fn find(
        &self,
        tag: Tag,
        mut is: impl FnMut(Address) -> bool,
    ) -> Option<(usize, usize)> {
        let home = self.home(tag);
        let mut at = home;
        let mut line = self.lines.get(at)?;
        loop {
            let mut matching = line.matching(tag);
            while matching != 0 {
                let slot = matching.trailing_zeros() as usize;
                if is(line.address(slot)) {
                    return Some((at, slot));
                }
                matching &= matching - 1;
            }
            at = self.after(at);
            if !line.is_passed() || at == home {
                return None;
            }
            line = &self.lines[at];
        }
    }

    /// Adds an entry unless the segment is full or may have an entry with this tag. Returns
    /// whether it did. Otherwise, nothing changed.
    #[inline]
    pub(super) fn insert_new(&mut self, tag: Tag, address: Address) -> bool {
        let (home, is_full) = (self.home(tag), self.is_full());
        let Some(line) = self.lines.get_mut(home) else { return false };
        if is_full || line.may_contain(tag) {
            return false;
        }
        if line.is_open() {
            line.push(tag, address);
            self.len += 1;
            return true;
        }
        self.insert_beyond(tag, address)
    }

    /// The same where the home line is full, or has passed entries on.
    #[inline(never)]
    fn insert_beyond(&mut self, tag: Tag, address: Address) -> bool {
        let home = self.home(tag);
        let mut at = home;
        while self.lines[at].is_passed() {
            at = self.after(at);
            if at == home {
                break;
            }
            if self.lines[at].may_contain(tag) {
                return false;
            }
        }
        self.insert(tag, address);
        true
    }

    /// Adds an entry to a segment that is not full: to the first line with space.
    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, address: Address) {
        let mut at = self.home(tag);
        loop {
            let line = &mut self.lines[at];
            if line.len() < SLOTS {
                line.push(tag, address);
                break;
            }
            line.pass();
            at = self.after(at);
        }
        self.len += 1;
    }

    /// Removes exactly this entry. Returns whether it was there.
    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, address: Address) -> bool {
        let Some((line, slot)) = self.find(tag, |other| other == address) else { return false };
        let mut at = self.home(tag);
        while at != line {
            self.lines[at].unpass();
            at = self.after(at);
        }
        self.lines[line].clear(slot);
        self.len -= 1;
        true
    }

    /// Gives it another number of lines, which can hold its entries.
    #[cold]
    #[inline(never)]
    pub(super) fn resize(&mut self, lines: usize) {
        let before = mem::replace(self, Self::new(lines, self.first, self.below));
        self.absorb(&before);
    }

    /// Keeps the entries with the lower half of the tags, and returns those with the upper half.
    /// Most entries stay in the line with the same number.
    #[cold]
    #[inline(never)]
    pub(super) fn split(&mut self) -> Self {
        self.below -= 1;
        let bit = 1 << self.below;
        let mut upper = Self::new(self.lines.len(), self.first | bit, self.below);
        let (mask, mut passed) = (self.mask(), Vec::new());
        self.len = 0;
        for (at, (low, high)) in self.lines.iter_mut().zip(&mut upper.lines).enumerate() {
            let (mut kept, mut moved) = (0, 0);
            for slot in 0..low.len().min(SLOTS) {
                let (tag, address) = (low.tags[slot], low.address(slot));
                if tag as usize & mask != at {
                    passed.push((tag, address));
                } else if tag & bit == 0 {
                    low.set(kept, tag, address);
                    kept += 1;
                } else {
                    high.set(moved, tag, address);
                    moved += 1;
                }
            }
            (low.counts, high.counts) = (kept as u32, moved as u32);
            self.len += low.counts;
            upper.len += high.counts;
        }
        for (tag, address) in passed {
            (if tag & bit == 0 { &mut *self } else { &mut upper }).insert(tag, address);
        }
        upper
    }

    /// Joins it with the segment beside it, where both came from one.
    pub(super) fn join(&mut self, other: &Self) {
        let lines = (self.len + other.len).div_ceil(JOINED).next_power_of_two() as usize;
        let first = self.first & other.first;
        let before = mem::replace(self, Self::new(lines, first, self.below + 1));
        self.absorb(&before);
        self.absorb(other);
    }

    fn absorb(&mut self, other: &Self) {
        let entries = other.lines.iter().flat_map(Line::entries);
        entries.for_each(|(tag, address)| self.insert(tag, address));
    }

    /// The next line in the ring.
    #[inline]
    const fn after(&self, line: usize) -> usize {
        (line + 1) & self.mask()
    }

    #[inline]
    pub(super) const fn home(&self, tag: Tag) -> usize {
        tag as usize & self.mask()
    }

    #[inline]
    const fn mask(&self) -> usize {
        self.lines.len().wrapping_sub(1)
    }
}

/// The most entries for this number of lines: 11 of 12 slots, so some line always has space.
/// Seven of eight would take 4 % fewer instructions for new blocks, and half a byte more for each.
pub(super) const fn most(lines: usize) -> usize {
    lines * SLOTS * 11 / 12
}

/// Below this number of entries, a quarter of the slots, a segment shrinks. None begins like that,
/// but for the halves of one that are unequal.
pub(super) const fn least(lines: usize) -> usize {
    (lines * SLOTS / 4).saturating_sub(1)
}

/// The most entries of a line, on average, in a segment that was two.
pub(super) const JOINED: u32 = 4;
