//! A hash table from 64-bit keys to addresses: 10 bytes an entry, growth without long stalls, and
//! overlapping cache misses. `hashbrown::HashTable` was weighed: it moves all entries at once, and
//! takes 9 to 18 bytes.
//!
//! 256 *segments* grow and shrink independently and out of phase, so the longest stall moves 1/256
//! of the entries. A segment is a ring of *lines* of one cache line each: six entries, and a count
//! of entries that were passed on.
//!
//! ```text
//! line   tag ×6   run ×6   offset ×6   passed, len          64 bytes
//!
//! key ──mix──► segment (8 bits)   tag (32)   nothing (24)
//!                                  └─► home line: tag * lines / 2^32
//! ```
//!
//! An entry is in the first line with space from its home on. A search ends at the first line that
//! passed none on, so most read one line. A removal decrements the counts, so there are no
//! tombstones. Homes are ordered by tag: any number of lines is possible, and a segment grows in
//! one sequential pass without keys.

mod filtered;
mod line;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::{hint, mem};

use super::address::Address;
use super::codec::{Reader, SnapshotError, Writer};
use super::keyed_state::KeyedState;
use crate::rng::Rng;
pub(super) use filtered::FilteredTable;
use line::{Line, SLOTS, Tag};

/// A map from 64-bit keys to addresses.
///
/// It stores 40 bits of a key; the caller confirms the match through the block. In a table of a
/// million entries, one search in a million meets another key's block.
#[derive(Debug)]
pub(super) struct Table {
    mix: Mix,
    /// All segments, or none in an empty table.
    segments: Box<[Segment]>,
    len: usize,
    /// Number of lines in all segments.
    lines: usize,
}

/// A random linear function; its upper half is used.
///
/// The hashes of any two keys are independent: without the secret, chosen keys collide no more
/// often than random ones. Sequential keys remain a sequence, which can cluster; its lower bits
/// spread them.
#[derive(Debug)]
struct Mix {
    factor: u128,
    term: u128,
}

#[derive(Debug, Default)]
struct Segment {
    lines: Box<[Line]>,
    len: u32,
    /// The most entries for these lines.
    most: u32,
}

/// Where a key belongs: what the table uses of its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    segment: u32,
    tag: Tag,
}

