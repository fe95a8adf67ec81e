//! Every endpoint's match length equals the reference model's after any sequence of stores,
//! removals, holes, clears and leaves.

#[path = "support/model.rs"]
mod model;

use model::{ENDPOINTS, Op, Pair, chain, op, path};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, StoreError, Tier,
};
use slotwise::{CacheEvictionOrder, Instant};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes(
        seed in any::<u64>(),
        ops in prop::collection::vec((op(), path()), 1..300),
    ) {
        let mut pair = Pair::new(seed);
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Join(slot, CacheSpec { capacity: 200, ..CacheSpec::default() }));
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

/// Longer sequences with holes, contradicting engines, tiers and snapshots.
#[test]
#[ignore = "half a minute"]
fn ten_million_depths_are_the_models() {
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut sequences) = (0, 0);
    while compared < 10_000_000 {
        let mut pair = Pair::new(sequences);
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Join(slot, CacheSpec { capacity: 200, ..CacheSpec::default() }));
        }
        let steps = prop::collection::vec((op(), path()), 2_000);
        let steps = steps.new_tree(&mut runner).expect("a strategy without filters").current();
        for (number, (op, asked)) in steps.iter().enumerate() {
            pair.apply(op);
            pair.compare(asked).expect("the index agrees with its model");
            if number % 64 == 0 {
                assert_eq!(pair.index.check(), Ok(()));
            }
        }
        compared += pair.compared;
        sequences += 1;
    }
    println!("{compared} depths in {sequences} sequences, no difference");
}

const NOW: Instant = Instant::ORIGIN;

fn used(stamp: u64) -> BlockUse {
    BlockUse { stamp, block_tokens: 10, now: NOW, computed: true }
}

fn index(capacity: u32, order: CacheEvictionOrder) -> PrefixIndex {
    let mut index = PrefixIndex::new(1, IndexLimits::default());
    index.join(0, CacheSpec { capacity, order }).expect("one is few");
    index
}

#[test]
fn a_full_cache_gives_up_tails_and_can_still_be_found() {
    let mut index = index(100, CacheEvictionOrder::TailFirst);
    let (old, new) = (chain(&[0; 8]), chain(&[1; 6]));
    index.record_use(0, &old, used(1));
    index.record_use(0, &new, used(2));
    assert_eq!(index.depth(0, &old), 4);
    assert_eq!(index.depth(0, &new), 6);
}

#[test]
fn a_cache_that_gives_up_heads_cannot() {
    let mut index = index(100, CacheEvictionOrder::HeadFirst);
    let (old, new) = (chain(&[0; 8]), chain(&[1; 6]));
    index.record_use(0, &old, used(1));
    index.record_use(0, &new, used(2));
    assert_eq!(index.depth(0, &old), 0);
}

#[test]
fn a_hole_ends_the_match_until_it_is_filled() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[2; 9]);
    let names: Vec<_> = (100..109).map(EngineHash).collect();
    index.store(0, None, &names, &chain, Tier::Gpu, used(1)).expect("room");
    index.remove(0, &names[4..5], Tier::Gpu);
    assert_eq!(index.depth(0, &chain), 4);
    index.store(0, Some(names[3]), &names[4..5], &chain[4..5], Tier::Gpu, used(2)).expect("room");
    assert_eq!(index.depth(0, &chain), 9);
}

#[test]
fn two_names_for_one_block_keep_it_until_both_are_gone() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[2; 1]);
    index.store(0, None, &[EngineHash(1)], &chain, Tier::Gpu, used(1)).expect("room");
    index.store(0, None, &[EngineHash(2)], &chain, Tier::Gpu, used(1)).expect("room");
    index.remove(0, &[EngineHash(1), EngineHash(1)], Tier::Gpu);
    assert_eq!(index.depth(0, &chain), 1);
    index.remove(0, &[EngineHash(2)], Tier::Gpu);
    assert_eq!(index.depth(0, &chain), 0);
}

