//! Same seed, same bytes out; and what must be equal is.

mod support;

use slotwise_sim::compare::compare;
use slotwise_sim::fleet::simulate;
use slotwise_sim::measure::Summary;
use slotwise_sim::policy::{ABLATIONS, POLICIES, PolicyKind};
use support::{mixed, poisson, setup};

#[test]
fn same_seed_same_bytes() {
    let trace = mixed(150);
    let run =
        || serde_json::to_string(&compare(&trace, &setup(4), &POLICIES, 2)).expect("serializable");
    assert_eq!(run(), run());
}

#[test]
fn another_seed_another_run() {
    let trace = mixed(300);
    let run = |seed| {
        let setup = slotwise_sim::fleet::Setup { seed, ..setup(4) };
        Summary::of(&simulate(&trace, &setup, &PolicyKind::named("slotwise").expect("known")))
    };
    assert_ne!(run(1), run(2));
}

#[test]
fn round_robin_on_equal_replicas_is_fair() {
    let trace = poisson(8_000, 20.0, 700, 20);
    let record = simulate(&trace, &setup(8), &PolicyKind::named("round-robin").expect("known"));
    let mut sent = [0u32; 8];
    let mut ttft = [0.0; 8];
    for request in &record.requests {
        let replica = request.replica.expect("all are served");
        sent[replica] += 1;
        ttft[replica] += request.ttft().expect("all are served");
    }
    assert_eq!(sent, [1_000; 8]);
    let mean = ttft.iter().sum::<f64>() / 8.0;
    assert!(ttft.iter().all(|sum| (sum / mean - 1.0).abs() < 0.1), "{ttft:?}");
}

#[test]
fn with_one_replica_all_policies_are_equal() {
    let trace = mixed(100);
    let ends = |kind: &PolicyKind| {
        let record = simulate(&trace, &setup(1), kind);
        record
            .requests
            .iter()
            .map(|r| (r.arrived, r.first_token, r.finished, r.cached))
            .collect::<Vec<_>>()
    };
    let slotwise = ends(&PolicyKind::named("slotwise").expect("known"));
    assert!(slotwise.iter().all(|(_, _, finished, _)| finished.is_some()));
    for kind in POLICIES.iter().chain(&ABLATIONS) {
        assert_eq!(ends(kind), slotwise, "{}", kind.name);
    }
}

#[test]
fn the_json_object_has_the_promised_fields_in_order() {
    let trace = mixed(100);
    let kinds = [PolicyKind::named("round-robin").expect("known")];
    let one = serde_json::to_string(&compare(&trace, &setup(2), &kinds, 1)).expect("serializable");
    let fields: Vec<&str> =
        one.split('"').skip(1).step_by(2).filter(|name| !name.contains("llama")).collect();
    let expected = [
        "trace",
        "mixed",
        "replicas",
        "class",
        "speed",
        "policies",
        "policy",
        "round-robin",
        "requests",
        "completed",
        "rejected",
        "ttft_p50_s",
        "ttft_p90_s",
        "ttft_p99_s",
        "tpot_p90_s",
        "e2e_p50_s",
        "goodput",
        "hit_ratio",
        "throughput_rps",
        "imbalance",
        "adapter_loads",
    ];
    assert_eq!(fields, expected);
}