impl Table {
    /// An empty table, without allocation.
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self { mix: Mix::new(hash_state), segments: Box::default(), len: 0, lines: 0 }
    }

    /// Where `key` belongs.
    #[inline]
    pub(super) fn place(&self, key: u64) -> Place {
        self.mix.place(key)
    }

    /// The address under `key` for which `is` confirms the block. Computes in **O(1)**.
    #[inline]
    pub(super) fn get(&self, key: u64, is: impl FnMut(Address) -> bool) -> Option<Address> {
        self.get_at(self.place(key), is)
    }

    /// As [`get`](Self::get), under the key that belongs at `place`.
    #[inline]
    pub(super) fn get_at(&self, place: Place, is: impl FnMut(Address) -> bool) -> Option<Address> {
        let segment = self.segments.get(place.segment as usize)?;
        let (line, slot) = segment.find(place.tag, is)?;
        Some(segment.lines[line].address(slot))
    }

    /// Adds an entry, even if the key has others. Computes in amortized **O(1)**; some insertions
    /// move a segment.
    #[inline]
    pub(super) fn insert_at(&mut self, place: Place, address: Address) {
        self.get_or_insert_at(place, address, |_| false);
    }

    /// The address under the key at `place` for which `is` confirms the block; without one, adds
    /// this address. Computes as an insertion.
    #[inline]
    pub(super) fn get_or_insert_at(
        &mut self,
        place: Place,
        address: Address,
        is: impl FnMut(Address) -> bool,
    ) -> Option<Address> {
        if self.segments.is_empty() {
            self.segments = (0..SEGMENTS).map(|_| Segment::default()).collect();
        }
        let segment = &mut self.segments[place.segment as usize];
        if let Some((line, slot)) = segment.find(place.tag, is) {
            return Some(segment.lines[line].address(slot));
        }
        if segment.len == segment.most {
            let lines = segment.lines.len();
            segment.resize(more(lines, place.segment as usize));
            self.lines += segment.lines.len() - lines;
        }
        segment.put(place.tag, address);
        segment.len += 1;
        self.len += 1;
        None
    }

    /// Adds an entry if that is simple: its home line has space and no entry like it. Returns
    /// whether it did. Otherwise, the table is unchanged, and the key may be in it.
    #[inline]
    pub(super) fn insert_simply(
        &mut self,
        Place { segment, tag }: Place,
        address: Address,
    ) -> bool {
        let Some(segment) = self.segments.get_mut(segment as usize) else { return false };
        let home = segment.home(tag);
        let Some(line) = segment.lines.get_mut(home) else { return false };
        let is_simple = segment.len < segment.most && line.is_open() && !line.may_contain(tag);
        if is_simple {
            line.push(tag, address);
            segment.len += 1;
            self.len += 1;
        }
        is_simple
    }

    /// Removes exactly this entry, and releases unneeded memory. Returns whether it was there.
    /// Computes in amortized **O(1)**.
    #[inline]
    pub(super) fn remove_at(&mut self, place: Place, address: Address) -> bool {
        let Some(segment) = self.segments.get_mut(place.segment as usize) else { return false };
        if !segment.remove(place.tag, address) {
            return false;
        }
        self.len -= 1;
        let lines = segment.lines.len();
        if (segment.len as usize) < least(lines) {
            segment.resize(less(lines));
            self.lines -= lines - segment.lines.len();
            if self.len == 0 {
                self.segments = Box::default();
            }
        }
        true
    }

    /// Prefetches the home line of `place`. The misses of many touched places overlap.
    #[inline]
    pub(super) fn touch(&self, place: Place) {
        if let Some(segment) = self.segments.get(place.segment as usize) {
            hint::black_box(
                segment.lines.get(segment.home(place.tag)).map_or(0, |line| line.counts),
            );
        }
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Writes the table as it is; another one under the same secret finds every entry.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.count(self.segments.len());
        for segment in &self.segments {
            writer.count(segment.lines.len());
            writer.column(&segment.lines, Line::words);
        }
    }

    /// Reads into an empty table. The caller validates the addresses.
    pub(super) fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let segments = reader.count(8)?;
        reader.require(segments == 0 || segments == SEGMENTS)?;
        let mut loaded = Vec::with_capacity(segments);
        for _ in 0..segments {
            let lines = reader.count(size_of::<Line>())?;
            let lines: Box<[Line]> = reader.column(lines, Line::of_words)?.into();
            reader.require(lines.iter().all(|line| line.len() <= SLOTS))?;
            let len: usize = lines.iter().map(Line::len).sum();
            let most = most(lines.len());
            reader.require(len <= most)?;
            self.lines += lines.len();
            self.len += len;
            loaded.push(Segment { lines, len: len as u32, most: most as u32 });
        }
        self.segments = loaded.into();
        Ok(())
    }

    /// The addresses, in no defined order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        let lines = self.segments.iter().flat_map(|segment| &segment.lines);
        lines.flat_map(|line| line.entries().map(|(_, address)| address))
    }

    /// Where the keys of a segment belong.
    fn places(&self, segment: usize) -> impl Iterator<Item = Place> + '_ {
        let lines = self.segments.get(segment).map_or(&[][..], |segment| &segment.lines);
        let tags = lines.iter().flat_map(Line::entries).map(|(tag, _)| tag);
        tags.map(move |tag| Place { segment: segment as u32, tag })
    }

    /// Allocated bytes. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.lines * size_of::<Line>() + self.segments.len() * size_of::<Segment>()
    }

    /// Upper limit of additional bytes with these keys. Computes in **O(keys)**.
    pub(super) fn growth(&self, keys: impl Iterator<Item = u64>) -> usize {
        let mut new = [0; SEGMENTS];
        keys.for_each(|key| new[self.place(key).segment as usize] += 1);
        let grown = |(number, new): (usize, usize)| {
            let (before, len) =
                self.segments.get(number).map_or((0, 0), |s| (s.lines.len(), s.len as usize));
            let mut lines = before;
            while len + new > most(lines) {
                lines = more(lines, number);
            }
            lines - before
        };
        let lines: usize = new.into_iter().enumerate().map(grown).sum();
        lines * size_of::<Line>() + (SEGMENTS - self.segments.len()) * size_of::<Segment>()
    }

    /// Upper limit of bytes for `len` entries in any history: 32 an entry and 16 KiB. A table that
    /// has only grown takes about half.
    #[cfg(test)]
    const fn bytes_at_most(len: usize) -> usize {
        if len == 0 {
            return 0;
        }
        let segments = if len < SEGMENTS { len } else { SEGMENTS };
        let lines = len.saturating_add(segments) / 2;
        lines.saturating_mul(size_of::<Line>()).saturating_add(SEGMENTS * size_of::<Segment>())
    }
}

