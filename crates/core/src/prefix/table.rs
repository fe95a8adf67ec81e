//! Where blocks are: a hash table of 10 bytes an entry that grows without a stall, and whose misses overlap.
//!
//! 256 *segments* grow and shrink each for itself, out of phase, so the longest stall moves 1/256 of the entries. A segment is a
//! ring of *lines*, each the size of a cache line: six entries, and how many more found no room there.
//!
//! ```text
//! line   tag ×6   run ×6   offset ×6   passed, len          64 bytes
//!
//! key ──mix──► segment (8 bits)   tag (32)   nothing (24)
//!                                  └─► home line: tag * lines / 2^32
//! ```
//!
//! An entry is in the first line that had room, from its home on. A search ends at the first line that none has passed, so most
//! read one line; a removal takes back that the entry had passed some, so there are no tombstones. Homes are in the order of the
//! tags, so any number of lines will do, and a segment grows in one sequential pass that needs no keys.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::{array, hint, mem};

use super::codec::{Reader, SnapshotError, Writer};
use super::keyed::Keyed;
use super::runs::RunId;
use crate::rng::Rng;

/// From keys of 64 bits to addresses.
///
/// It remembers 40 bits of a key, and whoever asks confirms through the block itself: in a table of a million entries, one search
/// of a million is asked about another key's block.
#[derive(Debug)]
pub(super) struct Table {
    mix: Mix,
    /// All or, in an empty table, none.
    segments: Box<[Segment]>,
    len: usize,
    /// In all segments.
    lines: usize,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) run: RunId,
    pub(super) offset: u16,
}

/// A random linear function, of which the upper half counts.
///
/// It makes the hashes of any two keys independent: of keys that somebody chooses without the secret, no more pairs are expected
/// to meet than of random ones. Keys in sequence stay one, which may come in lumps; its lower bits break those up.
#[derive(Debug)]
struct Mix {
    factor: u128,
    term: u128,
}

/// What a segment remembers of a key.
type Tag = u32;

#[derive(Debug, Default)]
struct Segment {
    lines: Box<[Line]>,
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line {
    tags: [Tag; SLOTS],
    runs: [RunId; SLOTS],
    /// Entries that found no room here, in the upper 24 bits; entries that are here, in the lower 8.
    counts: u32,
    offsets: [u16; SLOTS],
}

impl Table {
    /// An empty table, which owns no memory.
    pub(super) fn new(keyed: Keyed) -> Self {
        Self { mix: Mix::new(keyed), segments: Box::default(), len: 0, lines: 0 }
    }

    /// The address under `key` of which `is` says that the block there is the one. Computes in **O(1)**.
    #[inline]
    pub(super) fn get(&self, key: u64, is: impl FnMut(Address) -> bool) -> Option<Address> {
        let (segment, tag) = self.mix.split(key);
        let segment = self.segments.get(segment)?;
        let (line, slot) = segment.find(tag, is)?;
        Some(segment.lines[line].address(slot))
    }

    /// Adds an entry, even if there are others under the key. Computes in **O(1)** on the average; now and then it moves a segment.
    #[inline]
    pub(super) fn insert(&mut self, key: u64, address: Address) {
        self.get_or_insert(key, address, |_| false);
    }

    /// The address under `key` of which `is` says that the block there is the one; if there is none, adds this one. Computes as an
    /// insertion does.
    #[inline]
    pub(super) fn get_or_insert(
        &mut self,
        key: u64,
        address: Address,
        is: impl FnMut(Address) -> bool,
    ) -> Option<Address> {
        if self.segments.is_empty() {
            self.segments = (0..SEGMENTS).map(|_| Segment::default()).collect();
        }
        let (number, tag) = self.mix.split(key);
        let segment = &mut self.segments[number];
        if let Some((line, slot)) = segment.find(tag, is) {
            return Some(segment.lines[line].address(slot));
        }
        self.lines -= segment.lines.len();
        segment.insert(tag, address, number);
        self.lines += segment.lines.len();
        self.len += 1;
        None
    }

    /// Removes exactly this entry, and gives room back that is no longer needed; whether the entry was there. Computes in **O(1)**,
    /// as an insertion does.
    #[inline]
    pub(super) fn remove(&mut self, key: u64, address: Address) -> bool {
        let (segment, tag) = self.mix.split(key);
        let Some(segment) = self.segments.get_mut(segment) else { return false };
        self.lines -= segment.lines.len();
        let removed = segment.remove(tag, address);
        self.lines += segment.lines.len();
        self.len -= usize::from(removed);
        if removed && self.len == 0 {
            self.segments = Box::default();
        }
        removed
    }

