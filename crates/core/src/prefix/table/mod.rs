//! A hash table from 64-bit keys to 32-bit values: 8 bytes an entry, growth without long stalls,
//! and overlapping cache misses. `hashbrown::HashTable` was weighed: it moves all entries at once.
//!
//! It is extendible hashing: a *directory* leads from the upper bits of a key's *tag*, 32 bits of
//! its hash, to a *segment*. A full segment splits in two, so no change moves more than one of
//! them. A segment consists of *lines* of one cache line each, with eight entries. What a full line
//! has no space for is passed on to the next one.
//!
//! ```text
//! line   tag ×8   value ×8          64 bytes
//!
//! key ──mix──► tag   upper bits ──directory──► segment
//!                    lower bits ──► line
//! ```
//!
//! Hashes would fill all segments at the same time. Tags are denser at the end of their range, so
//! that segments split one after the other, and about seven tenths of the slots are in use at
//! any size.

mod line;
mod mix;
mod segment;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hint;

use super::codec::{Reader, SnapshotError, Writer};
use super::keyed_state::KeyedState;
use line::{EMPTY, Line, Tag};
use mix::Mix;
use segment::{JOINED, Segment, most};

/// A map from 64-bit keys to 32-bit values, which tell where the block with the key is.
///
/// It stores 32 bits of a key; the caller confirms the match through the block. In a table of a
/// million entries, one search in 3,000 meets another key's block.
#[derive(Debug)]
pub(super) struct Table {
    mix: Mix,
    /// The number of the segment for each range of tags. The ranges are equal, their number is a
    /// power of two, and a segment can have several. Empty in an empty table.
    directory: Vec<u32>,
    /// Bits of a tag below those that the directory reads.
    below: u32,
    segments: Vec<Segment>,
    len: usize,
    /// Number of lines in all segments.
    lines: usize,
}

/// A key's tag, and the number of its segment until any segment splits or joins another.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    tag: Tag,
    segment: u32,
}

/// Where a key belongs: what the table uses of its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(Tag);

