//! A configuration changes a hundred times under 1,000 requests a second and a thousand requests
//! in the pools: each request has one outcome, none is booked twice, and a band's order holds.

#![cfg(feature = "config")]

use std::collections::BTreeMap;
use std::time::Duration;

use slotwise::{Decision, Instant, Request, RequestId, Rng, Usage};
use slotwise_gateway::config::{self, Configuration};
use slotwise_gateway::{Gateway, Pools};

fn read(text: &str) -> Configuration {
    config::read("gateway.yaml", text).expect("valid").configuration
}

/// A file with these endpoints of the first pool, and perhaps a second pool.
fn file(endpoints: &[u64], limit: u64, has_second: bool) -> Configuration {
    let listed: Vec<String> = endpoints
        .iter()
        .map(|at| format!("{{name: 'http://{at}:8000', max_in_flight: {}}}", 100 + limit % 3 * 50))
        .collect();
    let second = "- {name: second, endpoints: ['http://other:8000']}";
    read(&format!(
        "pools:\n- name: first\n  endpoints: [{}]\n  scheduler: {{max_in_flight: {limit}, flow: \
         {{max_queued_prefill: 5}}}}\n{}\n",
        listed.join(", "),
        if has_second { second } else { "" }
    ))
}

/// The requests of one pool, and what became of them.
#[derive(Default)]
struct Ledger {
    queued: BTreeMap<RequestId, ()>,
    running: Vec<RequestId>,
    last_dispatched: Option<RequestId>,
    ended: usize,
}

impl Ledger {
    fn poll(&mut self, now: Instant, gateway: &mut Gateway) {
        while let Some(decision) = gateway.poll_decision(now) {
            let id = decision.request_id();
            assert!(self.queued.remove(&id).is_some(), "a queued request has one outcome");
            let Decision::Dispatch(_) = decision else { panic!("none expires: {decision:?}") };
            assert!(self.last_dispatched < Some(id), "first come, first served");
            self.last_dispatched = Some(id);
            self.running.push(id);
        }
    }

    fn end(&mut self, now: Instant, gateway: &mut Gateway, rng: &mut Rng) {
        let at = rng.below(self.running.len() as u64) as usize;
        let id = self.running.swap_remove(at);
        gateway.scheduler_mut().complete(now, id, Usage::default()).expect("it runs");
        self.ended += 1;
    }

    fn check(&self, gateway: &Gateway) {
        let stats = gateway.scheduler().stats();
        assert_eq!((stats.queued, stats.in_flight), (self.queued.len(), self.running.len() as u64));
        let booked: u32 = stats.endpoints.iter().map(|it| it.prefilling + it.running).sum();
        assert_eq!(booked as usize, self.running.len(), "each is booked once");
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_booked_twice() {
    let (mut pools, mut rng) = (Pools::default(), Rng::new(7));
    let mut ledgers: BTreeMap<&str, Ledger> = BTreeMap::new();
    let mut has_second = true;
    pools.apply(Instant::ORIGIN, &file(&[0, 1, 2, 3], 600, true)).expect("accepted");
    let (mut submitted, mut most) = (0, 0);
    for millisecond in 0..5_000 {
        let now = Instant::ORIGIN + Duration::from_millis(millisecond);
        if millisecond % 50 == 0 {
            let kept = rng.below(16) | 1;
            let endpoints: Vec<u64> = (0..4).filter(|at| kept >> at & 1 == 1).collect();
            has_second = rng.below(2) == 0;
            pools.apply(now, &file(&endpoints, 300 + rng.below(600), has_second)).expect("valid");
            let mut bad = file(&[9], 1, false);
            bad.pool("first").scheduler.seed = 1;
            let problems = pools.apply(now, &bad).expect_err("a seed cannot change");
            assert_eq!(problems.len(), 1);
            assert!(problems[0].path.ends_with("seed"), "{}", problems[0].path);
            assert_eq!(
                pools.get("first").expect("configured").scheduler().endpoint_named("http://9:8000"),
                None
            );
        }
        let name = if has_second && rng.below(4) == 0 { "second" } else { "first" };
        let ids = [millisecond as u32; 40];
        let request = Request::new("m").tokens(&ids).ttl(Duration::from_secs(3_600));
        let scheduler = pools.get_mut(name).expect("configured").scheduler_mut();
        let id = scheduler.submit(now, &request).expect("the queue has room");
        submitted += 1;
        ledgers.entry(name).or_default().queued.insert(id, ());
        for (name, gateway) in pools.iter_mut() {
            let ledger =
                ledgers.entry(if name == "first" { "first" } else { "second" }).or_default();
            ledger.poll(now, gateway);
            if ledger.running.len() + ledger.queued.len() > 1_500 || rng.below(3) == 0 {
                for _ in 0..2.min(ledger.running.len()) {
                    ledger.end(now, gateway, &mut rng);
                }
                ledger.poll(now, gateway);
            }
            if millisecond % 10 == 0 {
                ledger.check(gateway);
            }
            most = most.max(ledger.running.len() + ledger.queued.len());
        }
        for left in pools.remove_idle(now) {
            assert_eq!(left.name, "second");
            let ledger = ledgers.get_mut("second").expect("it had requests");
            assert!(ledger.queued.is_empty() && ledger.running.is_empty(), "it was idle");
            ledger.last_dispatched = None;
        }
    }
    assert!(most > 1_000, "only {most} requests were in a pool");

    // At the end, everything leaves.
    let mut now = Instant::ORIGIN + Duration::from_secs(6);
    pools.apply(now, &Configuration::default()).expect("accepted");
    while pools.names().next().is_some() {
        now = now + Duration::from_millis(1);
        for (name, gateway) in pools.iter_mut() {
            let ledger = ledgers.get_mut(name).expect("it had requests");
            ledger.poll(now, gateway);
            if !ledger.running.is_empty() {
                ledger.end(now, gateway, &mut rng);
            }
        }
        pools.remove_idle(now);
    }
    assert_eq!(ledgers.values().map(|ledger| ledger.ended).sum::<usize>(), submitted);
}

#[test]
fn what_comes_back_stays() {
    let (now, mut pools) = (Instant::ORIGIN, Pools::default());
    pools.apply(now, &file(&[0, 1], 10, false)).expect("accepted");
    let scheduler = pools.get_mut("first").expect("configured").scheduler_mut();
    let discovered = scheduler.add_endpoint(now, slotwise::Endpoint::new("d")).expect("new");
    let ids: Vec<_> = ["http://0:8000", "http://1:8000"]
        .map(|name| scheduler.endpoint_named(name).expect("configured"))
        .into();
    pools.apply(now, &file(&[1], 10, false)).expect("accepted");
    assert_eq!(pools.get("first").expect("configured").scheduler().accepting_endpoints(), 2);
    pools.apply(now, &file(&[0, 1], 10, false)).expect("accepted");
    pools.remove_idle(now);
    let scheduler = pools.get("first").expect("configured").scheduler();
    assert_eq!(scheduler.accepting_endpoints(), 3);
    assert_eq!(scheduler.endpoint_named("http://0:8000"), Some(ids[0]));
    assert!(scheduler.endpoint(discovered).is_some(), "discovery's endpoints are not touched");
}