    /// Brings the key's home line into the cache. Of many keys that are touched before the first is used, the misses overlap.
    #[inline]
    pub(super) fn touch(&self, key: u64) {
        let (segment, tag) = self.mix.split(key);
        if let Some(segment) = self.segments.get(segment) {
            hint::black_box(segment.lines.get(segment.home(tag)).map_or(0, |line| line.counts));
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Writes it as it is: another table under the same secret finds everything where it was.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.count(self.segments.len());
        for segment in &self.segments {
            writer.count(segment.lines.len());
            writer.column(&segment.lines, Line::words);
        }
    }

    /// Reads what was written into an empty table. Whether the addresses mean anything is for the caller to see.
    pub(super) fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let segments = reader.count(8)?;
        reader.require(segments == 0 || segments == SEGMENTS)?;
        let mut loaded = Vec::with_capacity(segments);
        for _ in 0..segments {
            let lines = reader.count(size_of::<Line>())?;
            let lines: Box<[Line]> = reader.column(lines, Line::of_words)?.into();
            reader.require(lines.iter().all(|line| line.len() <= SLOTS))?;
            let len = lines.iter().map(Line::len).sum();
            reader.require(len <= most(lines.len()))?;
            self.lines += lines.len();
            self.len += len;
            loaded.push(Segment { lines, len });
        }
        self.segments = loaded.into();
        Ok(())
    }

    /// The addresses, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        let lines = self.segments.iter().flat_map(|segment| &segment.lines);
        lines.flat_map(|line| line.entries().map(|(_, address)| address))
    }

    /// The bytes it has allocated. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.lines * size_of::<Line>() + self.segments.len() * size_of::<Segment>()
    }

    /// How many bytes more are allocated, at most, once it has these keys too. Computes in **O(keys)**.
    pub(super) fn growth(&self, keys: impl Iterator<Item = u64>) -> usize {
        let mut new = [0; SEGMENTS];
        keys.for_each(|key| new[self.mix.split(key).0] += 1);
        let grown = |(number, new): (usize, usize)| {
            let (before, len) = self.segments.get(number).map_or((0, 0), |s| (s.lines.len(), s.len));
            let mut lines = before;
            while len + new > most(lines) {
                lines = more(lines, number);
            }
            lines - before
        };
        let lines: usize = new.into_iter().enumerate().map(grown).sum();
        lines * size_of::<Line>() + (SEGMENTS - self.segments.len()) * size_of::<Segment>()
    }

    /// No more bytes than this are allocated for `len` entries, whatever they are and whatever was before: 32 for an entry and
    /// another 16 KiB. In a table that has only grown it is about half.
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
    fn new(keyed: Keyed) -> Self {
        let mut rng = Rng::new(keyed.hash_one(0_u64));
        let mut wide = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self { factor: wide(), term: wide() }
    }

    #[inline]
    fn split(&self, key: u64) -> (usize, Tag) {
        let linear = self.factor.wrapping_mul(u128::from(key)).wrapping_add(self.term);
        let hash = (linear >> 64) as u64;
        (hash as usize % SEGMENTS, (hash >> 32 ^ hash) as Tag)
    }
}

impl Segment {
    #[inline]
    fn insert(&mut self, tag: Tag, address: Address, number: usize) {
        if self.len == most(self.lines.len()) {
            self.resize(more(self.lines.len(), number));
        }
        self.place(tag, address);
        self.len += 1;
    }

    #[inline]
    fn remove(&mut self, tag: Tag, address: Address) -> bool {
        let Some((line, slot)) = self.find(tag, |other| other == address) else { return false };
        for passed in self.way(tag).take_while(|at| *at != line) {
            self.lines[passed].unpass();
        }
        self.lines[line].clear(slot);
        self.len -= 1;
        if self.len < least(self.lines.len()) {
            self.resize(less(self.lines.len()));
        }
        true
    }

    /// The line and the slot of the entry under `tag` that is the one.
    #[inline]
    fn find(&self, tag: Tag, mut is: impl FnMut(Address) -> bool) -> Option<(usize, usize)> {
        for at in self.way(tag) {
            let line = &self.lines[at];
            let mut matching = line.matching(tag);
            while matching != 0 {
                let slot = matching.trailing_zeros() as usize;
                if is(line.address(slot)) {
                    return Some((at, slot));
                }
                matching &= matching - 1;
            }
            if !line.is_passed() {
                return None;
            }
        }
        None
    }

