//! The entries of one range of tags: a ring of lines.
//!
//! An entry is in its home line, or every line from its home to there is full. A search ends at the
//! first line with space, so most read one line. A removal from a full line moves an entry that was
//! passed on back into it, so there are no tombstones.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::line::{EMPTY, Line, SLOTS, Tag};

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
        let (len, most) = (lines.iter().flat_map(Line::entries).count(), most(lines.len()));
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

    /// Whether it has so few entries that it should shrink. None begins like that, but for the
    /// halves of one that are unequal.
    #[inline]
    pub(super) const fn is_sparse(&self) -> bool {
        self.len < self.most / 4
    }

    /// The tags of its entries, in no defined order.
    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        self.lines.iter().flat_map(Line::entries).map(|(tag, _)| tag)
    }

    /// The line and the slot of the entry under `tag` that `confirm` accepts, and its answer.
    #[inline]
    pub(super) fn find<T>(
        &self,
        tag: Tag,
        mut confirm: impl FnMut(u32) -> Option<T>,
    ) -> Option<(usize, usize, T)> {
        let home = self.home(tag);
        let mut at = home;
        let mut line = self.lines.get(at)?;
        loop {
            for slot in (0..SLOTS).filter(|slot| line.tags[*slot] == tag) {
                if let Some(answer) = confirm(line.values[slot]) {
                    return Some((at, slot, answer));
                }
            }
            at = self.after(at);
            if !line.is_full() || at == home {
                return None;
            }
            line = &self.lines[at];
        }
    }

    /// Adds an entry unless the segment is full or may have an entry with this tag. Returns
    /// whether it did. Otherwise, nothing changed.
    #[inline]
    pub(super) fn insert_new(&mut self, tag: Tag, value: u32) -> bool {
        if self.is_full() {
            return false;
        }
        let mut at = self.home(tag);
        while let Some(line) = self.lines.get_mut(at) {
            if line.may_contain(tag) {
                break;
            }
            if !line.is_full() {
                line.push(tag, value);
                self.len += 1;
                return true;
            }
            at = self.after(at);
        }
        false
    }

    /// Adds an entry to a segment that is not full: to the first line with space.
    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, value: u32) {
        let mut at = self.home(tag);
        while self.lines[at].is_full() {
            at = self.after(at);
        }
        self.lines[at].push(tag, value);
        self.len += 1;
    }

    /// Removes exactly this entry. Returns whether it was there.
    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, value: u32) -> bool {
        let Some((line, slot, ())) = self.find(tag, |other| (other == value).then_some(())) else {
            return false;
        };
        let was_full = self.lines[line].is_full();
        self.lines[line].clear(slot);
        self.len -= 1;
        if was_full {
            self.refill(line);
        }
        true
    }

    /// Moves an entry that was passed on from a line back into its only empty slot, as searches
    /// would end there. If the entry leaves a full line, the same applies there.
    #[inline(never)]
    fn refill(&mut self, mut line: usize) {
        let mut at = self.after(line);
        while at != line {
            let way = self.way(line, at);
            let here = &self.lines[at];
            let is_full = here.is_full();
            let is_passed = |tag: &Tag| *tag != EMPTY && self.way(self.home(*tag), at) >= way;
            if let Some(slot) = here.tags.iter().position(is_passed) {
                let (tag, value) = (here.tags[slot], here.values[slot]);
                self.lines[line].set(SLOTS - 1, tag, value);
                self.lines[at].clear(slot);
                line = at;
            }
            if !is_full {
                return;
            }
            at = self.after(at);
        }
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
            let Line { tags, values } = mem::take(low);
            let mut halves = [(low, 0), (high, 0)];
            for (tag, value) in tags.into_iter().zip(values) {
                if tag == EMPTY {
                    break;
                }
                if tag as usize & mask == at {
                    let (half, len) = &mut halves[usize::from(tag & bit != 0)];
                    half.set(*len, tag, value);
                    *len += 1;
                } else {
                    passed.push((tag, value));
                }
            }
            let [(_, low), (_, high)] = halves;
            self.len += low as u32;
            upper.len += high as u32;
        }
        for (tag, value) in passed {
            (if tag & bit == 0 { &mut *self } else { &mut upper }).insert(tag, value);
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
        entries.for_each(|(tag, value)| self.insert(tag, value));
    }

    /// The number of lines from one line to another in the ring.
    #[inline]
    const fn way(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
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

/// The most entries for this number of lines: 15 of 16 slots, so some line always has space.
pub(super) const fn most(lines: usize) -> usize {
    lines * SLOTS * 15 / 16
}

/// The most entries of a line, on average, in a segment that was two.
pub(super) const JOINED: u32 = 5;
