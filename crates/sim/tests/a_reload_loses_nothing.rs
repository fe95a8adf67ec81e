//! A configuration that changes under 1,000 requests a second loses no request, books none twice
//! and keeps the order of the queue. Requests of different endpoints may pass each other.

mod support;

use std::time::Duration;

use slotwise::Config;
use slotwise_sim::compare::{Configured, compare_with};
use slotwise_sim::fleet::{Record, Setup};
use slotwise_sim::policy::{Booked, Reload};
use slotwise_sim::replica::{Class, EngineConfig};

use support::{poisson, setup};

/// A little less than four seconds, in which the queue at the gateway grows and shrinks.
const REQUESTS: usize = 3_900;

fn fleet() -> Setup {
    let class: Class = "llama-8b-h100".parse().expect("known");
    Setup { engine: EngineConfig::new(class), ..setup(12) }
}

/// Runs 1,000 requests a second and one reload each quarter of a second.
fn run(changes: &[fn(&mut Config)]) -> Record {
    let reloads = (1..=12).map(|number| {
        let mut config = Config::default();
        if let Some(change) = changes.get(number % changes.len().max(1)) {
            change(&mut config);
        }
        Reload { at: Duration::from_millis(250 * number as u64), config }
    });
    let reloads = if changes.is_empty() { Vec::new() } else { reloads.collect() };
    let own = Configured { config: Config::default(), reloads };
    let trace = poisson(REQUESTS, 1_000.0, 220, 8);
    let compared = compare_with(&trace, &fleet(), &[], &own, 1).expect("valid");
    compared.policies.into_iter().next().expect("one policy").record
}

/// Limits, prices and queue times that differ; the first has the defaults.
const CHANGES: [fn(&mut Config); 4] = [
    |_| {},
    |config| config.max_in_flight = 20,
    |config| {
        config.prices.queue = 3.0;
        config.flow.max_queued_prefill /= 4;
    },
    |config| {
        config.kv_limit = 0.5;
        config.flow.ttl = Duration::from_secs(30);
    },
];

#[test]
fn no_request_is_lost_or_booked_twice() {
    let record = run(&CHANGES);
    assert_eq!(record.requests.len(), REQUESTS);
    for request in &record.requests {
        assert!(request.refused.is_none() && request.finished.is_some(), "{request:?}");
    }
    assert_eq!(record.booked, Some(Booked::default()), "everything was given back");
    assert_eq!(record.reloads.len(), 12);
    for reload in &record.reloads {
        assert_eq!(reload.before, reload.after, "a reload moves no request");
        assert_eq!(reload.after.in_flight, reload.after.on_endpoints, "{reload:?}");
    }
    let busiest = record.reloads.iter().map(|reload| reload.before.in_flight).max();
    assert!(busiest > Some(50), "{:?}", record.reloads);
    assert!(record.reloads.iter().any(|it| it.before.queued > 0), "{:?}", record.reloads);
}

#[test]
fn requests_reach_each_endpoint_in_the_order_of_their_arrival() {
    let record = run(&CHANGES);
    let waited = record.requests.iter().filter(|it| it.dispatched > Some(it.arrived)).count();
    assert!(waited > 100, "{waited} requests waited at the gateway");
    for replica in 0..12 {
        let its = record.requests.iter().filter(|request| request.replica == Some(replica));
        let times: Vec<_> = its.map(|request| request.dispatched).collect();
        assert!(times.is_sorted(), "requests are equal, so none may pass another at {replica}");
    }
}

#[test]
fn a_reload_without_a_change_has_no_effect() {
    let (with, without) = (run(&[|_| {}]), run(&[]));
    assert_eq!(with.requests, without.requests);
    assert_eq!((with.reloads.len(), without.reloads.len()), (12, 0));
}

#[test]
fn a_field_that_cannot_change_is_refused_before_the_run() {
    let mut config = Config::default();
    config.max_endpoints -= 1;
    let reloads = vec![Reload { at: Duration::from_secs(1), config }];
    let own = Configured { config: Config::default(), reloads };
    let refused = compare_with(&poisson(20, 10.0, 100, 2), &fleet(), &[], &own, 1);
    assert_eq!(refused.expect_err("fixed").field, "max_endpoints");
}