#[test]
fn a_removed_name_can_still_be_a_parent() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[2; 3]);
    let names = [1, 2, 3].map(EngineHash);
    index.store(0, None, &names, &chain, Tier::Gpu, used(1)).expect("room");
    index.remove(0, &names[2..], Tier::Gpu);
    assert_eq!(index.named(0, names[2]), Some(chain[2]), "another copy of it may live on");
    index.clear(0);
    assert_eq!(index.named(0, names[2]), None);
}

#[test]
fn a_child_brings_its_parent_back() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[2; 4]);
    let names = [1, 2, 3, 4].map(EngineHash);
    index.store(0, None, &names[..3], &chain[..3], Tier::Gpu, used(1)).expect("room");
    // The engine has a second copy of the last block: one copy is removed, the other has a child.
    index.remove(0, &names[2..3], Tier::Gpu);
    assert_eq!(index.depth(0, &chain), 2);
    index.store(0, Some(names[2]), &names[3..], &chain[3..], Tier::Gpu, used(2)).expect("room");
    assert_eq!(index.depth(0, &chain), 4);
    let unknown = index.store(0, Some(EngineHash(9)), &names[3..], &chain[3..], Tier::Gpu, used(2));
    assert_eq!(unknown, Err(StoreError::UnknownParent));
}

#[test]
fn engines_that_hash_alike_share_a_dictionary_and_others_are_found_out() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    for slot in 1..4 {
        index.join(slot, CacheSpec { capacity: 1_000, ..CacheSpec::default() }).expect("few");
    }
    let chain = chain(&[1; 6]);
    let names: Vec<_> = (1..7).map(EngineHash).collect();
    let others: Vec<_> = (11..17).map(EngineHash).collect();
    for slot in 0..3 {
        index.store(slot, None, &names, &chain, Tier::Gpu, used(1)).expect("room");
    }
    index.store(3, None, &others, &chain, Tier::Gpu, used(1)).expect("room");
    assert_eq!([0, 1, 2, 3].map(|slot| index.hash_mismatch(slot)), [false, false, false, true]);
    assert_eq!(index.census(), (1, 6, 6), "one run, its blocks, and their names");
    index.remove(3, &others[5..], Tier::Gpu);
    index.remove(2, &names[4..], Tier::Gpu);
    assert_eq!([0, 1, 2, 3].map(|slot| index.depth(slot, &chain)), [6, 6, 4, 5]);
}

#[test]
fn a_block_counts_in_the_nearest_tier_that_it_is_in() {
    let mut index = index(1_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[1; 6]);
    let names: Vec<_> = (1..7).map(EngineHash).collect();
    index.store(0, None, &names, &chain, Tier::Gpu, used(1)).expect("room");
    index.store(0, None, &names[..4], &chain[..4], Tier::Cpu, used(1)).expect("room");
    assert_eq!(index.tiers(0, &chain, 6), [6, 0, 0]);
    index.remove(0, &names[2..], Tier::Gpu);
    assert_eq!((index.depth(0, &chain), index.tiers(0, &chain, 4)), (4, [2, 2, 0]));
    assert!(!index.hash_mismatch(0), "the same name in two tiers is no contradiction");
}

/// An index at its limit: three endpoints with only estimated blocks.
fn full_index() -> PrefixIndex {
    let mut limits = IndexLimits::default();
    limits.bytes = LIMIT;
    let mut index = PrefixIndex::new(1, limits);
    for slot in 0..3 {
        index
            .join(slot, CacheSpec { capacity: u32::MAX, ..CacheSpec::default() })
            .expect("three are few");
    }
    for stamp in 0..1_000u64 {
        let prompt: Vec<_> = (0..20).map(|block| BlockHash(stamp * 20 + block + 1)).collect();
        index.record_use((stamp % 3) as u32, &prompt, used(stamp));
        assert_eq!(index.check(), Ok(()));
    }
    index
}

const LIMIT: usize = 128 << 10;

fn named_blocks(from: u64, count: u64) -> (Vec<EngineHash>, Vec<BlockHash>) {
    (from..from + count).map(|block| (EngineHash(block), BlockHash(block))).unzip()
}

