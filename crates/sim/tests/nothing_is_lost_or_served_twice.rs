//! Every request has exactly one end, under every policy and when memory is short.

mod support;

use std::collections::HashSet;

use proptest::prelude::*;
use slotwise::{BlockHash, Rng};
use slotwise_sim::fleet::{Record, Setup, simulate};
use slotwise_sim::policy::{ABLATIONS, DISAGGREGATED, POLICIES, PolicyKind};
use slotwise_sim::pools::Pools;
use slotwise_sim::replica::{Class, Engine, EngineConfig, Job, KvChange, PER_SEQUENCE};
use support::{mixed, setup};

fn check(record: &Record, requests: usize, name: &str) {
    assert_eq!(record.requests.len(), requests, "{name}");
    for request in &record.requests {
        match request.replica {
            Some(_) => {
                let (first, finished) =
                    (request.first_token.expect(name), request.finished.expect(name));
                assert!(request.arrived < first && first <= finished, "{name}: {request:?}");
                assert!(request.cached < request.input, "{name}: {request:?}");
            }
            None => assert!(request.first_token.is_none() && request.finished.is_none(), "{name}"),
        }
    }
}

#[test]
fn under_every_policy() {
    let trace = mixed(350);
    for kind in POLICIES.iter().chain(&ABLATIONS) {
        let record = simulate(&trace, &setup(4), kind);
        check(&record, trace.requests(), kind.name);
        assert!(record.requests.iter().all(|request| request.replica.is_some()), "{}", kind.name);
    }
}

#[test]
fn in_prefill_and_decode_pools() {
    let trace = mixed(350);
    let setup = setup(4);
    let setup = Setup { pools: Pools { prefill: 1, decode: 2, ..setup.pools }, ..setup };
    for kind in &DISAGGREGATED {
        let record = simulate(&trace, &setup, kind);
        check(&record, trace.requests(), kind.name);
        for request in &record.requests {
            let answers = request.replica.expect("all are served");
            assert!(
                answers > 0 && request.prefiller != Some(answers),
                "{}: {request:?}",
                kind.name
            );
            // The replica without a pool may do both.
            assert!(request.prefiller.is_none_or(|replica| [0, 3].contains(&replica)));
        }
        let split = record.requests.iter().filter(|request| request.prefiller.is_some()).count();
        match kind.name {
            "pd-never" => assert_eq!(split, 0),
            "pd-always" => assert_eq!(split, record.requests.len()),
            _ => assert!(split < record.requests.len()),
        }
    }
}

#[test]
fn when_sequences_lose_their_memory_to_older_ones() {
    let trace = mixed(350);
    let mut setup = setup(2);
    setup.engine = EngineConfig::new(Class { kv_tokens: 30_000, ..Class::default() });
    let record = simulate(&trace, &setup, &PolicyKind::named("least-request").expect("known"));
    check(&record, trace.requests(), "small memory");
    assert!(record.preemptions > 0);
    let rejected = record.requests.iter().filter(|request| request.replica.is_none());
    assert!(rejected.clone().count() > 0 && rejected.clone().all(|request| request.input > 28_000));
}

#[test]
fn with_more_adapters_than_slots() {
    let mut trace = mixed(300);
    trace.assign_adapters(12, 1.0, 0);
    let mut setup = setup(2);
    setup.engine.adapter_slots = 3;
    for policy in ["round-robin", "slotwise"] {
        let record = simulate(&trace, &setup, &PolicyKind::named(policy).expect("known"));
        check(&record, trace.requests(), policy);
        assert!(record.adapter_loads >= 12);
    }
}

