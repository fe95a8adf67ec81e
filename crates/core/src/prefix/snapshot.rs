//! What an index knows, as bytes: for a gateway that starts again and need not learn everything anew.
//!
//! Written are the runs' columns and, for each endpoint, its spans, its turns to be given up and its names. What follows from them is
//! not: tables, parts, sums. A snapshot is read into an index of its own that takes the old one's place at the end, so what goes
//! wrong on the way changes nothing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::assumed::Unconfirmed;
use super::codec::{Kind, Reader, SnapshotError, Writer};
use super::hash::BlockHash;
use super::holding::Holding;
use super::index::{Member, PrefixIndex};
use super::limits::{Cache, IndexLimits};
use super::runs::Runs;
use super::warm::WarmWindow;
use crate::endpoint::EvictionOrder;
use crate::time::Instant;

impl PrefixIndex {
    /// All that the index knows, as bytes. Times are written as how long ago they were: `now` is the time of the snapshot. Equal
    /// indexes give equal bytes, on every platform. Computes in **O(everything)**, near the speed of a copy.
    pub fn snapshot(&self, now: Instant) -> Vec<u8> {
        let mut writer = Writer::new();
        self.save(&mut writer, now);
        writer.seal(Kind::Index, self.keyed)
    }

    /// The index that a snapshot was taken of. Computes in **O(everything)**.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise::prefix::{BlockHash, Cache, IndexLimits, PrefixIndex, SnapshotError, Use};
    ///
    /// let (seed, limits, now) = (7, IndexLimits::default(), Instant::ORIGIN);
    /// let mut index = PrefixIndex::new(seed, limits.clone());
    /// index.join(0, Cache { capacity: 1_000, ..Cache::default() }).expect("one is few");
    /// let chain = [1, 2, 3].map(BlockHash);
    /// index.assume(0, &chain, Use { stamp: 1, block_tokens: 16, now, computed: true });
    ///
    /// let mut snapshot = index.snapshot(now);
    /// let restored = PrefixIndex::restore(seed, limits.clone(), now, &snapshot)?;
    /// assert_eq!(restored.depth(0, &chain), 3);
    ///
    /// snapshot.pop();
    /// let damaged = PrefixIndex::restore(seed, limits, now, &snapshot);
    /// assert!(matches!(damaged, Err(SnapshotError::Damaged(_))));
    /// # Ok::<(), SnapshotError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When these are not the bytes of a snapshot, when it was taken under another seed, or when there is no room for it.
    pub fn restore(
        seed: u64,
        limits: IndexLimits,
        now: Instant,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let mut index = Self::new(seed, limits);
        let mut reader = Reader::open(snapshot, Kind::Index, index.keyed)?;
        index.load(&mut reader, now, Some)?;
        reader.end()?;
        Ok(index)
    }

    /// Writes everything.
    pub(crate) fn save(&self, writer: &mut Writer, now: Instant) {
        self.runs.save(writer);
        writer.u64(self.joined);
        let members = || (0_u32..).zip(&self.endpoints).filter_map(|(slot, m)| Some((slot, m.as_deref()?)));
        writer.count(members().count());
        for (slot, Member { holding, cache, joined, .. }) in members() {
            writer.u32(slot);
            writer.u64(*joined);
            writer.u32(cache.capacity);
            writer.u8(cache.order as u8);
            holding.save(writer, now);
        }
        writer.count(self.unconfirmed.len());
        for Unconfirmed { due, slot, joined, stamp, chain } in &self.unconfirmed {
            let left = u64::try_from(due.saturating_since(now).as_micros()).unwrap_or(u64::MAX);
            writer.u64(left);
            writer.u32(*slot);
            writer.u64(*joined);
            writer.u64(*stamp);
            writer.count(chain.len());
            writer.column(chain, |hash| hash.0);
        }
    }

    /// Reads everything into an index in which nobody is yet. The endpoint of each slot comes into the slot that `place` says, or is
    /// left out.
    pub(crate) fn load(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        mut place: impl FnMut(u32) -> Option<u32>,
    ) -> Result<(), SnapshotError> {
        self.runs = Runs::load(reader, self.keyed)?;
        self.joined = reader.u64()?;
        let mut places = Vec::new();
        for _ in 0..reader.count(MEMBER_BYTES)? {
            let (slot, joined, capacity) = (reader.u32()?, reader.u64()?, reader.u32()?);
            let order = eviction_order(reader.u8()?).ok_or_else(|| reader.damaged())?;
            let warm = WarmWindow::new(self.limits.warm_window);
            let holding = Holding::load(reader, self.keyed, warm, now, &self.runs)?;
            let Some(place) = place(slot) else { continue };
            reader.require((place as usize) < self.limits.slots && self.member(place).is_none())?;
            self.runs.settle_all(place, &holding);
            self.enter(place, holding, Cache { capacity, order }, joined);
            places.push((slot, place));
        }
        self.unconfirmed = self.load_unconfirmed(reader, now, &places)?;
        self.runs.trim_all();
        if self.allocated() > self.limits.bytes { Err(SnapshotError::TooLarge) } else { Ok(()) }
    }

    fn load_unconfirmed(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        places: &[(u32, u32)],
    ) -> Result<VecDeque<Unconfirmed>, SnapshotError> {
        let mut unconfirmed = VecDeque::new();
        for _ in 0..reader.count(UNCONFIRMED_BYTES)? {
            let due = now + Duration::from_micros(reader.u64()?);
            let (slot, joined, stamp) = (reader.u32()?, reader.u64()?, reader.u64()?);
            let length = reader.count(8)?;
            let chain = reader.column(length, BlockHash)?;
            if let Some((_, slot)) = places.iter().find(|(before, _)| *before == slot) {
                self.unconfirmed_bytes += chain.capacity() * size_of::<BlockHash>();
                unconfirmed.push_back(Unconfirmed { due, slot: *slot, joined, stamp, chain });
            }
        }
        Ok(unconfirmed)
    }
}

pub(super) const fn eviction_order(number: u8) -> Option<EvictionOrder> {
    match number {
        0 => Some(EvictionOrder::TailFirst),
        1 => Some(EvictionOrder::HeadFirst),
        _ => None,
    }
}

/// The fewest bytes that an endpoint takes.
const MEMBER_BYTES: usize = 4 + 8 + 4 + 1;
/// The fewest bytes that an unconfirmed prompt takes.
const UNCONFIRMED_BYTES: usize = 8 + 4 + 8 + 8 + 8;