#[test]
fn an_index_at_its_limit_shares_it_among_endpoints() {
    let mut index = full_index();
    assert!(index.allocated() > LIMIT / 2, "{} bytes", index.allocated());
    let held: Vec<u64> = (0..3).map(|slot| index.tokens(slot).0 / 10).collect();
    assert!(held.iter().all(|blocks| *blocks >= index.len() as u64 / 5), "{held:?}");
    let (names, chain) = named_blocks(1 << 40, 20);
    index
        .store(0, None, &names, &chain, Tier::Gpu, used(2_000))
        .expect("facts take the place of guesses");
    assert_eq!((index.depth(0, &chain), index.check()), (20, Ok(())));
    // Stored blocks are not evicted, regardless of use.
    for stamp in 3_000..3_010 {
        index.record_use(0, &chain, used(stamp));
        assert_eq!((index.depth(0, &chain), index.check()), (20, Ok(())));
    }
}

#[test]
fn an_event_for_which_there_is_no_room_is_refused_whole() {
    let mut index = full_index();
    let (names, chain) = named_blocks(1 << 40, 10_000);
    let refused = index.store(0, None, &names, &chain, Tier::Gpu, used(2_000));
    assert_eq!(
        (refused, index.depth(0, &chain), index.has_kv_events(0)),
        (Err(StoreError::Full), 0, false)
    );
    let mut stored = 0;
    let full = (0..).map(|n| named_blocks((1 << 40) + n * 20, 20)).find(|(names, chain)| {
        let done = index.store(0, None, names, chain, Tier::Gpu, used(2_001 + stored));
        stored += u64::from(done.is_ok());
        done.is_err()
    });
    let (names, chain) = full.expect("it is full at some time");
    assert!(stored > 50, "{stored} events");
    let before = format!("{index:?}");
    assert!(index.store(0, None, &names, &chain, Tier::Gpu, used(9_000)).is_err());
    assert_eq!(format!("{index:?}"), before, "with nothing left to give up, nothing changes");
}

#[test]
fn slots_are_small_numbers() {
    let mut index = PrefixIndex::new(1, IndexLimits::default());
    assert!(index.join(u32::MAX, CacheSpec::default()).is_err());
    index.record_use(u32::MAX, &[BlockHash(1)], used(1));
    index.leave(u32::MAX);
    assert!(index.is_empty());
}

#[test]
fn blocks_that_nobody_holds_count_against_the_limit() {
    let mut limits = IndexLimits::default();
    limits.bytes = 256 << 10;
    let mut index = PrefixIndex::new(1, limits);
    index.join(0, CacheSpec { capacity: u32::MAX, ..CacheSpec::default() }).expect("one is few");
    let mut refused = 0;
    for prompt in 0..200u64 {
        let (names, chain) = named_blocks(prompt * 100 + 1, 100);
        refused +=
            u32::from(index.store(0, None, &names, &chain, Tier::Gpu, used(prompt + 1)).is_err());
        // Only the last block of each prompt stays, and keeps the blocks before it.
        index.remove(0, &names[..99], Tier::Gpu);
        assert_eq!(index.check(), Ok(()));
    }
    assert!(index.len() < 100 && refused > 100, "{} pairs, {refused} refusals", index.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// An index with little memory stays within its limit, and never holds more than its reference
    /// model, which has no limit.
    #[test]
    fn the_limit_in_bytes_is_hard(
        bytes in 3_000usize..60_000,
        ops in prop::collection::vec((op(), path()), 1..300),
    ) {
        let mut pair = Pair::with_bytes(7, bytes);
        for slot in 0..ENDPOINTS {
            pair.apply(&Op::Join(slot, CacheSpec { capacity: 10_000, ..CacheSpec::default() }));
        }
        for (op, _) in &ops {
            pair.apply(op);
            prop_assert_eq!(pair.index.check(), Ok(()));
        }
    }
}

#[test]
fn uses_that_are_stale_are_not_kept_for_ever() {
    let mut index = index(100_000, CacheEvictionOrder::TailFirst);
    let chain = chain(&[1; 10]);
    for stamp in 1..10_000 {
        index.record_use(0, &chain, used(stamp));
    }
    assert!(format!("{index:?}").len() < 100_000);
}