    /// Puts an entry into the first line with room; there is one.
    #[inline]
    fn place(&mut self, tag: Tag, address: Address) {
        for at in self.way(tag) {
            let line = &mut self.lines[at];
            if line.len() < SLOTS {
                return line.push(tag, address);
            }
            line.pass();
        }
    }

    /// Every line once, from the home of `tag` on.
    #[inline]
    fn way(&self, tag: Tag) -> impl Iterator<Item = usize> + use<> {
        let home = self.home(tag);
        (home..self.lines.len()).chain(0..home)
    }

    #[inline]
    fn home(&self, tag: Tag) -> usize {
        ((u64::from(tag) * self.lines.len() as u64) >> 32) as usize
    }

    #[cold]
    #[inline(never)]
    fn resize(&mut self, lines: usize) {
        let before = mem::replace(&mut self.lines, vec![Line::default(); lines].into());
        for (tag, address) in before.iter().flat_map(Line::entries) {
            self.place(tag, address);
        }
    }
}

impl Line {
    #[inline]
    const fn len(&self) -> usize {
        (self.counts & 0xff) as usize
    }

    #[inline]
    const fn is_passed(&self) -> bool {
        self.counts > 0xff
    }

    /// A counter that is full stays so: searches may go too far then, but never stop too early.
    #[inline]
    const fn pass(&mut self) {
        if self.counts >> 8 != MAX_PASSED {
            self.counts += 1 << 8;
        }
    }

    #[inline]
    const fn unpass(&mut self) {
        if self.counts >> 8 != MAX_PASSED && self.is_passed() {
            self.counts -= 1 << 8;
        }
    }

    fn words(&self) -> [u64; 8] {
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

    fn of_words(words: [u64; 8]) -> Self {
        let half = |at: usize| (words[at / 2] >> (at % 2 * 32)) as u32;
        let offset =
            |at: usize| if at < 4 { words[7] >> (16 * at) } else { words[6] >> (32 + 16 * (at - 4)) };
        Self {
            tags: array::from_fn(half),
            runs: array::from_fn(|at| half(SLOTS + at)),
            counts: words[6] as u32,
            offsets: array::from_fn(|at| offset(at) as u16),
        }
    }

    /// A bit for each slot with this tag. Without a branch: which slot it is cannot be predicted.
    #[inline]
    fn matching(&self, tag: Tag) -> u32 {
        let mut matching = 0;
        for slot in 0..SLOTS {
            matching |= u32::from(self.tags[slot] == tag) << slot;
        }
        matching & ((1 << self.len()) - 1)
    }

    #[inline]
    const fn address(&self, slot: usize) -> Address {
        Address { run: self.runs[slot], offset: self.offsets[slot] }
    }

    fn entries(&self) -> impl Iterator<Item = (Tag, Address)> + '_ {
        (0..self.len()).map(|slot| (self.tags[slot], self.address(slot)))
    }

    #[inline]
    const fn push(&mut self, tag: Tag, address: Address) {
        self.set(self.len(), tag, address);
        self.counts += 1;
    }

    /// Empties a slot; the last entry moves into it.
    #[inline]
    const fn clear(&mut self, slot: usize) {
        self.counts -= 1;
        let last = self.len();
        self.set(slot, self.tags[last], self.address(last));
    }

    #[inline]
    const fn set(&mut self, slot: usize, tag: Tag, address: Address) {
        self.tags[slot] = tag;
        self.runs[slot] = address.run;
        self.offsets[slot] = address.offset;
    }
}

/// How many entries so many lines take: 4/5 of their slots, so some line always has room.
const fn most(lines: usize) -> usize {
    lines * SLOTS * 4 / 5
}

/// With fewer entries, a third of the slots, fewer lines do. [`more`] and [`less`] make no segment as empty as that.
const fn least(lines: usize) -> usize {
    (lines * 2).saturating_sub(1)
}

/// Half as much again, on one of three ladders whose rungs alternate.
const fn more(lines: usize, segment: usize) -> usize {
    let phase = if lines == 4 { segment % 3 } else { 0 };
    lines + lines / 2 + 1 + phase
}

/// No line, where no entry is left.
const fn less(lines: usize) -> usize {
    lines * 5 / 8
}

