//! A quota that several gateways share holds for all of them together, as if there was one: with
//! messages that are late, lost, repeated and reordered, with refunds, and over restarts.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{Instant, Rng, Usage};
use slotwise_gateway::gates::{Access, Demand, Gates, GatesConfig, Grant, Measure, Quota};
use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};

const WINDOW: Duration = Duration::from_secs(60);
const LIMIT: u64 = 60_000;
const PROMPT: u64 = 60;
const OUTPUT: u64 = 60;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn gates(shared: bool) -> Gates {
    let mut access = Access::default();
    access.limits.quotas.push(Quota::new(Measure::Tokens, LIMIT, WINDOW));
    access.limits.concurrent_requests = Some(400);
    let mut config = GatesConfig::default();
    (config.anonymous, config.shared) = (Some(access), shared);
    Gates::new(config).expect("valid")
}

fn peers(number: usize, incarnation: u64) -> Peers {
    let config = PeersConfig::new(format!("gateway-{number}"), PeerKey::new([7; 32]));
    Peers::new(config, incarnation).expect("valid")
}

/// One gateway. Its clock is ahead of the others'.
struct Gateway {
    gates: Gates,
    peers: Peers,
    ahead_ms: u64,
    in_flight: Vec<(u64, Grant, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    gateways: usize,
    loss: f64,
    seed: u64,
    /// When the first gateway restarts, if it does.
    restart_ms: Option<u64>,
}

struct Fleet {
    gateways: Vec<Gateway>,
    /// Messages: arrival, receiver, bytes.
    mail: Vec<(u64, usize, Vec<u8>)>,
    rng: Rng,
    loss: f64,
}

impl Fleet {
    fn new(shape: Shape) -> Self {
        let gateway = |number: usize| Gateway {
            gates: gates(shape.gateways > 1),
            peers: peers(number, 1),
            ahead_ms: 1_000 + 777 * number as u64,
            in_flight: Vec::new(),
        };
        let gateways = (0..shape.gateways).map(gateway).collect();
        Self { gateways, mail: Vec::new(), rng: Rng::new(shape.seed), loss: shape.loss }
    }

    /// Ends requests, and sends and receives all that is due.
    fn step(&mut self, ms: u64) {
        for number in 0..self.gateways.len() {
            let gateway = &mut self.gateways[number];
            let now = at(ms + gateway.ahead_ms);
            let (ended, left) = std::mem::take(&mut gateway.in_flight)
                .into_iter()
                .partition(|(end, ..)| *end <= ms);
            gateway.in_flight = left;
            for (_, grant, output) in ended {
                let usage = Usage::default().prompt_tokens(PROMPT as u32).completion_tokens(output);
                gateway.gates.settle(now, grant, &usage);
            }
            gateway.peers.exchange_usage(now, &mut gateway.gates);
            let messages: Vec<_> = std::iter::from_fn(|| gateway.peers.export_delta(now)).collect();
            for bytes in messages {
                self.post(ms, number, &bytes);
            }
        }
        let (due, late) =
            std::mem::take(&mut self.mail).into_iter().partition(|(arrival, ..)| *arrival <= ms);
        self.mail = late;
        for (_, to, bytes) in due {
            let gateway = &mut self.gateways[to];
            let now = at(ms + gateway.ahead_ms);
            gateway.peers.apply_delta(now, &bytes).expect("valid");
            gateway.peers.exchange_usage(now, &mut gateway.gates);
        }
    }

    /// Sends a message to all others, each of which may get it late, twice or never.
    fn post(&mut self, ms: u64, sender: usize, bytes: &[u8]) {
        for to in (0..self.gateways.len()).filter(|to| *to != sender) {
            for _ in 0..1 + u64::from(self.rng.unit() < 0.1) {
                let delay = 1 + self.rng.next_u64() % 50;
                if self.rng.unit() >= self.loss {
                    self.mail.push((ms + delay, to, bytes.to_vec()));
                }
            }
        }
    }

