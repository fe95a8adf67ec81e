//! The index's count of allocated bytes equals the allocator's.
//!
//! The file has one test: the harness allocates when it starts another one.

#[path = "support/prefix_prompts.rs"]
mod prefix_prompts;

use std::alloc::System;

use cap::Cap;
use slotwise::Rng;
use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{EngineHash, PrefixIndex, Tier};

use prefix_prompts::{fresh, index, used};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// The heap's growth since `before`, less the index's own count.
fn unaccounted(index: &PrefixIndex, before: usize) -> isize {
    HEAP.allocated() as isize - before as isize - index.allocated() as isize
}

#[test]
fn every_byte_is_accounted_for() {
    let before = HEAP.allocated();
    let mut index = index(8, usize::MAX, 40_000);
    let fixed = unaccounted(&index, before);
    assert!((0..8 * 1_024).contains(&fixed), "{fixed} bytes for eight endpoints that hold nothing");
    let mut rng = Rng::new(1);
    let shared = fresh(&mut rng, 64);
    for stamp in 1..4_000 {
        let slot = (stamp % 8) as u32;
        let (names, chain) = fresh(&mut rng, 1 + (stamp % 40) as usize);
        match slot {
            // With KV events; one engine has a dictionary of its own.
            0..=3 => {
                let tier = Tier::ALL[stamp as usize % 3];
                index.store(slot, None, &names, &chain, tier, used(stamp)).expect("room");
                let odd: Vec<_> =
                    shared.0.iter().map(|name| EngineHash(name.0 ^ u64::from(slot == 3))).collect();
                index.store(slot, None, &odd, &shared.1, Tier::Gpu, used(stamp)).expect("room");
                index.remove(slot, &odd[(stamp % 64) as usize..], Tier::Gpu);
                index.remove(slot, &names[..names.len() / 2], tier);
            }
            _ => index.record_use(
                slot,
                &[&shared.1[..(stamp % 64) as usize], &chain].concat(),
                used(stamp),
            ),
        }
        drop((names, chain));
        let unaccounted = unaccounted(&index, before + SHARED_BYTES) - fixed;
        assert!(unaccounted.abs() < HARNESS_BYTES, "{unaccounted} bytes after {stamp} changes");
    }
    (0..8).for_each(|slot| index.clear(slot));
    assert!(index.allocated() < 100_000, "{} bytes for nothing", index.allocated());
}

/// Limit of the test harness's own allocations.
const HARNESS_BYTES: isize = 2_048;
/// Bytes of the shared prompt in the test itself.
const SHARED_BYTES: usize = 2 * 64 * size_of::<u64>();