const SEGMENTS: usize = 256;
const SLOTS: usize = 6;
const MAX_PASSED: u32 = (1 << 24) - 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    /// A table whose secret leaves the key as it is, so that tests can choose the hash.
    fn open() -> Table {
        Table { mix: Mix { factor: 1 << 64, term: 0 }, ..Table::new(Keyed::new(0)) }
    }

    /// The key that has this hash in an open table.
    fn key(segment: u8, tag: u32, rest: u32) -> u64 {
        let lower = rest << 8 | u32::from(segment);
        u64::from(tag ^ lower) << 32 | u64::from(lower)
    }

    fn at(run: usize, offset: u16) -> Address {
        Address { run: run as u32, offset }
    }

    /// How many entries passed each line.
    fn passed(segment: &Segment) -> Vec<u32> {
        let mut passed = vec![0; segment.lines.len()];
        for (here, line) in segment.lines.iter().enumerate() {
            for (tag, _) in line.entries() {
                segment.way(tag).take_while(|at| *at != here).for_each(|at| passed[at] += 1);
            }
        }
        passed
    }

    fn check(table: &Table) {
        for segment in &table.segments {
            let lines = segment.lines.len();
            assert!(segment.lines.iter().map(|line| line.counts >> 8).eq(passed(segment)));
            assert_eq!(segment.lines.iter().map(Line::len).sum::<usize>(), segment.len);
            assert!((least(lines)..=most(lines)).contains(&segment.len), "{} in {lines}", segment.len);
        }
        assert_eq!(table.segments.iter().map(|segment| segment.len).sum::<usize>(), table.len());
        assert_eq!(table.segments.iter().map(|segment| segment.lines.len()).sum::<usize>(), table.lines);
        assert_eq!(table.iter().count(), table.len());
        assert!(table.allocated() <= Table::bytes_at_most(table.len()));
    }

    proptest! {
        /// Few keys under fewer tags, at the ends of the ring and in its middle, and many entries under each.
        #[test]
        fn behaves_like_a_set_of_entries(ops in prop::collection::vec((0..5, 0usize..32, 0u16..9), 0..600)) {
            let tags = [0, 1, 1 << 31, u32::MAX];
            let key = |run: usize| key((run % 2) as u8, tags[run / 2 % 4], run as u32);
            let (mut table, mut model) = (open(), BTreeSet::new());
            for (op, run, offset) in ops {
                let here = at(run, offset);
                if op < 2 {
                    prop_assert_eq!(table.remove(key(run), here), model.remove(&(run, offset)));
                } else if model.insert((run, offset)) {
                    table.insert(key(run), here);
                }
                table.touch(key(run));
                check(&table);
                prop_assert_eq!(table.get(key(run), |other| other == here).is_some(), model.contains(&(run, offset)));
                let any = table.get(key(run), |other| other.run == run as u32);
                prop_assert_eq!(any.is_some(), model.range((run, 0)..(run + 1, 0)).next().is_some());
            }
            let entries: BTreeSet<_> = table.iter().map(|at| (at.run as usize, at.offset)).collect();
            prop_assert_eq!(entries, model);
        }
    }

    #[test]
    fn searches_end_even_if_every_line_is_passed() {
        let (first, second) = (key(0, 0, 0), key(0, u32::MAX, 0));
        let mut table = open();
        (0..7).for_each(|run| table.insert(first, at(run, 0)));
        (0..4).for_each(|run| assert!(table.remove(first, at(run, 0))));
        (7..13).for_each(|run| table.insert(second, at(run, 0)));
        check(&table);
        let lines = &table.segments[0].lines;
        assert!(lines.len() == 2 && lines.iter().all(Line::is_passed));
        for key in [first, second, key(0, 1, 0), key(1, 0, 0)] {
            assert_eq!(table.get(key, |_| false), None);
            assert!(!table.remove(key, at(0, 0)));
        }
    }

    #[test]
    fn equal_keys_fill_a_segment_to_the_limit() {
        let mut table = open();
        for run in 0..1_000 {
            table.insert(key(0, u32::MAX, 0), at(run, 0));
            check(&table);
            assert_eq!(table.get(key(0, u32::MAX, 0), |other| other == at(0, 0)), Some(at(0, 0)));
            assert_eq!(table.get(key(0, 0, 0), |_| true), None);
        }
    }

    #[test]
    fn what_is_remembered_alike_is_told_apart_by_the_block() {
        let mut table = open();
        (0..9).for_each(|run| table.insert(key(3, 7, run), at(run as usize, 1)));
        for run in 0..9 {
            assert_eq!(table.get(key(3, 7, run), |other| other.run == run), Some(at(run as usize, 1)));
        }
        assert!(table.remove(key(3, 7, 4), at(4, 1)));
        assert_eq!(table.get(key(3, 7, 4), |other| other.run == 4), None);
        assert_eq!(table.len(), 8);
    }

    #[test]
    fn lines_are_written_as_they_are_read() {
        let offsets = [1, 2, 3, 4, 5, 6];
        let line = Line {
            tags: [7, 8, 9, 10, 11, 12],
            runs: [13, 14, 15, 16, 17, 18],
            counts: 19 << 8 | 6,
            offsets,
        };
        assert!(Line::of_words(line.words()).entries().eq(line.entries()));
        assert_eq!(Line::of_words(line.words()).counts, line.counts);
    }

    #[test]
    fn a_full_counter_only_makes_searches_longer() {
        let mut line = Line { counts: (MAX_PASSED - 1) << 8 | 6, ..Line::default() };
        line.pass();
        line.pass();
        line.unpass();
        assert_eq!((line.counts >> 8, line.len()), (MAX_PASSED, 6));
    }

    #[test]
    fn it_takes_what_its_entries_need_on_the_way_up_and_down() {
        let mut table = Table::new(Keyed::new(1));
        assert_eq!((table.allocated(), Table::bytes_at_most(0)), (0, 0));
        for round in 0..3 {
            let mut rng = Rng::new(round);
            let keys: Vec<_> = (0..40_000).map(|_| rng.next_u64()).collect();
            for (chunk, keys) in keys.chunks(100).enumerate() {
                let foreseen = table.allocated() + table.growth(keys.iter().copied());
                for (key, run) in keys.iter().zip(chunk * 100..) {
                    table.insert(*key, at(run, 0));
                    assert!(table.allocated() <= Table::bytes_at_most(run + 1));
                }
                assert_eq!(table.allocated(), foreseen);
            }
            check(&table);
            assert!(table.allocated() <= 20 * keys.len());
            for (run, key) in keys.iter().enumerate() {
                assert_eq!(table.get(*key, |other| other.run == run as u32), Some(at(run, 0)));
                assert!(table.remove(*key, at(run, 0)));
                assert!(table.allocated() <= Table::bytes_at_most(table.len()));
                if run % 4_096 == 0 {
                    check(&table);
                }
            }
            assert_eq!((table.len(), table.allocated()), (0, 0));
        }
    }

    #[test]
    fn no_size_is_too_small_or_too_large_for_what_led_to_it() {
        for lines in 0..10_000 {
            for segment in 0..3 {
                let (more, len) = (more(lines, segment), most(lines) + 1);
                assert!(lines < more && least(more) <= len && len <= most(more), "{lines} -> {more}");
            }
            if lines > 0 {
                let (less, len) = (less(lines), least(lines) - 1);
                assert!(less < lines && least(less) <= len && len <= most(less), "{lines} -> {less}");
                assert!(most(lines) < lines * SLOTS);
            }
        }
    }

    #[test]
    fn keys_in_any_order_spread() {
        let strides = [1_u64, 3, 1 << 8, 1 << 20, 1 << 32, 1 << 44, 0x9e37_79b9_7f4a_7c15];
        for (stride, seed) in strides.into_iter().zip(0..) {
            let mut table = Table::new(Keyed::new(seed));
            (0..1_000_000).for_each(|run| table.insert(stride.wrapping_mul(run as u64), at(run, 0)));
            let lines = table.segments.iter().flat_map(|segment| &segment.lines);
            let most_passed = lines.map(|line| line.counts >> 8).max();
            assert!(most_passed < Some(64), "{stride:#x}: {most_passed:?}");
            let fullest = table.segments.iter().map(|segment| segment.len).max();
            assert!(fullest < Some(table.len() / SEGMENTS * 5 / 4), "{stride:#x}: {fullest:?}");
        }
    }

    #[test]
    fn keys_that_meet_under_one_secret_do_not_under_another() {
        let (known, secret) = (Mix::new(Keyed::new(1)), Mix::new(Keyed::new(2)));
        let mut rng = Rng::new(9);
        let mut table = Table { mix: secret, ..Table::new(Keyed::new(0)) };
        for run in 0..2_000_000 {
            let key = rng.next_u64();
            if known.split(key).0 == 0 {
                table.insert(key, at(run, 0));
            }
        }
        let fullest = table.segments.iter().map(|segment| segment.len).max();
        assert!(fullest < Some(2 * table.len() / SEGMENTS), "{fullest:?}");
    }
}
