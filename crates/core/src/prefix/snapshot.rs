//! The index as bytes, for a gateway that restarts with its knowledge of caches.
//!
//! A snapshot contains the runs' columns and tables, and each endpoint's spans, eviction order and
//! names. Parts and sums are derived while reading. A snapshot is read into a new index that
//! replaces the old one at the end, so an error changes nothing.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::codec::{Kind, Reader, SnapshotError, Writer};
use super::hash::BlockHash;
use super::holding::Holding;
use super::index::{Member, PrefixIndex};
use super::limits::{CacheSpec, IndexLimits};
use super::runs::Runs;
use super::unconfirmed::Unconfirmed;
use super::warm::WarmWindow;
use crate::time::Instant;

impl PrefixIndex {
    /// The contents of the index as bytes. Times are relative to `now`. Equal indexes yield equal
    /// bytes on every platform. Computes in **O(size of the index)**, near the speed of a copy.
    pub fn snapshot(&self, now: Instant) -> Vec<u8> {
        let mut writer = Writer::new();
        self.save(&mut writer, now);
        writer.seal(Kind::Index, self.hash_state)
    }

    /// Restores an index from a snapshot. Computes in **O(size of the index)**.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise::prefix::{
    ///     BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, SnapshotError,
    ///     Tier,
    /// };
    ///
    /// let (seed, limits, now) = (7, IndexLimits::default(), Instant::ORIGIN);
    /// let mut index = PrefixIndex::new(seed, limits.clone());
    /// index.join(0, CacheSpec { capacity: 1_000, ..CacheSpec::default() }).expect("a free slot");
    /// let chain = [1, 2, 3].map(BlockHash);
    /// let names = [11, 12, 13].map(EngineHash);
    /// let used = BlockUse { stamp: 1, block_tokens: 16, now, computed: true };
    /// index.store(0, None, &names, &chain, Tier::Gpu, used).expect("room");
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
    /// Not a snapshot, another version, another seed, damaged, or too large for `limits`.
    pub fn restore(
        seed: u64,
        limits: IndexLimits,
        now: Instant,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let mut index = Self::new(seed, limits);
        let mut reader = Reader::open(snapshot, Kind::Index, index.hash_state)?;
        index.load(&mut reader, now, Some)?;
        reader.end()?;
        Ok(index)
    }

    /// Writes everything.
    pub(crate) fn save(&self, writer: &mut Writer, now: Instant) {
        self.runs.save(writer);
        writer.u64(self.joined);
        let members =
            || (0_u32..).zip(&self.endpoints).filter_map(|(slot, m)| Some((slot, m.as_deref()?)));
        writer.count(members().count());
        for (slot, Member { holding, cache, joined, .. }) in members() {
            writer.u32(slot);
            writer.u64(*joined);
            writer.u32(cache.capacity);
            writer.u8(cache.order as u8);
            holding.save(writer, now);
        }
        let is_there =
            |late: &&Unconfirmed| self.member(late.slot).is_some_and(|m| m.joined == late.joined);
        let unconfirmed = || self.unconfirmed.iter().filter(is_there);
        writer.count(unconfirmed().count());
        for Unconfirmed { due, slot, joined, stamp, chain } in unconfirmed() {
            let left = u64::try_from(due.saturating_since(now).as_micros()).unwrap_or(u64::MAX);
            writer.u64(left);
            writer.u32(*slot);
            writer.u64(*joined);
            writer.u64(*stamp);
            writer.count(chain.len());
            writer.column(chain, |hash| [hash.0]);
        }
    }

    /// Reads into an index without endpoints. `place` maps each endpoint's slot to a new one, or
    /// drops it.
    pub(crate) fn load(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        mut place: impl FnMut(u32) -> Option<u32>,
    ) -> Result<(), SnapshotError> {
        self.runs = Runs::load(reader, self.hash_state)?;
        self.joined = reader.u64()?;
        let mut places = BTreeMap::new();
        for _ in 0..reader.count(MEMBER_BYTES)? {
            let (slot, joined, capacity) = (reader.u32()?, reader.u64()?, reader.u32()?);
            let order = reader.eviction_order()?;
            let warm = WarmWindow::new(self.limits.warm_window);
            let holding = Holding::load(reader, self.hash_state, warm, now, &self.runs)?;
            let Some(place) = place(slot) else { continue };
            reader.require((place as usize) < self.limits.slots && self.member(place).is_none())?;
            self.runs.settle_all(place, holding.runs());
            self.enter(place, holding, CacheSpec { capacity, order }, joined);
            places.insert(slot, place);
        }
        self.unconfirmed = self.load_unconfirmed(reader, now, &places)?;
        self.runs.trim_all();
        if self.allocated() > self.limits.bytes { Err(SnapshotError::TooLarge) } else { Ok(()) }
    }