impl Mix {
    fn new(hash_state: KeyedState) -> Self {
        let mut rng = Rng::new(hash_state.hash_one(0_u64));
        let mut wide = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self { factor: wide(), term: wide() }
    }

    #[inline]
    const fn place(&self, key: u64) -> Place {
        let linear = self.factor.wrapping_mul(key as u128).wrapping_add(self.term);
        let hash = (linear >> 64) as u64;
        Place { segment: hash as u32 % SEGMENTS as u32, tag: (hash >> 32 ^ hash) as Tag }
    }
}

impl Segment {
    #[inline]
    fn remove(&mut self, tag: Tag, address: Address) -> bool {
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

    /// The line and the slot of the entry under `tag` that `is` confirms.
    #[inline]
    fn find(&self, tag: Tag, mut is: impl FnMut(Address) -> bool) -> Option<(usize, usize)> {
        let home = self.home(tag);
        let mut at = home;
        // Without lines, the home does not exist.
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

    /// Adds an entry to the first line with space, which exists.
    #[inline]
    fn put(&mut self, tag: Tag, address: Address) {
        let mut at = self.home(tag);
        loop {
            let line = &mut self.lines[at];
            if line.len() < SLOTS {
                return line.push(tag, address);
            }
            line.pass();
            at = self.after(at);
        }
    }

    /// The next line in the ring.
    #[inline]
    const fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    #[inline]
    fn home(&self, tag: Tag) -> usize {
        ((u64::from(tag) * self.lines.len() as u64) >> 32) as usize
    }

    #[cold]
    #[inline(never)]
    fn resize(&mut self, lines: usize) {
        let before = mem::replace(&mut self.lines, vec![Line::default(); lines].into());
        self.most = most(lines) as u32;
        for line in &before {
            for slot in 0..line.len() {
                self.put(line.tags[slot], line.address(slot));
            }
        }
    }
}

/// Entries for this number of lines: 4/5 of their slots, so some line always has space.
const fn most(lines: usize) -> usize {
    lines * SLOTS * 4 / 5
}

/// Below this number of entries, a third of the slots, the segment shrinks. [`more`] and [`less`]
/// create no segment as empty as that.
const fn least(lines: usize) -> usize {
    (lines * 2).saturating_sub(1)
}

/// Half as many again, on one of three interleaved sequences.
const fn more(lines: usize, segment: usize) -> usize {
    let phase = if lines == 4 { segment % 3 } else { 0 };
    lines + lines / 2 + 1 + phase
}

/// No line for no entries.
const fn less(lines: usize) -> usize {
    lines * 5 / 8
}

const SEGMENTS: usize = 256;

#[cfg(test)]
mod tests;
