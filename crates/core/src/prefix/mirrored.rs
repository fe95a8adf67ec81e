//! The prefix index in two copies: lookups never wait for a writer.

use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::index::PrefixIndex;
use super::limits::{BlockUse, CacheSpec, IndexFull, IndexLimits, StoreError};
use super::mirror::Mirror;

/// A [`PrefixIndex`] that threads share, for lookups that must not wait.
///
/// Its methods are those of [`SharedPrefixIndex`](super::SharedPrefixIndex). The index exists
/// twice: a writer changes one copy, readers move to it, and the writer repeats the change on the
/// other copy. A lookup waits for no writer, and sees whole events, in their order. A change is
/// visible once its method returns.
///
/// Each change takes twice the time, and waits for the lookups that began before it. Each copy
/// has the limits, so both together take up to twice [`IndexLimits::bytes`]. Results equal those of
/// a [`PrefixIndex`] with the same changes in the same order; the threads determine the order.
///
/// ```
/// use slotwise::Instant;
/// use slotwise::prefix::{
///     BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, MirroredPrefixIndex, Tier,
/// };
///
/// let index = MirroredPrefixIndex::new(0, IndexLimits::default());
/// index.join(0, CacheSpec::default()).expect("one is few");
/// let chain: Vec<_> = (0..2_048).map(BlockHash).collect();
/// let names: Vec<_> = (0..2_048).map(|name| EngineHash(name + 7)).collect();
/// let used = BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
///
/// std::thread::scope(|threads| {
///     threads.spawn(|| index.store(0, None, &names, &chain, Tier::Gpu, used));
///     let depth = index.read(|index| index.depth(0, &chain));
///     assert!([0, 2_048].contains(&depth), "an event is visible as a whole");
/// });
/// assert_eq!(index.read(|index| index.len()), 2_048);
/// ```
#[derive(Debug)]
pub struct MirroredPrefixIndex {
    mirror: Mirror<PrefixIndex>,
}

impl MirroredPrefixIndex {
    /// An empty index. The seed keys its tables against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        let copies = [limits.clone(), limits].map(|limits| PrefixIndex::new(seed, limits));
        Self { mirror: Mirror::new(copies) }
    }

    /// Converts into an index for one thread.
    pub fn into_inner(self) -> PrefixIndex {
        self.mirror.into_inner()
    }

    /// Reads the index, beside other readers and a writer. `look` should be short, because the next
    /// change waits for it. It must not change this index: it would wait for itself.
    ///
    /// ```
    /// use slotwise::prefix::{BlockHash, IndexLimits, MirroredPrefixIndex};
    ///
    /// let index = MirroredPrefixIndex::new(0, IndexLimits::default());
    /// let mut deepest = 0;
    /// index.read(|index| index.levels(&[BlockHash(1)], |depth, _| deepest = depth));
    /// assert_eq!(deepest, 0);
    /// ```
    #[inline]
    pub fn read<T>(&self, look: impl FnOnce(&PrefixIndex) -> T) -> T {
        self.mirror.read(look)
    }

    /// As [`PrefixIndex::join`].
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if `slot` is not below [`IndexLimits::slots`].
    pub fn join(&self, slot: u32, cache: CacheSpec) -> Result<(), IndexFull> {
        self.mirror.write(|index| index.join(slot, cache))
    }

    /// As [`PrefixIndex::leave`].
    pub fn leave(&self, slot: u32) {
        self.mirror.write(|index| index.leave(slot));
    }

    /// As [`PrefixIndex::clear`].
    pub fn clear(&self, slot: u32) {
        self.mirror.write(|index| index.clear(slot));
    }

    /// As [`PrefixIndex::store`].
    ///
    /// # Errors
    ///
    /// As [`PrefixIndex::store`].
    pub fn store(
        &self,
        slot: u32,
        parent: Option<EngineHash>,
        names: &[EngineHash],
        chain: &[BlockHash],
        tier: Tier,
        used: BlockUse,
    ) -> Result<(), StoreError> {
        self.mirror.write(|index| index.store(slot, parent, names, chain, tier, used))
    }

    /// As [`PrefixIndex::remove`].
    pub fn remove(&self, slot: u32, names: &[EngineHash], tier: Tier) {
        self.mirror.write(|index| index.remove(slot, names, tier));
    }
}

/// Estimates from requests, for this repository only and outside semantic versioning.
#[cfg(feature = "internals")]
impl MirroredPrefixIndex {
    /// As `PrefixIndex::resize`.
    pub fn resize(&self, slot: u32, cache: CacheSpec) {
        self.mirror.write(|index| index.resize(slot, cache));
    }

    /// As `PrefixIndex::record_use`.
    pub fn record_use(&self, slot: u32, chain: &[BlockHash], used: BlockUse) {
        self.mirror.write(|index| index.record_use(slot, chain, used));
    }

    /// As `PrefixIndex::forget_use`.
    pub fn forget_use(&self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.mirror.write(|index| index.forget_use(slot, chain, stamp));
    }
}
