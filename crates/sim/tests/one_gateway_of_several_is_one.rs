//! Several gateways: one of them decides as one without peers, and messages replace what the others
//! do not see.

mod support;

use std::time::Duration;

use slotwise_sim::fleet::{Record, Setup, simulate};
use slotwise_sim::measure::Summary;
use slotwise_sim::policy::{Gateways, PolicyKind, Spread};
use slotwise_sim::trace::{Mix, Trace};

fn run(gateways: Option<Gateways>, trace: &Trace, speed: f64) -> Record {
    let setup = Setup { gateways, speed, ..support::setup(4) };
    simulate(trace, &setup, &PolicyKind::named("slotwise").expect("known"))
}

fn several(count: usize, delta_ms: Option<u64>, loss: f64) -> Option<Gateways> {
    let (delta, latency) = (delta_ms.map(Duration::from_millis), Duration::from_millis(5));
    Some(Gateways { count, spread: Spread::Random, delta, loss, latency })
}

#[test]
fn one_gateway_that_sends_messages_decides_as_one_that_does_not() {
    let mut trace = Trace::generate(Mix::Chat, 0);
    trace.truncate(300);
    let plain = run(None, &trace, 1.0);
    for delta_ms in [None, Some(0), Some(200)] {
        let one = run(several(1, delta_ms, 0.0), &trace, 1.0);
        assert_eq!(one.requests, plain.requests);
        assert_eq!(one.loads, plain.loads);
    }
}

#[test]
fn messages_bring_back_the_cache_hits_that_several_gateways_lose() {
    let mut trace = Trace::generate(Mix::Agents, 0);
    trace.truncate(600);
    let hits = |gateways| Summary::of(&run(gateways, &trace, 1.0)).hit_ratio;
    let (one, alone) = (hits(None), hits(several(8, None, 0.0)));
    let (joined, lossy) = (hits(several(8, Some(200), 0.0)), hits(several(8, Some(200), 0.05)));
    assert!(alone < one - 0.1, "{alone} of {one}");
    assert!(joined > one - 0.02 && lossy > one - 0.04, "{joined} and {lossy} of {one}");
}

#[test]
fn sessions_that_keep_their_gateway_keep_their_cache_hits_without_messages() {
    let mut trace = Trace::generate(Mix::Agents, 0);
    trace.truncate(600);
    let hits = |gateways| Summary::of(&run(gateways, &trace, 1.0)).hit_ratio;
    let by_session = several(8, None, 0.0).map(|it| Gateways { spread: Spread::Session, ..it });
    let (random, kept) = (hits(several(8, None, 0.0)), hits(by_session));
    assert!(kept > random + 0.1, "{kept} by session, {random} at random");
}

#[test]
fn a_run_with_losses_repeats_to_the_last_byte() {
    let mut trace = Trace::generate(Mix::Chat, 0);
    trace.truncate(200);
    let run = || run(several(4, Some(50), 0.2), &trace, 2.0);
    let (first, second) = (run(), run());
    assert_eq!(first.requests, second.requests);
    assert_eq!(first.traffic, second.traffic);
    assert!(first.traffic.is_some_and(|traffic| traffic.repeated > 0));
}
