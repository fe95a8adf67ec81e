//! Schedulers that exchange messages decide and send the same in every language; Python and Node
//! run the same files.
//!
//! A file of `links` is a list of cases. Each has gateways with the same endpoints, and steps:
//!
//! | step | does on the gateway `on` | has in `expect` |
//! |---|---|---|
//! | `pick` | picks for this prompt; `as` names the request | endpoint, cached tokens |
//! | `submit` | queues `times` copies of this text, for `flow` of `weight`; `as` names it | |
//! | `poll` | polls for all decisions | names and endpoints, when to poll again |
//! | `first_token`, `complete` | an input of the request of this name | |
//! | `send` | exports all messages, and applies them in these gateways | hex, results |
//! | `receive` | applies these bytes, as hex | the result, or its code in `error` |
//! | `state` | reads what it knows of its peers | alive, complete, due, counts |
//!
//! `at` is in milliseconds. `BLESS=1` writes the answers that are missing or differ.

#[path = "support/cases.rs"]
mod cases;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slotwise::{Config, Decision, Endpoint, Instant, Request, RequestId, Scheduler, Usage};
use slotwise_gateway::json::read_peers_config;
use slotwise_gateway::peers::{PeerKey, PeerLink};

use cases::run_cases;

#[test]
fn every_step_has_the_expected_answer() {
    run_cases("links", 1, run, written);
}

/// A gateway and the requests that it has picked.
struct Host {
    scheduler: Scheduler,
    link: PeerLink,
    requests: BTreeMap<String, RequestId>,
}

impl Host {
    fn new(config: &Value, seed: u64, endpoints: &[Value]) -> Self {
        let mut scheduler_config = Config::default();
        scheduler_config.seed = seed;
        let mut scheduler = Scheduler::new(scheduler_config).expect("valid");
        for endpoint in endpoints {
            let endpoint = Endpoint::new(endpoint.as_str().expect("a name"));
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
        }
        let mut peers = read_peers_config(&config.to_string()).expect("a configuration");
        peers.key = PeerKey::new("sixteen bytes or more");
        let link = PeerLink::new(peers, 1, &mut scheduler).expect("valid");
        Self { scheduler, link, requests: BTreeMap::new() }
    }

    fn pick(&mut self, now: Instant, step: &Value) -> Value {
        let prompt = step["pick"].as_str().expect("a prompt");
        let request = Request::new("m").text(prompt);
        let dispatch = self.scheduler.pick(now, &request).expect("an endpoint");
        self.requests.insert(step["as"].as_str().expect("a name").into(), dispatch.request_id);
        let endpoint = self.scheduler.endpoint(dispatch.endpoint_id).expect("known");
        json!([endpoint.name, dispatch.cached_tokens])
    }

    fn submit(&mut self, now: Instant, step: &Value) {
        let times = step["times"].as_u64().expect("a number") as usize;
        let prompt = step["submit"].as_str().expect("a text").repeat(times);
        let request = Request::new("m")
            .text(&prompt)
            .flow(step["flow"].as_str().expect("a flow"))
            .weight(step["weight"].as_f64().expect("a weight"));
        let id = self.scheduler.submit(now, &request).expect("it can wait");
        self.requests.insert(step["as"].as_str().expect("a name").into(), id);
    }

    fn poll(&mut self, now: Instant) -> Value {
        let mut decisions = Vec::new();
        while let Some(decision) = self.scheduler.poll_decision(now) {
            let Decision::Dispatch(dispatch) = decision else { panic!("{decision:?}") };
            let named = |(_, id): &(&String, &RequestId)| **id == dispatch.request_id;
            let (name, _) = self.requests.iter().find(named).expect("submitted");
            let endpoint = self.scheduler.endpoint(dispatch.endpoint_id).expect("known");
            decisions.push(json!([name, endpoint.name]));
        }
        json!([decisions, self.scheduler.next_timeout().map(|at| at.as_micros() / 1_000)])
    }

    fn request(&self, name: &Value) -> RequestId {
        self.requests[name.as_str().expect("a name")]
    }