    fn load_unconfirmed(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        places: &BTreeMap<u32, u32>,
    ) -> Result<VecDeque<Unconfirmed>, SnapshotError> {
        let mut unconfirmed = VecDeque::new();
        for _ in 0..reader.count(UNCONFIRMED_BYTES)? {
            let due = now + Duration::from_micros(reader.u64()?);
            let (slot, joined, stamp) = (reader.u32()?, reader.u64()?, reader.u64()?);
            let length = reader.count(8)?;
            let chain = reader.column(length, |[hash]| BlockHash(hash))?;
            if let Some(slot) = places.get(&slot) {
                self.unconfirmed_bytes += chain.capacity() * size_of::<BlockHash>();
                unconfirmed.push_back(Unconfirmed { due, slot: *slot, joined, stamp, chain });
            }
        }
        Ok(unconfirmed)
    }
}

/// The least bytes of an endpoint.
const MEMBER_BYTES: usize = 4 + 8 + 4 + 1;
/// The least bytes of an unconfirmed prompt.
const UNCONFIRMED_BYTES: usize = 8 + 4 + 8 + 8 + 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::{EngineHash, Tier};
    use super::super::limits::BlockUse;
    use super::*;

    const SEED: u64 = 7;
    const ENDPOINTS: u32 = 4;

    fn used(stamp: u64) -> BlockUse {
        BlockUse { stamp, block_tokens: 16, now: Instant::from_micros(stamp), computed: true }
    }

    fn chain(number: u64, length: u64) -> Vec<BlockHash> {
        // Half of each chain is the same.
        let hash =
            |at: u64| BlockHash(((if at < length / 2 { 0 } else { number + 1 }) << 32) + at + 1);
        (0..length).map(hash).collect()
    }

    fn names(chain: &[BlockHash], dialect: u64) -> Vec<EngineHash> {
        chain.iter().map(|hash| EngineHash(hash.0 ^ dialect << 60)).collect()
    }

    /// Estimated and stored, shared and private, whole and with holes, with shared names and own
    /// ones.
    fn index() -> PrefixIndex {
        let mut index = PrefixIndex::new(SEED, IndexLimits::default());
        for slot in 0..ENDPOINTS {
            index.join(slot, CacheSpec { capacity: 400, ..CacheSpec::default() }).expect("few");
        }
        act(&mut index, 1);
        index.remove(0, &names(&chain(0, 12), 0)[4..6], Tier::Gpu);
        index.expect_confirmation(2, chain(3, 8), 3, Instant::ORIGIN);
        assert!(index.hash_mismatch(1) && !index.hash_mismatch(0));
        index
    }

    /// Every operation of an index.
    fn act(index: &mut PrefixIndex, stamp: u64) {
        for number in 0..6 {
            let chain = chain(number, 12);
            for slot in 0..2 {
                let names = names(&chain, u64::from(slot));
                let _ = index.store(
                    slot,
                    None,
                    &names,
                    &chain,
                    Tier::ALL[number as usize % 3],
                    used(stamp),
                );
                index.remove(slot, &names[10..], Tier::Cpu);
            }
            index.record_use(2, &chain, used(stamp + number));
            index.record_use(3, &chain[..7], used(stamp + number));
            index.levels(&chain, |_, endpoints| assert!(!endpoints.is_empty()));
        }
    }

    #[test]
    fn a_restored_index_answers_as_the_first_did() {
        let index = index();
        let now = Instant::from_micros(9);
        let restored =
            PrefixIndex::restore(SEED, IndexLimits::default(), now, &index.snapshot(now));
        let restored = restored.expect("whole");
        assert_eq!((restored.check(), restored.len()), (Ok(()), index.len()));
        for slot in 0..ENDPOINTS {
            let about = |index: &PrefixIndex| {
                (index.tokens(slot), index.warm_tokens(slot, now), index.hash_mismatch(slot))
            };
            assert_eq!(about(&index), about(&restored));
            for number in 0..6 {
                let chain = chain(number, 12);
                let depth = index.depth(slot, &chain);
                assert_eq!(restored.depth(slot, &chain), depth);
                assert_eq!(restored.tiers(slot, &chain, depth), index.tiers(slot, &chain, depth));
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_refused() {
        let limits = IndexLimits { bytes: 2_000, ..IndexLimits::default() };
        let snapshot = index().snapshot(Instant::ORIGIN);
        let refused = PrefixIndex::restore(SEED, limits, Instant::ORIGIN, &snapshot);
        assert_eq!(refused.err(), Some(SnapshotError::TooLarge));
    }

    proptest! {
        /// Invalid contents under a valid checksum are rejected, or restore a consistent index of
        /// them.
        #[test]
        fn nonsense_with_a_good_checksum_does_no_harm(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
            let mut body = index().snapshot(Instant::ORIGIN);
            let header = body.len() - Reader::body(&body).len();
            for (at, byte) in changes {
                let at = header + at % (body.len() - header);
                body[at] = byte;
            }
            let sealed = Writer::sealed_again(body, Kind::Index, index().hash_state);
            if let Ok(mut index) = PrefixIndex::restore(SEED, IndexLimits::default(), Instant::ORIGIN, &sealed) {
                act(&mut index, 100);
                (0..ENDPOINTS).for_each(|slot| index.forget_unused_since(slot, 50));
                index.expire(Instant::from_micros(u64::MAX));
                (0..ENDPOINTS).for_each(|slot| index.leave(slot));
            }
        }
    }
}