proptest! {
    /// An engine by itself: everything that enters leaves once, each of its tokens was computed or
    /// cached, its memory is empty in the end, and its events describe its cache.
    #[test]
    fn one_engine_serves_each_job_once(
        seed in any::<u64>(),
        kv_tokens in 2_000u32..20_000,
        jobs in prop::collection::vec((1u32..3_000, 1u32..60, 0u64..4, prop::option::of(0u32..5)), 1..60),
    ) {
        let class = Class { kv_tokens, ..Class::default() };
        let config = EngineConfig { max_seqs: 8, adapter_slots: 2, ..EngineConfig::new(class) };
        let mut engine = Engine::new(config, 64);
        let mut rng = Rng::new(seed);
        let (mut expected, mut first, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tokens, mut cached, mut held) = (0, 0, HashSet::new());
        let mut step = |engine: &mut Engine| {
            if engine.start_step().is_none() {
                return false;
            }
            let outcome = engine.finish_step();
            first.extend(outcome.first_tokens.iter().map(|(id, _)| *id));
            cached += outcome.first_tokens.iter().map(|(_, cached)| u64::from(*cached)).sum::<u64>();
            finished.extend(outcome.finished);
            for change in engine.take_events() {
                match change {
                    KvChange::Stored { blocks, .. } => held.extend(blocks),
                    KvChange::Removed(blocks) => blocks.iter().for_each(|block| {
                        held.remove(block);
                    }),
                }
            }
            true
        };
        for (id, (input, output, prompt, adapter)) in (0..).zip(jobs) {
            let blocks = (0..u64::from(input / 64)).map(|block| BlockHash(prompt * 1_000 + block)).collect();
            let job = Job { id, input, output, blocks, adapter, received: false };
            if engine.fits(&job) {
                expected.push(id);
                // The last token of an answer is not fed back.
                tokens += u64::from(input) + u64::from(output) - 1;
                engine.enqueue(job);
            }
            for _ in 0..rng.below(4) {
                step(&mut engine);
            }
        }
        let mut steps = 0;
        while step(&mut engine) {
            steps += 1;
            prop_assert!(steps < 100_000, "it never ends");
        }
        first.sort_unstable();
        finished.sort_unstable();
        prop_assert_eq!(&first, &expected);
        prop_assert_eq!(&finished, &expected);
        prop_assert_eq!((engine.in_flight(), engine.kv_used()), (0, 0));
        // A preempted sequence computes again what it does not find cached.
        if engine.preemptions() == 0 {
            prop_assert_eq!(engine.computed() + cached, tokens);
        }
        for block in (0..4u64).flat_map(|prompt| (0..50).map(move |block| BlockHash(prompt * 1_000 + block))) {
            prop_assert_eq!(engine.cached_prefix(&[block]) == 1, held.contains(&block));
        }
    }
}

#[test]
fn a_step_takes_what_the_formula_says() {
    let class = Class::default();
    let mut engine = Engine::new(EngineConfig::new(class), 64);
    let job = |id, input, adapter| Job {
        id,
        input,
        output: 3,
        blocks: [].into(),
        adapter,
        received: false,
    };
    let step = |engine: &mut Engine| {
        let length = engine.start_step().expect("there is work").as_secs_f64();
        engine.finish_step();
        length
    };
    let expect =
        |length: f64, tokens: f64, pairs: f64, context: f64, sequences: f64, loading: f64| {
            let matrices = class.floor.max(class.lin * tokens);
            let seconds = class.base
                + matrices
                + class.attn * pairs
                + class.kvr * context
                + sequences * PER_SEQUENCE
                + loading;
            assert!((length - seconds).abs() < 1e-8, "{length} instead of {seconds}");
        };
    engine.enqueue(job(1, 3_000, None));
    expect(step(&mut engine), 2_048.0, 2_048.0 * 1_024.0, 0.0, 1.0, 0.0);
    engine.enqueue(job(2, 100, Some(7)));
    let pairs = 952.0 * (2_048.0 + 476.0) + 100.0 * 50.0;
    expect(step(&mut engine), 1_052.0, pairs, 0.0, 2.0, 0.3);
    expect(step(&mut engine), 2.0, 0.0, 3_000.0 + 100.0, 2.0, 0.0);
    expect(step(&mut engine), 2.0, 0.0, 3_001.0 + 101.0, 2.0, 0.0);
    assert!(engine.start_step().is_none());
}
