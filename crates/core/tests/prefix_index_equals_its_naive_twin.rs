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
            prop_assert_eq!(pair.index.check(), Ok(()));
        }
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Leave(slot));
        }
        prop_assert!(pair.index.is_empty());
    }
}

const NOW: Instant = Instant::ORIGIN;

fn used(stamp: u64) -> Use {
    Use { stamp, block_tokens: 10, now: NOW, computed: true }
}

fn index(capacity: u32, order: EvictionOrder) -> PrefixIndex {
    let mut index = PrefixIndex::new(1, IndexLimits::default());
    index.join(0, Cache { capacity, order }).expect("one is few");
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
    index.store(0, None, &names, &chain, used(1)).expect("room");
    index.remove(0, &names[4..5]);
    assert_eq!(index.depth(0, &chain), 4);
    index.store(0, None, &names[4..5], &chain[4..5], used(2)).expect("room");
    assert_eq!(index.depth(0, &chain), 9);
}

#[test]
fn two_names_for_one_block_keep_it_until_both_are_gone() {
    let mut index = index(1_000, EvictionOrder::TailFirst);
    let chain = chain(&[2; 1]);
    index.store(0, None, &[EngineHash(1)], &chain, used(1)).expect("room");
    index.store(0, None, &[EngineHash(2)], &chain, used(1)).expect("room");
    index.remove(0, &[EngineHash(1), EngineHash(1)]);
    assert_eq!(index.depth(0, &chain), 1);
    index.remove(0, &[EngineHash(2)]);
    assert_eq!(index.depth(0, &chain), 0);
}

#[test]
fn a_removed_name_can_still_be_a_parent() {
    let mut index = index(1_000, EvictionOrder::TailFirst);
    let chain = chain(&[2; 3]);
    let names = [1, 2, 3].map(EngineHash);
    index.store(0, None, &names, &chain, used(1)).expect("room");
    index.remove(0, &names[2..]);
    assert_eq!(index.named(0, names[2]), Some(chain[2]), "another copy of it may live on");
    index.clear(0);
    assert_eq!(index.named(0, names[2]), None);
}

fn full_index() -> PrefixIndex {
    let mut limits = IndexLimits::default();
    limits.entries = 50;
    let mut index = PrefixIndex::new(1, limits);
    for slot in 0..3 {
        index.join(slot, Cache { capacity: u32::MAX, ..Cache::default() }).expect("three are few");
    }
    for stamp in 0..100u64 {
        let prompt: Vec<_> = (0..20).map(|block| BlockHash(stamp * 20 + block)).collect();
        index.assume((stamp % 3) as u32, &prompt, used(stamp));
        assert!(index.len() <= 50);
    }
    index
}

fn named_blocks(count: u64) -> (Vec<EngineHash>, Vec<BlockHash>) {
    (0..count).map(|block| (EngineHash(block), BlockHash(block))).unzip()
}

#[test]
fn an_index_at_its_limit_shares_it_among_endpoints() {
    let mut index = full_index();
    let held: Vec<u64> = (0..3).map(|slot| index.tokens(slot).0 / 10).collect();
    assert!(held.iter().all(|blocks| *blocks >= 10), "{held:?}");
    let (names, chain) = named_blocks(20);
    index.store(0, None, &names, &chain, used(200)).expect("facts take the place of guesses");
    assert_eq!((index.depth(0, &chain), index.len() <= 50), (20, true));
    // Blocks that were stored are not given up, however often they are used.
    for stamp in 300..310 {
        index.assume(0, &chain, used(stamp));
        assert!(index.len() <= 50 && index.depth(0, &chain) == 20);
    }
}

#[test]
fn a_refused_event_leaves_no_trace() {
    let mut index = full_index();
    let (names, chain) = named_blocks(26);
    let before = format!("{index:?}");
    assert!(index.store(0, None, &names, &chain, used(200)).is_err());
    assert_eq!(format!("{index:?}"), before);
    assert!(!index.is_precise(0));
}

#[test]
fn slots_are_small_numbers() {
    let mut index = PrefixIndex::new(1, IndexLimits::default());
    assert!(index.join(u32::MAX, Cache::default()).is_err());
    index.assume(u32::MAX, &[BlockHash(1)], used(1));
    index.leave(u32::MAX);
    assert!(index.is_empty());
}

#[test]
fn blocks_that_nobody_holds_count_against_the_limit() {
    let mut limits = IndexLimits::default();
    limits.entries = 1_000;
    let mut index = PrefixIndex::new(1, limits);
    index.join(0, Cache { capacity: u32::MAX, ..Cache::default() }).expect("one is few");
    let mut refused = 0;
    for prompt in 0..100u64 {
        let (names, chain) = (prompt * 100..prompt * 100 + 100)
            .map(|n| (EngineHash(n), BlockHash(n)))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        refused += u32::from(index.store(0, None, &names, &chain, used(prompt + 1)).is_err());
        // Only the last block of each prompt stays, and keeps those before it.
        index.remove(0, &names[..99]);
        assert_eq!(index.check(), Ok(()));
    }
    assert!(index.len() < 30 && refused > 80, "{} entries, {refused} refusals", index.len());
}

#[test]
fn uses_that_are_stale_are_not_kept_for_ever() {
    let mut index = index(100_000, EvictionOrder::TailFirst);
    let chain = chain(&[1; 10]);
    for stamp in 1..10_000 {
        index.assume(0, &chain, used(stamp));
    }
    assert!(format!("{index:?}").len() < 100_000);
}
