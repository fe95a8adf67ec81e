//! Policies that hold requests back: every request has one end, quiet tenants do not feel greedy
//! ones, and sessions end as a whole.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use slotwise_sim::clients::{Classes, Clients, Group};
use slotwise_sim::compare::compare;
use slotwise_sim::fleet::{Outcome, Record, Setup, simulate};
use slotwise_sim::groups::Groups;
use slotwise_sim::policy::{FLOW, POLICIES, PolicyKind, Refusal};
use slotwise_sim::trace::Trace;
use support::{mixed, poisson, setup};

const CLASSES: Classes = Classes { batch: 0.8, interactive_priority: 1, batch_priority: 0 };

fn with(replicas: usize, speed: f64, clients: Clients) -> Setup {
    Setup { speed, clients, ..setup(replicas) }
}

fn policy(name: &str) -> PolicyKind {
    PolicyKind::named(name).expect("known")
}

/// Each request of the workload was answered once or refused for one reason, and none went before
/// it came.
fn check(record: &Record, requests: usize, name: &str) {
    assert_eq!(record.requests.len(), requests, "{name}");
    for r in &record.requests {
        assert_ne!(r.replica.is_some(), r.refused.is_some(), "{name}: {r:?}");
        assert_eq!(
            [r.dispatched.is_some(), r.first_token.is_some()],
            [r.replica.is_some(); 2],
            "{name}: {r:?}"
        );
        assert_eq!(r.finished.is_some(), r.replica.is_some(), "{name}: {r:?}");
        if let (Some(went), Some(first)) = (r.dispatched, r.first_token) {
            assert!(
                r.arrived <= went && went < first && Some(first) <= r.finished,
                "{name}: {r:?}"
            );
        }
    }
}

#[test]
fn nothing_is_lost_or_served_twice() {
    let trace = mixed(350);
    for kind in &FLOW {
        for (speed, guard) in [(1.0, false), (30.0, false), (30.0, true)] {
            let ttl = Duration::from_secs(5);
            let clients = Clients { classes: Some(CLASSES), tenants: 4, only: None, ttl, guard };
            let record = simulate(&trace, &with(2, speed, clients), kind);
            check(&record, trace.requests(), kind.name);
            let refused =
                record.requests.iter().any(|request| request.refused == Some(Refusal::Expired));
            // The others look at sessions, not at queues: a window can be full before the replicas
            // are, and KV memory that live requests use may never be.
            if kind.name.ends_with("-flow") {
                assert_eq!(refused, speed > 1.0, "{} at {speed}", kind.name);
            }
        }
    }
}

#[test]
fn a_refused_session_ends() {
    let trace = mixed(350);
    let clients = Clients { ttl: Duration::from_secs(2), ..Clients::default() };
    let record = simulate(&trace, &with(1, 30.0, clients), &policy("slotwise-flow"));
    check(&record, trace.requests(), "a refused session");
    assert!(record.requests.iter().any(|request| request.refused == Some(Refusal::Abandoned)));
}

#[test]
fn an_idle_fleet_holds_nobody() {
    let trace = poisson(400, 2.0, 700, 20);
    for kind in &FLOW {
        let record = simulate(&trace, &setup(8), kind);
        let waited = |r: &Outcome| r.dispatched.map(|at| at.saturating_since(r.arrived));
        assert!(record.requests.iter().all(|r| waited(r) == Some(Duration::ZERO)), "{}", kind.name);
    }
}

#[test]
fn same_seed_same_bytes() {
    let trace = mixed(200);
    let clients = Clients { classes: Some(CLASSES), tenants: 5, guard: true, ..Clients::default() };
    let run = || {
        serde_json::to_string(&compare(&trace, &with(2, 20.0, clients), &FLOW, 2))
            .expect("serializable")
    };
    assert_eq!(run(), run());
}

#[test]
fn who_sends_changes_nothing_for_policies_that_do_not_ask() {
    let trace = mixed(200);
    let ends = |clients, kind: &PolicyKind| {
        let record = simulate(&trace, &with(2, 5.0, clients), kind);
        record.requests.iter().map(|r| (r.arrived, r.replica, r.finished)).collect::<Vec<_>>()
    };
    let clients = Clients {
        classes: Some(CLASSES),
        tenants: 9,
        guard: true,
        ttl: Duration::from_secs(1),
        only: None,
    };
    for kind in &POLICIES {
        assert_eq!(ends(clients, kind), ends(Clients::default(), kind), "{}", kind.name);
    }
}

/// Two replicas that are offered 2.5 times what they can do, nearly all of it by one tenant.
fn greedy(rate: f64, input: u32) -> (Trace, Setup) {
    let clients = Clients { tenants: 3, ttl: Duration::from_secs(20), ..Clients::default() };
    (poisson(3_000, rate, input, 20), with(2, 1.0, clients))
}

fn p99(trace: &Trace, setup: &Setup, name: &str, of: &str) -> f64 {
    let groups = Groups::of(&simulate(trace, setup, &policy(name)), &setup.clients);
    groups.groups.iter().find(|group| group.group == of).expect("a group").ttft_p99_s
}

fn quiet_tenants_do_not_feel_it((trace, setup): (Trace, Setup)) {
    let alone =
        Setup { clients: Clients { only: Some(Group::Quiet), ..setup.clients }, ..setup.clone() };
    let alone = p99(&trace, &alone, "slotwise-flow", "quiet");
    let beside = p99(&trace, &setup, "slotwise-flow", "quiet");
    let without = p99(&trace, &setup, "slotwise", "quiet");
    assert!(beside < alone + 1.0, "{beside} s beside a greedy tenant, {alone} s alone");
    assert!(without > 10.0, "{without} s without flow control");
}

fn interactive_requests_do_not_feel_batch((trace, setup): (Trace, Setup), most: f64) {
    let clients = Clients { classes: Some(CLASSES), tenants: 1, ..setup.clients };
    let setup = Setup { clients, ..setup };
    let interactive = p99(&trace, &setup, "slotwise-flow", "interactive");
    let batch = p99(&trace, &setup, "slotwise-flow", "batch");
    assert!(interactive < most && batch > 10.0, "interactive {interactive} s, batch {batch} s");
}

#[test]
fn a_greedy_tenant_is_not_felt_with_long_prompts() {
    quiet_tenants_do_not_feel_it(greedy(8.0, 8_000));
}

#[test]
fn a_greedy_tenant_is_not_felt_with_short_prompts() {
    quiet_tenants_do_not_feel_it(greedy(330.0, 200));
}

#[test]
fn a_greedy_tenant_is_not_felt_with_prompts_of_one_step() {
    quiet_tenants_do_not_feel_it(greedy(33.0, 2_000));
}

#[test]
fn batch_is_not_felt_with_long_prompts() {
    interactive_requests_do_not_feel_batch(greedy(8.0, 8_000), 4.0);
}

#[test]
fn batch_is_not_felt_with_prompts_of_one_step() {
    interactive_requests_do_not_feel_batch(greedy(33.0, 2_000), 3.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_request_has_one_end_at_any_load(
        seed in 0u64..1_000,
        replicas in 1usize..4,
        speed in 1.0f64..60.0,
        ttl in 1u64..40,
        guard in any::<bool>(),
    ) {
        let trace = mixed(120);
        let clients =
            Clients { classes: Some(CLASSES), tenants: 3, only: None, ttl: Duration::from_secs(ttl), guard };
        let setup = Setup { seed, ..with(replicas, speed, clients) };
        for kind in &FLOW {
            check(&simulate(&trace, &setup, kind), trace.requests(), kind.name);
        }
    }
}
