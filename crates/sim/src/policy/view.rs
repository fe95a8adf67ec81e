//! What a gateway believes that the replicas' caches hold. All baselines that look at prefixes use this one, so that
//! they differ in how they choose and in nothing else.

use ::slotwise::prefix::{Cache, EngineHash, IndexLimits, PrefixIndex, Use};
use ::slotwise::{BlockHash, EvictionOrder, Instant};
use std::time::Duration;

use super::{Fleet, Incoming};
use crate::replica::KvChange;

/// The believed contents of every replica's cache.
#[derive(Debug)]
pub(super) struct CacheView {
    index: PrefixIndex,
    replicas: usize,
    block_tokens: u32,
    stamp: u64,
}

impl CacheView {
    /// Caches of `capacity` tokens that evict in this order; blocks used within `window` are warm.
    pub(super) fn new(fleet: &Fleet, capacity: u64, order: EvictionOrder, window: Duration) -> Self {
        let mut limits = IndexLimits::default();
        limits.warm_window = window;
        limits.blocks = usize::MAX;
        let mut index = PrefixIndex::new(0, limits);
        for slot in 0..fleet.replicas as u32 {
            index.join(slot, Cache { capacity: u32::try_from(capacity).unwrap_or(u32::MAX), order });
        }
        Self { index, replicas: fleet.replicas, block_tokens: fleet.block_tokens, stamp: 0 }
    }

    /// Caches as the engines have them: as large as they are, and tails first.
    pub(super) fn exact(fleet: &Fleet) -> Self {
        Self::new(fleet, u64::from(fleet.class.kv_tokens), EvictionOrder::TailFirst, Duration::from_secs(180))
    }

    /// Prompt tokens that each replica has cached: whole blocks from the first on, and never the last token.
    pub(super) fn hits(&self, request: &Incoming<'_>) -> Vec<u32> {
        let mut hits = vec![0; self.replicas];
        let most = (request.input - 1) / self.block_tokens;
        self.index.levels(request.blocks, |depth, replicas| {
            for replica in replicas.iter() {
                hits[replica as usize] = depth.min(most) * self.block_tokens;
            }
        });
        hits
    }

    /// Which replicas have a block.
    pub(super) fn holders(&self, block: BlockHash, mut each: impl FnMut(usize)) {
        self.index.levels(&[block], |_, replicas| replicas.iter().for_each(|replica| each(replica as usize)));
    }

    /// The request goes to this replica, which will have its blocks.
    pub(super) fn assume(&mut self, now: Instant, replica: usize, request: &Incoming<'_>) {
        self.stamp += 1;
        let used = Use { stamp: self.stamp, block_tokens: self.block_tokens, now };
        self.index.assume(replica as u32, request.blocks, used);
    }

    /// The replica's engine said what changed.
    pub(super) fn apply(&mut self, now: Instant, replica: usize, change: &KvChange) {
        let slot = replica as u32;
        let names = |blocks: &[BlockHash]| blocks.iter().map(|hash| EngineHash(hash.0)).collect::<Vec<_>>();
        match change {
            KvChange::Stored { blocks, .. } => {
                let used = Use { stamp: self.stamp, block_tokens: self.block_tokens, now };
                self.index.store(slot, &names(blocks), blocks, used).expect("no limit");
            }
            KvChange::Removed(blocks) => self.index.remove(slot, &names(blocks)),
        }
    }

    /// When the block was last sent to this replica.
    pub(super) fn last_use(&self, replica: usize, block: BlockHash) -> u64 {
        self.index.last_use(replica as u32, block).unwrap_or(0)
    }

    /// Tokens that the replica's cache is believed to hold.
    pub(super) fn tokens(&self, replica: usize) -> u64 {
        self.index.tokens(replica as u32).0
    }

    /// Of these, tokens used within the window.
    pub(super) fn warm_tokens(&self, replica: usize, now: Instant) -> u64 {
        self.index.warm_tokens(replica as u32, now)
    }
}
