//! The prefix index between threads: readers look up prompts while writers apply events.
//!
//! Long changes are divided into *steps*, each between two states that an engine could have been
//! in. An event stores 32 blocks a step; an endpoint that leaves holds less and less.
//! [`SteppedLock`] admits readers between steps, and no other writer. Plans are made beside
//! readers, and memory is released outside the lock.

use alloc::vec::Vec;

use super::address::RunId;
use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::index::PrefixIndex;
use super::limits::{BlockUse, CacheSpec, IndexFull, IndexLimits, StoreError};
use super::stepped_lock::{SteppedLock, WriteSession};
#[cfg(feature = "internals")]
use crate::time::Instant;

/// A [`PrefixIndex`] that threads share: many look up prompts while others apply events.
///
/// Its methods are those of [`PrefixIndex`] with `&self`, and [`read`](Self::read) for lookups. A
/// reader waits for at most one *step*, 32 blocks or a few microseconds, never for a whole event.
/// It sees a state between two steps: blocks of an event appear and disappear in order, events do
/// not overlap, and a change is visible once its method returns. Events of one endpoint are
/// ordered, so one thread should apply them.
///
/// While memory suffices, its results equal those of a [`PrefixIndex`] with the same changes in the
/// same order; the threads determine the order.
///
/// ```
/// use slotwise::Instant;
/// use slotwise::prefix::{
///     BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, SharedPrefixIndex, Tier,
/// };
///
/// let index = SharedPrefixIndex::new(0, IndexLimits::default());
/// index.join(0, CacheSpec::default()).expect("one is few");
/// let chain: Vec<_> = (0..2_048).map(BlockHash).collect();
/// let names: Vec<_> = (0..2_048).map(|name| EngineHash(name + 7)).collect();
/// let used = BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
///
/// std::thread::scope(|threads| {
///     threads.spawn(|| index.store(0, None, &names, &chain, Tier::Gpu, used));
///     let mut seen = 0;
///     while seen < 2_048 {
///         let depth = index.read(|index| index.depth(0, &chain));
///         assert!(seen <= depth, "it only grows");
///         seen = depth;
///     }
/// });
/// assert_eq!(index.read(|index| index.len()), 2_048);
/// ```
#[derive(Debug)]
pub struct SharedPrefixIndex {
    lock: SteppedLock<PrefixIndex>,
}

impl SharedPrefixIndex {
    /// An empty index. The seed keys its table against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        PrefixIndex::new(seed, limits).into()
    }

    /// Converts into an index for one thread.
    pub fn into_inner(self) -> PrefixIndex {
        self.lock.into_inner()
    }

    /// Reads the index, beside other readers. `look` should be short, because writers and later
    /// readers wait for it. It must not call this index: it could deadlock.
    ///
    /// ```
    /// use slotwise::prefix::{BlockHash, IndexLimits, SharedPrefixIndex};
    ///
    /// let index = SharedPrefixIndex::new(0, IndexLimits::default());
    /// let mut deepest = 0;
    /// index.read(|index| index.levels(&[BlockHash(1)], |depth, _| deepest = depth));
    /// assert_eq!(deepest, 0);
    /// ```
    pub fn read<T>(&self, look: impl FnOnce(&PrefixIndex) -> T) -> T {
        self.lock.read(look)
    }

    /// As [`PrefixIndex::join`].
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if `slot` is not below [`IndexLimits::slots`].
    pub fn join(&self, slot: u32, cache: CacheSpec) -> Result<(), IndexFull> {
        let mut event = self.lock.begin_write();
        event.empty(slot);
        let joined = event.step(|index| {
            let before = index.dismiss(slot);
            index.join(slot, cache).map(|()| before)
        });
        joined.map(drop)
    }

    /// As [`PrefixIndex::leave`], in steps: the endpoint holds less and less.
    pub fn leave(&self, slot: u32) {
        let mut event = self.lock.begin_write();
        event.empty(slot);
        drop(event.step(|index| index.dismiss(slot)));
    }

    /// As [`PrefixIndex::clear`], in steps: the endpoint holds less and less.
    pub fn clear(&self, slot: u32) {
        self.lock.begin_write().clear(slot);
    }

    /// As [`PrefixIndex::store`], in steps.
    ///
    /// # Errors
    ///
    /// Nothing changes if the parent is unknown. If memory is insufficient, the blocks of earlier
    /// steps remain, because the engine has them. An engine's first store ends its estimates even
    /// if it fails.
    pub fn store(
        &self,
        slot: u32,
        parent: Option<EngineHash>,
        names: &[EngineHash],
        chain: &[BlockHash],
        tier: Tier,
        used: BlockUse,
    ) -> Result<(), StoreError> {
        let mut event = self.lock.begin_write();
        // An engine without events so far has no names, and hence no parents.
        if parent.is_none() {
            event.become_precise(slot);
        }
        let length = names.len().min(chain.len());
        let (mut parent, mut from) = (parent, 0);
        loop {
            let to = length.min(from + PIECE);
            let (names, chain) = (&names[from..to], &chain[from..to]);
            event.give_way(|index| {
                let before = index.address_behind(slot, parent);
                before.is_ok_and(|before| index.lacks_room(slot, before, chain, names))
            });
            event.step(|index| index.store(slot, parent, names, chain, tier, used))?;
            if to == length {
                return Ok(());
            }
            (parent, from) = (names.last().copied(), to);
        }
    }

    /// As [`PrefixIndex::remove`], in steps.
    pub fn remove(&self, slot: u32, names: &[EngineHash], tier: Tier) {
        let mut event = self.lock.begin_write();
        for names in names.chunks(PIECE) {
            event.step(|index| index.remove(slot, names, tier));
        }
    }
}

