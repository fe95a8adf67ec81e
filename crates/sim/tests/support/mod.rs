//! What the tests have in common: small fleets and small workloads.
#![allow(dead_code, reason = "each test uses its own part")]

use std::sync::Arc;
use std::time::Duration;

use slotwise::{BlockHash, KvTransferCost};
use slotwise_sim::clients::Clients;
use slotwise_sim::fleet::Setup;
use slotwise_sim::pools::Pools;
use slotwise_sim::replica::{Class, EngineConfig};
use slotwise_sim::service_level::ServiceLevel;
use slotwise_sim::trace::{Arrivals, Mix, Session, Trace, Turn};

/// A fleet of `replicas` 70B servers.
pub(crate) fn setup(replicas: usize) -> Setup {
    Setup {
        replicas,
        pools: Pools { prefill: 0, decode: 0, transfer: KvTransferCost::default() },
        engine: EngineConfig::new(Class::default()),
        mix: None,
        deadline: Duration::MAX,
        level: ServiceLevel::default(),
        slow: None,
        scrape: Duration::from_millis(50),
        delay: Duration::from_millis(5),
        speed: 1.0,
        clients: Clients::default(),
        gateways: None,
        seed: 1,
    }
}

/// The first requests of the built-in workload.
pub(crate) fn mixed(requests: usize) -> Trace {
    let mut trace = Trace::generate(Mix::Mixed, 3);
    trace.truncate(requests);
    trace
}

/// Single requests of one length, at random times.
pub(crate) fn poisson(requests: usize, rate: f64, input: u32, output: u32) -> Trace {
    let turn = Turn { think: Duration::ZERO, input, output, blocks: [].into(), adapter: None };
    let session = Session { turns: vec![turn], ..Session::default() };
    Trace {
        name: "poisson".into(),
        block_tokens: 64,
        sessions: vec![session; requests],
        arrivals: Arrivals::Poisson(rate),
    }
}

/// One client that sends these prompts one after the other.
pub(crate) fn one_by_one(prompts: Vec<(u32, Arc<[BlockHash]>)>, block_tokens: u32) -> Trace {
    let turn =
        |(input, blocks)| Turn { think: Duration::ZERO, input, output: 1, blocks, adapter: None };
    let session = Session { turns: prompts.into_iter().map(turn).collect(), ..Session::default() };
    Trace {
        name: "one by one".into(),
        block_tokens,
        sessions: vec![session],
        arrivals: Arrivals::Recorded { seconds: vec![0.0], quantum: 0.0 },
    }
}
