//! Every endpoint's match length equals the model's after any sequence of stores, removals, holes, clears and leaves.

#[path = "support/model.rs"]
mod model;

use model::{ENDPOINTS, Op, Pair, chain, op, path};
use proptest::prelude::*;
use slotwise::prefix::{BlockHash, Cache, EngineHash, IndexLimits, PrefixIndex, Use};
use slotwise::{EvictionOrder, Instant};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes(
        seed in any::<u64>(),
        ops in prop::collection::vec((op(), path()), 1..300),
    ) {
        let mut pair = Pair::new(seed);
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Join(slot, Cache { capacity: 200, ..Cache::default() }));
        }
        for (op, asked) in &ops {
            pair.apply(op);
            pair.compare(asked)?;
        }
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Leave(slot));
        }
        prop_assert!(pair.index.is_empty());
    }
}

const NOW: Instant = Instant::ORIGIN;

fn used(stamp: u64) -> Use {
    Use { stamp, block_tokens: 10, now: NOW }
}

fn index(capacity: u32, order: EvictionOrder) -> PrefixIndex {
    let mut index = PrefixIndex::new(1, IndexLimits::default());
    index.join(0, Cache { capacity, order });
    index
}

#[test]
fn a_full_cache_gives_up_tails_and_can_still_be_found() {
    let mut index = index(100, EvictionOrder::TailFirst);
    let (old, new) = (chain(&[0; 8]), chain(&[1; 6]));
    index.assume(0, &old, used(1));
    index.assume(0, &new, used(2));
    assert_eq!(index.depth(0, &old), 4);
    assert_eq!(index.depth(0, &new), 6);
}

#[test]
fn a_cache_that_gives_up_heads_cannot() {
    let mut index = index(100, EvictionOrder::HeadFirst);
    let (old, new) = (chain(&[0; 8]), chain(&[1; 6]));
    index.assume(0, &old, used(1));
    index.assume(0, &new, used(2));
    assert_eq!(index.depth(0, &old), 0);
}

#[test]
fn a_hole_ends_the_match_until_it_is_filled() {
    let mut index = index(1_000, EvictionOrder::TailFirst);
    let chain = chain(&[2; 9]);
    let names: Vec<_> = (100..109).map(EngineHash).collect();
    index.store(0, &names, &chain, used(1)).expect("room");
    index.remove(0, &names[4..5]);
    assert_eq!(index.depth(0, &chain), 4);
    index.store(0, &names[4..5], &chain[4..5], used(2)).expect("room");
    assert_eq!(index.depth(0, &chain), 9);
}

#[test]
fn two_names_for_one_block_keep_it_until_both_are_gone() {
    let mut index = index(1_000, EvictionOrder::TailFirst);
    let chain = chain(&[2; 1]);
    index.store(0, &[EngineHash(1)], &chain, used(1)).expect("room");
    index.store(0, &[EngineHash(2)], &chain, used(1)).expect("room");
    index.remove(0, &[EngineHash(1), EngineHash(1)]);
    assert_eq!(index.depth(0, &chain), 1);
    index.remove(0, &[EngineHash(2)]);
    assert_eq!(index.depth(0, &chain), 0);
}

#[test]
fn the_index_never_holds_more_than_its_limit() {
    let mut limits = IndexLimits::default();
    limits.blocks = 50;
    let mut index = PrefixIndex::new(1, limits);
    for slot in 0..3 {
        index.join(slot, Cache { capacity: u32::MAX, ..Cache::default() });
    }
    for stamp in 0..100u64 {
        let prompt: Vec<_> = (0..20).map(|block| BlockHash(stamp * 20 + block)).collect();
        index.assume((stamp % 3) as u32, &prompt, used(stamp));
        assert!(index.len() <= 50);
    }
    let names: Vec<_> = (0..60).map(EngineHash).collect();
    let chain: Vec<_> = (0..60).map(BlockHash).collect();
    let before = format!("{index:?}");
    assert!(index.store(0, &names, &chain, used(200)).is_err());
    assert_eq!(format!("{index:?}"), before, "a refused event leaves no trace");
}