/// Estimates from requests, for this repository only and outside semantic versioning.
#[cfg(feature = "internals")]
impl SharedPrefixIndex {
    /// As `PrefixIndex::resize`, in steps: the estimate may exceed the capacity for a moment.
    pub fn resize(&self, slot: u32, cache: CacheSpec) {
        let mut event = self.lock.begin_write();
        event.step(|index| index.take_to_have(slot, cache));
        while event.step(|index| index.fit_some(slot, PIECE as u32)) {}
    }

    /// As `PrefixIndex::restart`, in steps.
    pub fn restart(&self, slot: u32, cache: CacheSpec) {
        let mut event = self.lock.begin_write();
        let precise =
            event.read(|index| index.member(slot).map(|member| member.holding.is_precise()));
        if let Some(precise) = precise {
            event.begin(slot, cache, precise);
        }
    }

    /// As `PrefixIndex::record_use`, in one step: a thousand new blocks take about 10 us.
    pub fn record_use(&self, slot: u32, chain: &[BlockHash], used: BlockUse) {
        let mut event = self.lock.begin_write();
        event.give_way(|index| index.lacks_room(slot, None, chain, &[]));
        event.step(|index| index.record_use(slot, chain, used));
    }

    /// As `PrefixIndex::forget_use`.
    pub fn forget_use(&self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.lock.begin_write().step(|index| index.forget_use(slot, chain, stamp));
    }

    /// As `PrefixIndex::forget_unused_since`, in steps.
    pub fn forget_unused_since(&self, slot: u32, stamp: u64) {
        let mut event = self.lock.begin_write();
        while event.step(|index| index.forget_some_unused_since(slot, stamp, PIECE as u32)) {}
    }

    /// As `PrefixIndex::expect_confirmation`.
    pub fn expect_confirmation(&self, slot: u32, chain: Vec<BlockHash>, stamp: u64, now: Instant) {
        self.lock.begin_write().step(|index| index.expect_confirmation(slot, chain, stamp, now));
    }

    /// As `PrefixIndex::expire`, one prompt a step.
    pub fn expire(&self, now: Instant) {
        let mut event = self.lock.begin_write();
        while event.step(|index| index.expire_first(now)) {}
    }
}

impl From<PrefixIndex> for SharedPrefixIndex {
    fn from(index: PrefixIndex) -> Self {
        Self { lock: SteppedLock::new(index) }
    }
}

impl WriteSession<'_, PrefixIndex> {
    fn become_precise(&mut self, slot: u32) {
        let estimated = |index: &PrefixIndex| {
            index
                .member(slot)
                .filter(|member| !member.holding.is_precise())
                .map(|member| member.cache)
        };
        if let Some(cache) = self.read(estimated) {
            self.begin(slot, cache, true);
        }
    }

    fn clear(&mut self, slot: u32) {
        let as_it_is = |index: &PrefixIndex| {
            index.member(slot).map(|member| (member.cache, member.holding.is_precise()))
        };
        if let Some((cache, precise)) = self.read(as_it_is) {
            self.begin(slot, cache, precise);
        }
    }

    fn begin(&mut self, slot: u32, cache: CacheSpec, precise: bool) {
        self.empty(slot);
        drop(self.step(|index| index.begin(slot, cache, precise)));
    }

    /// Frees memory in steps, as [`PrefixIndex::store`] does.
    fn give_way(&mut self, lacks_room: impl Fn(&PrefixIndex) -> bool) {
        while self.read(&lacks_room) {
            let Some((slot, mut left)) = self.read(PrefixIndex::giver) else { return };
            while left > 0 {
                match self.step(|index| index.give_up(slot, left.min(PIECE as u32), false)) {
                    0 => return,
                    given_up => left -= given_up,
                }
            }
        }
    }

    /// Removes all blocks of the endpoint, run by run.
    fn empty(&mut self, slot: u32) {
        let held = |index: &PrefixIndex| {
            index
                .member(slot)
                .map_or_else(Vec::new, |member| member.holding.runs().map(|(run, _)| run).collect())
        };
        let mut runs = self.read(held);
        while !runs.is_empty() {
            self.step(|index| lose(index, slot, &mut runs));
        }
    }
}