impl Table {
    /// An empty table, without allocation.
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self::with_mix(Mix::new(hash_state))
    }

    const fn with_mix(mix: Mix) -> Self {
        Self {
            mix,
            directory: Vec::new(),
            below: Tag::BITS,
            segments: Vec::new(),
            len: 0,
            lines: 0,
        }
    }

    /// Where `key` belongs.
    #[inline]
    pub(super) fn place(&self, key: u64) -> Place {
        Place(self.mix.tag(key))
    }

    /// What `confirm` answers to the value of `key`'s block. Computes in **O(1)**.
    #[inline]
    pub(super) fn get<T>(&self, key: u64, confirm: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let Place(tag) = self.place(key);
        let segment = self.segments.get(self.segment_of(tag))?;
        let (_, _, answer) = segment.find(tag, confirm)?;
        Some(answer)
    }

    /// Adds an entry, even if the key has others. Computes in **O(1)**; some insertions divide a
    /// segment.
    #[inline]
    pub(super) fn insert_at(&mut self, place: Place, value: u32) {
        self.get_or_insert_at(place, value, |_| None::<()>);
    }

    /// As [`get`](Self::get) under the key that belongs at `place`; without an answer, adds this
    /// value. Computes as an insertion.
    #[inline]
    pub(super) fn get_or_insert_at<T>(
        &mut self,
        place: Place,
        value: u32,
        confirm: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let Place(tag) = place;
        let at = self.segment_of(tag);
        if self.segments.get_mut(at).is_some_and(|there| there.insert_new(tag, value)) {
            self.len += 1;
            return None;
        }
        self.search(place, value, confirm)
    }

    /// The same where the tag may be known, or the segment is full.
    #[inline(never)]
    fn search<T>(
        &mut self,
        Place(tag): Place,
        value: u32,
        confirm: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        if self.directory.is_empty() {
            self.begin();
        }
        let mut at = self.segment_of(tag);
        if let Some((_, _, answer)) = self.segments[at].find(tag, confirm) {
            return Some(answer);
        }
        while self.segments[at].is_full() {
            self.grow(at);
            at = self.segment_of(tag);
        }
        self.segments[at].insert(tag, value);
        self.len += 1;
        None
    }

    /// Adds entries under the first [`BATCH`] of these keys, up to one whose tag may be known, or
    /// whose segment is full. Returns how many. Their cache misses overlap.
    #[inline]
    pub(super) fn insert_new(
        &mut self,
        keys: impl Iterator<Item = u64>,
        values: impl Iterator<Item = u32>,
    ) -> usize {
        let mut spots = [Spot::default(); BATCH];
        let (mut count, mut seen) = (0, 0);
        for (spot, key) in spots.iter_mut().zip(keys) {
            let Place(tag) = self.place(key);
            let at = self.segment_of(tag);
            *spot = Spot { tag, segment: at as u32 };
            seen |= self.look(at, tag);
            count += 1;
        }
        hint::black_box(seen);
        let segments = &mut self.segments;
        let is_new = |(spot, value): (&Spot, u32)| {
            let segment = segments.get_mut(spot.segment as usize);
            segment.is_some_and(|segment| segment.insert_new(spot.tag, value))
        };
        let added =
            spots[..count].iter().zip(values).map(is_new).take_while(|is_new| *is_new).count();
        self.len += added;
        added
    }

    /// Removes exactly this entry, and releases unneeded memory. Returns whether it was there.
    /// Computes in amortized **O(1)**.
    #[inline]
    pub(super) fn remove_at(&mut self, Place(tag): Place, value: u32) -> bool {
        let at = self.segment_of(tag);
        let Some(segment) = self.segments.get_mut(at) else { return false };
        if !segment.remove(tag, value) {
            return false;
        }
        let is_sparse = segment.is_sparse();
        self.len -= 1;
        if is_sparse || self.len == 0 {
            self.shrink(at);
        }
        true
    }

    /// Where keys belong. Prefetches their home lines, so that the cache misses overlap.
    #[inline]
    pub(super) fn places<'p>(
        &self,
        keys: impl ExactSizeIterator<Item = u64>,
        places: &'p mut [Place],
    ) -> &'p [Place] {
        let places = &mut places[..keys.len()];
        let mut seen = 0;
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.place(key);
            seen |= self.look(self.segment_of(place.0), place.0);
        }
        hint::black_box(seen);
        places
    }

    /// Prefetches the home line of `place`.
    #[inline]
    pub(super) fn touch(&self, Place(tag): Place) {
        hint::black_box(self.look(self.segment_of(tag), tag));
    }

    /// Reads the home line of this tag, which belongs to the segment `at`.
    #[inline]
    fn look(&self, at: usize, tag: Tag) -> Tag {
        let segment = self.segments.get(at);
        let line = segment.and_then(|segment| segment.lines.get(segment.home(tag)));
        line.map_or(EMPTY, |line| line.tags[0])
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Writes the table as it is; another one under the same secret finds every entry.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.count(self.segments.len());
        for segment in &self.segments {
            writer.u32(segment.first);
            writer.u32(segment.below);
            writer.count(segment.lines.len());
            writer.column(&segment.lines, Line::words);
        }
    }

    /// Reads into an empty table. The caller validates the values.
    pub(super) fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let count = reader.count(SEGMENT_BYTES)?;
        self.segments.reserve_exact(count);
        let mut covered = 0;
        for _ in 0..count {
            let (first, below) = (reader.u32()?, reader.u32()?);
            let lines = reader.count(size_of::<Line>())?;
            let lines: Box<[Line]> = reader.column(lines, Line::of_words)?.into();
            reader.require((MIN_BELOW..=Tag::BITS).contains(&below))?;
            reader.require(u64::from(first) % (1 << below) == 0)?;
            reader.require(lines.len().is_power_of_two())?;
            reader.require(lines.iter().all(Line::is_dense))?;
            let segment = Segment::of_lines(lines, first, below);
            reader.require(segment.len <= segment.most)?;
            reader.require(segment.tags().all(|tag| segment.contains(tag)))?;
            self.lines += segment.lines.len();
            self.len += segment.len as usize;
            self.below = self.below.min(below);
            covered += 1_u64 << below;
            self.segments.push(segment);
        }
        let ranges = 1_usize << (Tag::BITS - self.below);
        reader.require(count == 0 || (covered == ALL_TAGS && ranges <= MAX_SPREAD * count))?;
        self.directory = vec![u32::MAX; if count == 0 { 0 } else { ranges }];
        (0..count).for_each(|at| self.cover(at));
        reader.require(!self.directory.contains(&u32::MAX))
    }

    /// The values, in no defined order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let lines = self.segments.iter().flat_map(|segment| &segment.lines);
        lines.flat_map(|line| line.entries().map(|(_, value)| value))
    }

    /// Allocated bytes. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.lines * size_of::<Line>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.directory.capacity() * size_of::<u32>()
    }

    /// Additional bytes with these keys. Computes in **O(keys × log keys)**, and in the size of a
    /// segment for each that grows.
    pub(super) fn growth(&self, keys: impl Iterator<Item = u64>) -> usize {
        let mut tags: Vec<Tag> = keys.map(|key| self.mix.tag(key)).collect();
        tags.sort_unstable();
        let none = Segment::new(0, 0, Tag::BITS);
        let (mut grown, mut rest) = (Growth { below: self.below, ..Growth::default() }, &tags[..]);
        let mut lines = self.lines;
        while let Some(first) = rest.first() {
            let segment = self.segments.get(self.segment_of(*first)).unwrap_or(&none);
            let (here, others) = rest.split_at(rest.partition_point(|tag| segment.contains(*tag)));
            rest = others;
            if segment.len as usize + here.len() > segment.most as usize {
                let mut tags: Vec<Tag> = segment.tags().chain(here.iter().copied()).collect();
                tags.sort_unstable();
                lines -= segment.lines.len();
                grown.add(&tags, segment.below, segment.lines.len());
            }
        }
        let segments = self.segments.len().max(usize::from(!tags.is_empty())) + grown.splits;
        let mut capacity = self.segments.capacity();
        while capacity < segments {
            capacity += capacity.max(FIRST);
        }
        let ranges = if segments == 0 { 0 } else { 1 << (Tag::BITS - grown.below) };
        (lines + grown.lines - self.lines) * size_of::<Line>()
            + (capacity - self.segments.capacity()) * size_of::<Segment>()
            + (ranges - self.directory.capacity()) * size_of::<u32>()
    }

    /// The number of the segment for this tag.
    #[inline]
    fn segment_of(&self, tag: Tag) -> usize {
        let range = (u64::from(tag) >> self.below) as usize;
        self.directory.get(range).map_or(0, |segment| *segment as usize)
    }

    /// Makes a segment the one of its ranges.
    fn cover(&mut self, at: usize) {
        let Segment { first, below, .. } = self.segments[at];
        let begin = (u64::from(first) >> self.below) as usize;
        let ranges = 1 << (below - self.below);
        if let Some(ranges) = self.directory.get_mut(begin..begin + ranges) {
            ranges.fill(at as u32);
        }
    }

    /// Begins with one segment for all tags.
    #[cold]
    fn begin(&mut self) {
        self.push(Segment::new(1, 0, Tag::BITS));
        self.directory = vec![0];
    }

    fn push(&mut self, segment: Segment) {
        if self.segments.len() == self.segments.capacity() {
            self.segments.reserve_exact(self.segments.capacity().max(FIRST));
        }
        self.lines += segment.lines.len();
        self.segments.push(segment);
    }

    /// Makes space in a full segment.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, at: usize) {
        let segment = &mut self.segments[at];
        let lines = segment.lines.len();
        if !splits(lines, segment.below) {
            segment.resize(2 * lines);
            self.lines += lines;
            return;
        }
        let upper = segment.split();
        if upper.below < self.below {
            self.below = upper.below;
            let mut twice = Vec::with_capacity(2 * self.directory.len());
            self.directory.iter().for_each(|segment| twice.extend([*segment; 2]));
            self.directory = twice;
        }
        self.push(upper);
        self.cover(self.segments.len() - 1);
    }

    /// Releases memory of a segment with few entries.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self, at: usize) {
        if self.len == 0 {
            (self.directory, self.segments) = (Vec::new(), Vec::new());
            (self.below, self.lines) = (Tag::BITS, 0);
        } else if !self.merge(at) {
            let segment = &mut self.segments[at];
            let lines = segment.lines.len();
            if lines > 1 {
                segment.resize(lines / 2);
                self.lines -= lines / 2;
            }
        }
    }

    /// Joins a segment with the other half of the one that both were, if both have few entries.
    fn merge(&mut self, at: usize) -> bool {
        let Segment { first, below, len, .. } = self.segments[at];
        if below == Tag::BITS {
            return false;
        }
        let other = self.segment_of(first ^ (1 << below));
        let there = &self.segments[other];
        if there.below != below || len + there.len > JOINED * LINES as u32 {
            return false;
        }
        let (keep, gone) = (at.min(other), at.max(other));
        let before = self.segments.swap_remove(gone);
        let segment = &mut self.segments[keep];
        self.lines -= segment.lines.len() + before.lines.len();
        segment.join(&before);
        self.lines += segment.lines.len();
        self.cover(keep);
        if gone < self.segments.len() {
            self.cover(gone);
        }
        if self.segments.len() < self.segments.capacity() / 4 {
            self.segments.shrink_to(2 * self.segments.len());
        }
        let is_pair = |pair: &[u32]| pair[0] == pair[1];
        if self.directory.len() > 8 * self.segments.len() && self.directory.chunks(2).all(is_pair) {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.below += 1;
        }
        true
    }
}

