//! The index's allocated bytes are bounded under steady churn, under fragmentation, and with
//! prompts that are never requested again.

#[path = "support/prefix_prompts.rs"]
mod prefix_prompts;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard};

use cap::Cap;
use slotwise::Rng;
use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{BlockHash, EngineHash, StoreError, Tier};

use prefix_prompts::{fresh, index, used};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Tests run one at a time, since they count the same heap.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ten million events of an engine that stores and evicts one block at a time.
#[test]
#[ignore = "ten seconds"]
fn ten_million_events_leave_it_as_large_as_it_was() {
    let _alone = alone();
    let mut index = index(4, usize::MAX, 1_000_000);
    let mut rng = Rng::new(2);
    let mut held = std::collections::VecDeque::new();
    let mut parent = None;
    let mut peak = 0;
    for event in 0..10_000_000_u64 {
        let slot = (event / 64 % 4) as u32;
        if event % 64 == 0 {
            parent = None;
        }
        let hash = rng.next_u64();
        let (name, block) = (EngineHash(hash ^ 1), BlockHash(hash));
        index.store(slot, parent, &[name], &[block], Tier::Gpu, used(event / 1_000)).expect("room");
        parent = Some(name);
        held.push_back((slot, name));
        if held.len() > 65_536 {
            // Removes the oldest prompt, tail first.
            let gone: Vec<_> = held.drain(..64).rev().collect();
            for (slot, name) in gone {
                index.remove(slot, &[name], Tier::Gpu);
            }
        }
        if event == 1_000_000 {
            peak = index.allocated();
        }
    }
    assert_eq!(index.check(), Ok(()));
    // The tables keep some capacity while they are neither too full nor too empty.
    assert!(index.allocated() <= peak + peak / 20, "{} bytes, and {peak} once", index.allocated());
}

#[test]
fn prompts_that_nobody_repeats_fill_it_to_the_limit_and_no_further() {
    let _alone = alone();
    let before = HEAP.allocated();
    let limit = 1 << 20;
    let mut index = index(3, limit, u32::MAX);
    let mut rng = Rng::new(3);
    for stamp in 1..3_000 {
        index.record_use((stamp % 3) as u32, &fresh(&mut rng, 50).1, used(stamp));
        assert!(index.allocated() <= limit);
    }
    assert!(index.allocated() > limit / 2, "{} of {limit} bytes", index.allocated());
    let heap = HEAP.allocated() - before;
    assert!(heap < limit + 16_384, "{heap} bytes of heap");
    let depths = |slot: u32| index.tokens(slot).0;
    assert!((0..3).all(|slot| depths(slot) > 0), "who holds most gives way first");
}

/// An engine that removes every second block leaves the maximum of spans.
#[test]
fn fragments_find_room_or_the_endpoint_starts_anew() {
    let _alone = alone();
    let limit = 1 << 20;
    let mut index = index(32, limit, u32::MAX);
    let mut rng = Rng::new(4);
    let (names, chain) = fresh(&mut rng, 4_000);
    let mut refused = 0;
    for round in 0..8 {
        for slot in 0..32 {
            match index.store(slot, None, &names, &chain, Tier::Gpu, used(round)) {
                Ok(()) => {
                    let odd: Vec<_> =
                        names.iter().skip((slot % 3) as usize).step_by(2).copied().collect();
                    index.remove(slot, &odd, Tier::Gpu);
                }
                Err(error) => {
                    assert_eq!(error, StoreError::Full);
                    refused += 1;
                }
            }
            assert_eq!(index.check(), Ok(()));
        }
    }
    assert!(refused > 0 && index.len() > 4_000, "{refused} refused, {} pairs", index.len());
}
