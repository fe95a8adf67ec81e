//! Requests that wait, with the operations of the property test.
//!
//! `cargo +nightly fuzz run submitted_requests`
#![no_main]

#[path = "../../crates/core/tests/support/waiting.rs"]
#[expect(dead_code, reason = "the property test draws operations in its own way")]
mod waiting;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use slotwise::{Fairness, QueueOrder, SaturationPolicy, UsageLimitPolicy};
use waiting::{Op, Setup, World};

fuzz_target!(|data: &[u8]| {
    let mut data = Unstructured::new(data);
    let Ok(setup) = setup(&mut data) else { return };
    let mut world = World::new(&setup);
    while !data.is_empty() {
        let Ok(op) = op(&mut data) else { return };
        world.apply(&op).expect("what must be true after every step");
    }
});

fn setup(data: &mut Unstructured<'_>) -> Result<Setup> {
    let fairness = [
        Fairness::StartTime,
        Fairness::RoundRobin,
        Fairness::GlobalStrict,
        Fairness::LeastAttainedService,
        Fairness::LeastAttainedTokens,
    ];
    let order =
        [QueueOrder::Fcfs, QueueOrder::Edf, QueueOrder::SloDeadline, QueueOrder::ShortestWork];
    Ok(Setup {
        fairness: *data.choose(&fairness)?,
        order: *data.choose(&order)?,
        lower_share: *data.choose(&[0.0, 0.2])?,
        guard: data.arbitrary()?,
        few: data.arbitrary()?,
        saturation: SaturationPolicy::default(),
        usage_limit: UsageLimitPolicy::default(),
    })
}

fn op(data: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match data.int_in_range(0..=17)? {
        0..=6 => Op::Submit {
            family: data.arbitrary()?,
            tokens: data.int_in_range(0..=9_000)?,
            priority: data.int_in_range(-1..=1)?,
            flow: data.arbitrary()?,
            ttl: data.arbitrary()?,
            deadline: data.arbitrary()?,
            session: data.arbitrary()?,
        },
        7 | 8 => Op::FirstToken(data.arbitrary()?),
        9 | 10 => Op::Complete(data.arbitrary()?),
        11 => Op::Fail(data.arbitrary()?),
        12 => Op::Cancel(data.arbitrary()?),
        13 => Op::CancelWaiting(data.arbitrary()?),
        14 => Op::Add,
        15 => Op::Remove(data.arbitrary()?),
        16 => Op::Drain(data.arbitrary()?, data.arbitrary()?),
        _ => Op::Wait(data.int_in_range(0..=1_500)?),
    })
}