    fn state(&mut self, now: Instant) -> Value {
        let due = self.link.next_timeout(now, &mut self.scheduler).as_micros() / 1_000;
        let peers = self.link.peers();
        let stats = peers.stats();
        json!({
            "alive": peers.alive().collect::<Vec<_>>(),
            "complete": peers.is_complete(),
            "due": due,
            "sent": stats.sent,
            "received": stats.received,
            "rejected": stats.rejected,
        })
    }
}

fn run(case: &mut Value, bless: bool) {
    let doc = case["doc"].as_str().expect("a doc").to_owned();
    let seed = case["seed"].as_u64().expect("a seed");
    let endpoints = case["endpoints"].as_array().expect("endpoints");
    let configs = case["gateways"].as_array().expect("gateways");
    let mut hosts: BTreeMap<String, Host> = configs
        .iter()
        .map(|it| (it["name"].as_str().expect("a name").into(), Host::new(it, seed, endpoints)))
        .collect();
    for step in case["steps"].as_array_mut().expect("steps") {
        let now = Instant::from_micros(step["at"].as_u64().expect("a time") * 1_000);
        let on = step["on"].as_str().expect("a gateway").to_owned();
        let host = hosts.get_mut(&on).expect("a known gateway");
        if step.get("pick").is_some() {
            let answer = host.pick(now, step);
            check(step, "expect", answer, bless, &doc);
        } else if step.get("submit").is_some() {
            host.submit(now, step);
        } else if step.get("poll").is_some() {
            let answer = host.poll(now);
            check(step, "expect", answer, bless, &doc);
        } else if let Some(name) = step.get("first_token") {
            host.scheduler.handle_first_token(now, host.request(name)).expect("in flight");
        } else if let Some(name) = step.get("complete") {
            let id = host.request(name);
            host.scheduler.complete(now, id, Usage::default()).expect("in flight");
        } else if let Some(to) = step.get("send").cloned() {
            let answer = send(&mut hosts, now, &on, to.as_array().expect("names"));
            check(step, "expect", answer, bless, &doc);
        } else if let Some(message) = step.get("receive") {
            let message = bytes(message.as_str().expect("hex"));
            match host.link.apply_delta(now, &mut host.scheduler, &message) {
                Ok(applied) => check(step, "expect", applied.as_str().into(), bless, &doc),
                Err(error) => check(step, "error", error.code().into(), bless, &doc),
            }
        } else {
            let answer = host.state(now);
            check(step, "expect", answer, bless, &doc);
        }
    }
}

/// All messages of a gateway, and what they are for each receiver.
fn send(hosts: &mut BTreeMap<String, Host>, now: Instant, from: &str, to: &[Value]) -> Value {
    let sender = hosts.get_mut(from).expect("known");
    let messages: Vec<Vec<u8>> =
        std::iter::from_fn(|| sender.link.export_delta(now, &mut sender.scheduler)).collect();
    let mut applied = Vec::new();
    for name in to {
        let receiver = hosts.get_mut(name.as_str().expect("a name")).expect("known");
        for message in &messages {
            let result = receiver.link.apply_delta(now, &mut receiver.scheduler, message);
            applied.push(result.expect("the same key").as_str());
        }
    }
    json!([messages.iter().map(|it| hex(it)).collect::<Vec<_>>(), applied])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let digits = pairs.map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

fn check(step: &mut Value, field: &str, answer: Value, bless: bool, doc: &str) {
    if bless {
        step[field] = answer;
    } else {
        assert_eq!(step[field], answer, "{doc}: {step}");
    }
}

/// One step a line.
fn written(cases: &[Value]) -> String {
    let lines = |values: &Value, indent: &str| {
        let values = values.as_array().expect("a list");
        let lines: Vec<String> = values.iter().map(|it| format!("{indent}{it}")).collect();
        lines.join(",\n")
    };
    let cases = cases.iter().map(|case| {
        format!(
            "  {{\n    \"doc\": {},\n    \"seed\": {},\n    \"endpoints\": {},\n    \"gateways\": \
             {},\n    \"steps\": [\n{}\n    ]\n  }}",
            case["doc"],
            case["seed"],
            case["endpoints"],
            case["gateways"],
            lines(&case["steps"], "      "),
        )
    });
    format!("[\n{}\n]\n", cases.collect::<Vec<_>>().join(",\n"))
}