/// What more entries add to a table.
#[derive(Default)]
struct Growth {
    splits: usize,
    lines: usize,
    /// As in the table.
    below: u32,
}

impl Growth {
    /// Adds a segment of these lines that gets these sorted tags.
    fn add(&mut self, tags: &[Tag], below: u32, mut lines: usize) {
        while tags.len() > most(lines) {
            if splits(lines, below) {
                let below = below - 1;
                let (low, high) = tags.split_at(tags.partition_point(|tag| tag & 1 << below == 0));
                self.splits += 1;
                self.below = self.below.min(below);
                self.add(low, below, lines);
                self.add(high, below, lines);
                return;
            }
            lines = (2 * lines).max(1);
        }
        self.lines += lines;
    }
}

/// Whether a full segment splits rather than doubles.
const fn splits(lines: usize, below: u32) -> bool {
    lines >= LINES && below > MIN_BELOW
}

/// Keys whose cache misses overlap.
pub(super) const BATCH: usize = 32;
/// Lines of a segment that splits, 16 KiB. It holds up to 1,920 entries.
const LINES: usize = 256;
/// The least bits in which tags of a segment differ. Only entries with equal tags reach this.
const MIN_BELOW: u32 = 12;
/// Ranges for each segment in a directory that is no nonsense.
const MAX_SPREAD: usize = 256;
/// Number of different tags.
const ALL_TAGS: u64 = 1 << Tag::BITS;
/// The least capacity for segments.
const FIRST: usize = 4;
/// The least bytes of a segment in a snapshot.
const SEGMENT_BYTES: usize = 4 + 4 + 8;

#[cfg(test)]
mod tests;