/// Removes the last blocks of the last of these runs, up to one step.
fn lose(index: &mut PrefixIndex, slot: u32, runs: &mut Vec<RunId>) {
    let mut left = PIECE;
    while let Some(run) = runs.last().copied().filter(|_| left > 0) {
        let before = index.len();
        index.alter(slot, |holding| holding.lose(run, left as u32));
        left = left.saturating_sub(before - index.len() + RUN);
        if index.member(slot).is_none_or(|member| !member.holding.holds(run)) {
            runs.pop();
        }
        // A removal can split a part, which takes more memory.
        index.keep_within_limit(slot);
    }
}

/// Blocks that are stored or removed in one step: a few microseconds.
const PIECE: usize = if cfg!(loom) { 1 } else { 32 };
/// The cost of a run's removal, in blocks.
const RUN: usize = 8;

/// All orders in which three threads can take the locks: `make test-slow`.
#[cfg(all(test, loom))]
mod tests {
    use alloc::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::time::Instant;

    const CHAIN: [BlockHash; 3] = [BlockHash(1), BlockHash(2), BlockHash(3)];
    const NAMES: [EngineHash; 3] = [EngineHash(7), EngineHash(8), EngineHash(9)];

    /// Two endpoints that publish events and hold the first blocks.
    fn index(blocks: [usize; 2]) -> Arc<SharedPrefixIndex> {
        let mut index = PrefixIndex::new(0, IndexLimits::default());
        for (slot, blocks) in (0..).zip(blocks) {
            index.join(slot, CacheSpec::default()).expect("two are few");
            index.clear(slot);
            let stored = index.store(slot, None, &NAMES[..blocks], &CHAIN, Tier::Gpu, USED);
            assert_eq!(stored, Ok(()));
        }
        Arc::new(index.into())
    }

    /// Both depths at one moment; two readings are equal.
    fn depths(index: &SharedPrefixIndex) -> [u32; 2] {
        index.read(|index| {
            let depths = [0, 1].map(|slot| index.depth(slot, &CHAIN));
            let mut deepest = [0; 2];
            index.levels(&CHAIN, |depth, slots| {
                slots
                    .iter()
                    .for_each(|slot| deepest[slot as usize] = depth.max(deepest[slot as usize]));
            });
            assert_eq!(deepest, depths);
            assert_eq!(index.check(), Ok(()));
            depths
        })
    }

    fn store(index: &SharedPrefixIndex, slot: u32, blocks: usize) {
        assert_eq!(index.store(slot, None, &NAMES[..blocks], &CHAIN, Tier::Gpu, USED), Ok(()));
    }

    /// Tries all orders of two writers and of a reader that reads twice; returns what it read.
    fn explore(
        blocks: [usize; 2],
        write: [fn(&SharedPrefixIndex); 2],
        explain: fn([u32; 2], [u32; 2]),
        end: [u32; 2],
    ) {
        loom::model(move || {
            let index = index(blocks);
            let writers = write.map(|write| {
                let index = Arc::clone(&index);
                thread::spawn(move || write(&index))
            });
            let (first, second) = (depths(&index), depths(&index));
            explain(first, second);
            writers.into_iter().for_each(|writer| writer.join().expect("writers do not panic"));
            assert_eq!(depths(&index), end);
        });
    }

    #[test]
    fn events_grow_block_by_block_and_one_after_the_other() {
        let explain = |first: [u32; 2], second: [u32; 2]| {
            for [this, that] in [first, second] {
                assert!([0, 3].contains(&this) || [0, 2].contains(&that), "both are under way");
            }
            assert!(first[0] <= second[0] && first[1] <= second[1], "nothing is taken back");
        };
        explore([0, 0], [|index| store(index, 0, 3), |index| store(index, 1, 2)], explain, [3, 2]);
    }

    #[test]
    fn a_removal_shrinks_from_the_end_beside_a_store_elsewhere() {
        let remove = |index: &SharedPrefixIndex| index.remove(0, &[NAMES[2], NAMES[1]], Tier::Gpu);
        let explain = |first: [u32; 2], second: [u32; 2]| {
            assert!(1 <= second[0] && second[0] <= first[0] && first[1] <= second[1]);
        };
        explore([3, 0], [remove, |index| store(index, 1, 3)], explain, [1, 3]);
    }

    #[test]
    fn a_clear_shrinks_beside_a_removal_elsewhere() {
        let remove = |index: &SharedPrefixIndex| index.remove(1, &[NAMES[2]], Tier::Gpu);
        let explain = |first: [u32; 2], second: [u32; 2]| {
            assert!(second[0] <= first[0] && second[1] <= first[1] && 2 <= second[1]);
        };
        explore([3, 3], [|index| index.clear(0), remove], explain, [0, 2]);
    }

    #[test]
    fn what_an_engine_says_after_a_clear_comes_after_it() {
        let again = |index: &SharedPrefixIndex| {
            index.clear(0);
            store(index, 0, 2);
        };
        let explain = |first: [u32; 2], second: [u32; 2]| {
            assert!(first[0] != 0 || second[0] <= 2, "what was cleared does not come back");
        };
        explore([3, 0], [again, |index| index.leave(1)], explain, [2, 0]);
    }

    const USED: BlockUse =
        BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
}
