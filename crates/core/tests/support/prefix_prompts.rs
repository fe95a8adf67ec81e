//! Prefix indexes and random prompts, for the tests of the index's memory.

use slotwise::prefix::{BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex};
use slotwise::{Instant, Rng};

const BLOCK_TOKENS: u32 = 16;

/// A use at this stamp.
pub(crate) fn used(stamp: u64) -> BlockUse {
    BlockUse {
        stamp,
        block_tokens: BLOCK_TOKENS,
        now: Instant::from_micros(stamp * 1_000),
        computed: true,
    }
}

/// An index of so many endpoints, each with this capacity.
pub(crate) fn index(endpoints: u32, bytes: usize, capacity: u32) -> PrefixIndex {
    let mut limits = IndexLimits::default();
    limits.bytes = bytes;
    let mut index = PrefixIndex::new(7, limits);
    for slot in 0..endpoints {
        index.join(slot, CacheSpec { capacity, ..CacheSpec::default() }).expect("few");
    }
    index
}

/// A new prompt.
pub(crate) fn fresh(rng: &mut Rng, blocks: usize) -> (Vec<EngineHash>, Vec<BlockHash>) {
    (0..blocks).map(|_| rng.next_u64()).map(|hash| (EngineHash(hash ^ 1), BlockHash(hash))).unzip()
}
