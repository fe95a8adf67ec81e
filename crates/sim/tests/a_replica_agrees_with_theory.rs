//! Where theory has an answer, the simulated replica gives the same one.

mod support;

use std::sync::Arc;

use slotwise::{BlockHash, Rng};
use slotwise_sim::fleet::simulate;
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::replica::{Class, EngineConfig, PER_SEQUENCE};
use support::{one_by_one, poisson, setup};

/// Prompts that fill exactly one step, with an answer of one token: deterministic service, one at a
/// time. The mean wait in such a queue (M/D/1) is `load * service / (2 * (1 - load))`.
#[test]
fn the_mean_wait_is_that_of_m_d_1() {
    let setup = setup(1);
    let class = setup.engine.class;
    let tokens = f64::from(setup.engine.max_batched_tokens);
    let service =
        class.base + class.lin * tokens + class.attn * tokens * tokens / 2.0 + PER_SEQUENCE;
    for load in [0.3, 0.6, 0.8] {
        let trace = poisson(150_000, load / service, setup.engine.max_batched_tokens, 1);
        let record = simulate(&trace, &setup, &PolicyKind::named("round-robin").expect("known"));
        let ttft = record.requests.iter().filter_map(|request| request.ttft());
        let mean = ttft.sum::<f64>() / record.requests.len() as f64;
        let expected = service + load * service / (2.0 * (1.0 - load));
        let error = mean / expected - 1.0;
        assert!(error.abs() < 0.05, "load {load}: {mean:.4} s, M/D/1 has {expected:.4} s");
    }
}

/// Prompts of one to eight whole steps: service of varied length, one at a time. The mean wait in
/// such a queue (M/G/1) is by Pollaczek and Khinchine `rate * E[S^2] / (2 * (1 - load))`.
#[test]
fn the_mean_wait_is_that_of_m_g_1() {
    let setup = setup(1);
    let class = setup.engine.class;
    let step = f64::from(setup.engine.max_batched_tokens);
    // The steps of a prompt, and how many of twenty prompts have so many.
    let kinds = [(1u32, 12), (2, 5), (4, 2), (8, 1)];
    let service = |steps: u32| {
        let tokens = f64::from(steps) * step;
        f64::from(steps) * (class.base + class.lin * step + PER_SEQUENCE)
            + class.attn * tokens * tokens / 2.0
    };
    let moment = |power: i32| {
        kinds
            .iter()
            .map(|(steps, of_20)| f64::from(*of_20) / 20.0 * service(*steps).powi(power))
            .sum::<f64>()
    };
    for load in [0.3, 0.6] {
        let rate = load / moment(1);
        let mut trace = poisson(60_000, rate, setup.engine.max_batched_tokens, 1);
        let mut rng = Rng::new(11);
        for session in &mut trace.sessions {
            let mut drawn = rng.below(20) as i32;
            let kind = kinds.iter().find(|(_, of_20)| {
                drawn -= of_20;
                drawn < 0
            });
            session.turns[0].input *= kind.expect("twenty in all").0;
        }
        let record = simulate(&trace, &setup, &PolicyKind::named("round-robin").expect("known"));
        let ttft: f64 = record.requests.iter().filter_map(|request| request.ttft()).sum();
        let services = |request: &slotwise_sim::fleet::Outcome| {
            service(request.input / setup.engine.max_batched_tokens)
        };
        let served: f64 = record.requests.iter().map(services).sum();
        let wait = (ttft - served) / record.requests.len() as f64;
        let expected = rate * moment(2) / (2.0 * (1.0 - load));
        let error = wait / expected - 1.0;
        assert!(error.abs() < 0.05, "load {load}: {wait:.4} s, M/G/1 has {expected:.4} s");
    }
}

const BLOCK: u32 = 64;

/// Prompts from a tree in which popular branches come again and again.
fn prompts(count: usize, seed: u64) -> Vec<Arc<[BlockHash]>> {
    let mut rng = Rng::new(seed);
    (0..count)
        .map(|_| {
            let mut hash = 1u64;
            let length = 1 + rng.below(12);
            (0..length)
                .map(|_| {
                    let branch = rng.below(4).min(rng.below(4)).min(rng.below(4));
                    hash = Rng::new(hash.wrapping_mul(31) + branch).next_u64();
                    BlockHash(hash)
                })
                .collect()
        })
        .collect()
}

/// Mattson's stack: all blocks, most recently used first. A cache of `capacity` blocks has exactly
/// the top of it.
fn stack_distance_hits(prompts: &[Arc<[BlockHash]>], capacity: usize) -> Vec<u32> {
    let mut stack: Vec<BlockHash> = Vec::new();
    prompts
        .iter()
        .map(|prompt| {
            let top = &stack[..stack.len().min(capacity)];
            let hit = prompt.iter().take_while(|block| top.contains(block)).count();
            for block in prompt.iter().rev() {
                stack.retain(|other| other != block);
                stack.insert(0, *block);
            }
            hit as u32 * BLOCK
        })
        .collect()
}

#[test]
fn hits_are_those_of_an_lru_stack() {
    let prompts = prompts(4_000, 5);
    for capacity in [16, 40, 100, 400] {
        let mut setup = setup(1);
        // One page beside the blocks, for the token that is never cached.
        let class = Class { kv_tokens: capacity as u32 * BLOCK + 16, ..setup.engine.class };
        setup.engine = EngineConfig { watermark: 0.0, ..EngineConfig::new(class) };
        let sent = prompts
            .iter()
            .map(|blocks| (blocks.len() as u32 * BLOCK + 1, blocks.clone()))
            .collect();
        let record = simulate(
            &one_by_one(sent, BLOCK),
            &setup,
            &PolicyKind::named("random").expect("known"),
        );
        let hits: Vec<u32> = record.requests.iter().map(|request| request.cached).collect();
        assert_eq!(hits, stack_distance_hits(&prompts, capacity), "capacity {capacity}");
    }
}
