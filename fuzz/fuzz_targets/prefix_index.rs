//! The prefix index against its naive twin, with the operations of the property test.
//!
//! `cargo +nightly fuzz run prefix_index`
#![no_main]

#[path = "../../crates/core/tests/support/model.rs"]
#[expect(dead_code, reason = "the property test draws operations in its own way")]
mod model;

use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use model::{ENDPOINTS, Op, Pair, Path};
use slotwise::CacheEvictionOrder;
use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{CacheSpec, Tier};

fuzz_target!(|data: &[u8]| {
    let mut data = Unstructured::new(data);
    let mut pair = Pair::new(data.arbitrary().unwrap_or_default());
    for slot in 0..ENDPOINTS {
        pair.apply(&Op::Join(slot, CacheSpec { capacity: 200, ..CacheSpec::default() }));
    }
    while !data.is_empty() {
        let Ok((op, asked)) = op(&mut data).and_then(|op| Ok((op, path(&mut data)?))) else {
            return;
        };
        pair.apply(&op);
        pair.compare(&asked).expect("the index agrees with its twin");
        assert_eq!(pair.index.check(), Ok(()));
    }
});

fn op(data: &mut Unstructured<'_>) -> Result<Op> {
    let slot = data.int_in_range(0..=ENDPOINTS - 1)?;
    Ok(match data.int_in_range(0..=20)? {
        0 => Op::Join(slot, cache(data)?),
        1 => Op::Resize(slot, cache(data)?),
        2 => Op::Leave(slot),
        3 => Op::Clear(slot),
        4 => Op::Restart(slot, cache(data)?),
        5..=8 => Op::Assume(slot, path(data)?, data.arbitrary()?),
        9 => Op::ForgetUse(slot, path(data)?, data.int_in_range(0..=3)?),
        10 => Op::ForgetUnusedSince(slot, data.int_in_range(0..=7)?),
        11 => Op::ExpectConfirmation(slot, path(data)?, data.int_in_range(0..=2)?),
        12..=15 => Op::Store(
            slot,
            path(data)?,
            data.int_in_range(0..=7)?,
            data.int_in_range(0..=2)?,
            tier(data)?,
        ),
        16..=18 => Op::Remove(
            slot,
            path(data)?,
            data.int_in_range(0..=11)?,
            data.int_in_range(0..=2)?,
            tier(data)?,
        ),
        19 => Op::Revive,
        _ => Op::Wait(Duration::from_millis(data.int_in_range(0..=40_000)?)),
    })
}

fn cache(data: &mut Unstructured<'_>) -> Result<CacheSpec> {
    let order = if data.arbitrary()? {
        CacheEvictionOrder::TailFirst
    } else {
        CacheEvictionOrder::HeadFirst
    };
    Ok(CacheSpec { capacity: data.int_in_range(0..=299)?, order })
}

fn tier(data: &mut Unstructured<'_>) -> Result<Tier> {
    // Most engines have one.
    Ok(Tier::ALL[data.int_in_range(0..=6usize)?.saturating_sub(4)])
}

fn path(data: &mut Unstructured<'_>) -> Result<Path> {
    let length = data.int_in_range(0..=11)?;
    (0..length).map(|_| data.int_in_range(0..=2)).collect()
}
