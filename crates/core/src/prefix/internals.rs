//! Methods of the index for this repository's simulator, benches, fuzz targets and tests.
//!
//! Available with the feature `internals` only, and **outside semantic versioning**: any release
//! may change or remove them. A host needs none: [`Scheduler`](crate::Scheduler) calls these
//! methods itself, and an index fed by KV events has its whole surface on [`PrefixIndex`].

use alloc::vec::Vec;
use core::ops::Range;

use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::index::PrefixIndex;
use super::limits::{BlockUse, CacheSpec};
use super::set::EndpointSet;
use crate::time::Instant;

/// The methods of [`PrefixIndex`] that are not part of its stable surface.
///
/// ```
/// use slotwise::Instant;
/// use slotwise::prefix::internals::IndexInternals as _;
/// use slotwise::prefix::{BlockHash, BlockUse, CacheSpec, IndexLimits, PrefixIndex};
///
/// let mut index = PrefixIndex::new(0, IndexLimits::default());
/// index.join(0, CacheSpec { capacity: 1_000, ..CacheSpec::default() }).expect("a free slot");
/// let chain = [1, 2, 3].map(BlockHash);
/// let used = BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
/// index.record_use(0, &chain, used);
/// assert_eq!(index.depth(0, &chain), 3);
/// ```
pub trait IndexInternals {
    /// Changes the description of an endpoint's cache, and evicts estimated blocks above its
    /// capacity.
    fn resize(&mut self, slot: u32, cache: CacheSpec);

    /// Replaces an endpoint's cache by an empty one; the endpoint keeps its mode.
    fn restart(&mut self, slot: u32, cache: CacheSpec);

    /// Records that a request used `chain`: the endpoint is estimated to hold its blocks.
    fn record_use(&mut self, slot: u32, chain: &[BlockHash], used: BlockUse);

    /// Reverts the use `stamp`: removes blocks that were never computed and not used since.
    fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64);

    /// Removes all estimated blocks that were last used at `stamp` or before.
    fn forget_unused_since(&mut self, slot: u32, stamp: u64);

    /// Starts the time within which KV events must confirm the blocks of the use `stamp`.
    fn expect_confirmation(&mut self, slot: u32, chain: Vec<BlockHash>, stamp: u64, now: Instant);

    /// Removes blocks whose confirmation is overdue at `now`.
    fn expire(&mut self, now: Instant);

    /// Visits the holders of each range of `chain`, including ranges behind a hole.
    fn holders(&self, chain: &[BlockHash], visit: impl FnMut(Range<usize>, &EndpointSet));

    /// Blocks of each tier among the first `depth` blocks of `chain`, nearest tier first.
    fn tiers(&self, slot: u32, chain: &[BlockHash], depth: u32) -> [u32; Tier::ALL.len()];

    /// The block to which the endpoint's engine gives the hash `name`, or gave it until lately.
    fn named(&self, slot: u32, name: EngineHash) -> Option<BlockHash>;

    /// The stamp of the last use of block `at` of `chain`, if the block is known to be computed.
    fn last_use(&self, slot: u32, chain: &[BlockHash], at: usize) -> Option<u64>;

    /// The numbers of runs, of blocks in them, and of shared engine hashes.
    fn census(&self) -> (usize, usize, usize);

    /// Checks all invariants, in **O(size of the index)**.
    ///
    /// # Errors
    ///
    /// The invariant that is broken.
    fn check(&self) -> Result<(), &'static str>;
}

impl IndexInternals for PrefixIndex {
    fn resize(&mut self, slot: u32, cache: CacheSpec) {
        Self::resize(self, slot, cache);
    }

    fn restart(&mut self, slot: u32, cache: CacheSpec) {
        Self::restart(self, slot, cache);
    }

    fn record_use(&mut self, slot: u32, chain: &[BlockHash], used: BlockUse) {
        Self::record_use(self, slot, chain, used);
    }

    fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64) {
        Self::forget_use(self, slot, chain, stamp);
    }

    fn forget_unused_since(&mut self, slot: u32, stamp: u64) {
        Self::forget_unused_since(self, slot, stamp);
    }

    fn expect_confirmation(&mut self, slot: u32, chain: Vec<BlockHash>, stamp: u64, now: Instant) {
        Self::expect_confirmation(self, slot, chain, stamp, now);
    }

    fn expire(&mut self, now: Instant) {
        Self::expire(self, now);
    }

    fn holders(&self, chain: &[BlockHash], visit: impl FnMut(Range<usize>, &EndpointSet)) {
        Self::holders(self, chain, visit);
    }

    fn tiers(&self, slot: u32, chain: &[BlockHash], depth: u32) -> [u32; Tier::ALL.len()] {
        Self::tiers(self, slot, chain, depth)
    }

    fn named(&self, slot: u32, name: EngineHash) -> Option<BlockHash> {
        Self::named(self, slot, name)
    }

    fn last_use(&self, slot: u32, chain: &[BlockHash], at: usize) -> Option<u64> {
        let crate::prefix::LastUses { first, last } = self.last_uses(slot, chain, at)?;
        if at == 0 { first } else { last }
    }

    fn census(&self) -> (usize, usize, usize) {
        Self::census(self)
    }

    fn check(&self) -> Result<(), &'static str> {
        Self::check(self)
    }
}