    /// Offers a request to a gateway. Returns the tokens that it uses, if it is admitted.
    fn offer(&mut self, ms: u64, number: usize, output: u32, length_ms: u64) -> Option<u64> {
        let gateway = &mut self.gateways[number];
        let caller = gateway.gates.identify_key(None).expect("anonymous").client("same");
        let demand = Demand::new("llama", PROMPT, OUTPUT);
        let grant = gateway.gates.admit(at(ms + gateway.ahead_ms), &caller, &demand).ok()?;
        gateway.in_flight.push((ms + length_ms, grant, output));
        Some(PROMPT + u64::from(output))
    }
}

/// The tokens that were admitted in each second.
fn run(shape: Shape) -> Vec<u64> {
    let mut fleet = Fleet::new(shape);
    let mut load = Rng::new(shape.seed ^ 1);
    let mut admitted = vec![0; 200];
    for tick in 0..admitted.len() as u64 * 20 {
        let ms = tick * 50;
        fleet.step(ms);
        if shape.restart_ms == Some(ms) {
            let first = &mut fleet.gateways[0];
            // Its clock starts anew, and its clients come back to the others.
            (first.gates, first.peers, first.ahead_ms) = (gates(true), peers(0, 2), 5);
            first.in_flight.clear();
        }
        // About 20 requests a second; the quota has about eleven.
        let [arrives, which, output, length] = [(); 4].map(|()| load.next_u64());
        let number = (which % shape.gateways as u64) as usize;
        let output = (output % (OUTPUT + 1)) as u32;
        if arrives % 8 < 7 {
            let used = fleet.offer(ms, number, output, 500 + length % 8_000);
            admitted[(ms / 1_000) as usize] += used.unwrap_or(0);
        }
    }
    admitted
}

/// The most tokens that were admitted in a window.
fn most(admitted: &[u64]) -> u64 {
    admitted.windows(60).map(|window| window.iter().sum()).max().unwrap_or(0)
}

fn assert_as_one(shape: Shape) {
    let one = run(Shape { gateways: 1, loss: 0.0, restart_ms: None, ..shape });
    let all = run(shape);
    let within = |all: u64, one: u64| all.abs_diff(one) * 20 <= one;
    let sum = |admitted: &[u64]| admitted.iter().sum::<u64>();
    assert!(within(sum(&all), sum(&one)), "{} and {} tokens of {shape:?}", sum(&all), sum(&one));
    assert!(within(most(&all), most(&one)), "{} and {} of {shape:?}", most(&all), most(&one));
    assert!(sum(&one) < 200 * 20 * (PROMPT + OUTPUT / 2) * 7 / 8, "the quota limits one gateway");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn several_gateways_admit_what_one_admits(
        gateways in 2usize..9,
        loss in prop::sample::select(vec![0.0, 0.05, 0.2]),
        seed in any::<u64>(),
    ) {
        assert_as_one(Shape { gateways, loss, seed, restart_ms: None });
    }

    #[test]
    fn a_restart_forgets_no_usage(gateways in 2usize..5, seed in any::<u64>()) {
        assert_as_one(Shape { gateways, loss: 0.05, seed, restart_ms: Some(70_000) });
    }
}

#[test]
fn without_messages_each_gateway_grants_the_whole_quota() {
    let lost = run(Shape { gateways: 4, loss: 1.0, seed: 1, restart_ms: None });
    let one = run(Shape { gateways: 1, loss: 0.0, seed: 1, restart_ms: None });
    assert!(lost.iter().sum::<u64>() > one.iter().sum::<u64>() * 5 / 4);
}

#[test]
fn requests_of_a_peer_count_until_it_has_been_silent() {
    let mut fleet = Fleet::new(Shape { gateways: 2, loss: 0.0, seed: 3, restart_ms: None });
    for _ in 0..400 {
        assert!(fleet.offer(0, 0, 1, 600_000).is_some(), "within the limit of 400");
    }
    for ms in (0..1_000).step_by(50) {
        fleet.step(ms);
    }
    assert_eq!(fleet.offer(1_000, 1, 1, 1), None, "400 are in flight at the peer");
    fleet.loss = 1.0;
    for ms in (1_000..6_000).step_by(50) {
        fleet.step(ms);
    }
    // The peer's tokens stay used.
    assert!(fleet.offer(6_000, 1, 1, 1).is_some(), "the peer is silent");
}
