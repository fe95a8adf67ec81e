//! Fair shares and priorities hold for all gateways together, as one gateway would keep them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    Config, Decision, Endpoint, Instant, PeerLoad, PrefillCost, Priority, Request, RequestId, Rng,
    Scheduler, Seconds, SharedService, Usage,
};
use slotwise_gateway::peers::{News, PeerKey, PeerLink, Peers, PeersConfig};

const MILLISECOND: Duration = Duration::from_millis(1);
/// How long a message is on its way.
const LATENCY: Duration = Duration::from_millis(5);
/// The time in which all gateways know of a change: an interval, and the way of the message.
const TOLD: Duration = Duration::from_millis(210);
/// The time of an engine for a token of a prompt.
const TOKEN: Duration = Duration::from_micros(100);

/// What one client sends: always so many requests wait, each of so many tokens.
#[derive(Clone, Copy)]
struct Client {
    flow: &'static str,
    priority: i32,
    weight: f64,
    tokens: usize,
    waiting: usize,
    /// The gateways that it sends to, as a part of all.
    gateways: (f64, f64),
}

impl Client {
    const fn new(flow: &'static str, waiting: usize) -> Self {
        let (priority, weight, tokens, gateways) = (0, 1.0, 2_000, (0.0, 1.0));
        Self { flow, priority, weight, tokens, waiting, gateways }
    }
}

struct Gateway {
    scheduler: Scheduler,
    link: Option<PeerLink>,
    /// Sends and dispatches nothing any more.
    is_dead: bool,
}

/// A request in flight: when its prefill ends, where it is, and whose it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Flying {
    ends: Instant,
    gateway: usize,
    id: RequestId,
}

/// A run, and the seconds of prefill that each client has received.
struct Run {
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    waiting: Vec<usize>,
    of: BTreeMap<(usize, RequestId), usize>,
    flying: BinaryHeap<Reverse<Flying>>,
    free_at: BTreeMap<String, Instant>,
    mail: Vec<(Instant, usize, Vec<u8>)>,
    rng: Rng,
    served: Vec<f64>,
    /// Since when requests of a priority wait for an engine, by gateway and engine.
    claims: BTreeMap<(usize, String), (i32, Instant)>,
    /// Requests that were dispatched although one of a higher priority had waited for the engine at
    /// another gateway for longer than messages take.
    overtaken: usize,
}

impl Run {
    fn new(gateways: usize, delta: bool, clients: &[Client]) -> Self {
        let gateways = (0..gateways).map(|number| {
            let mut config = Config::default();
            config.seed = 7;
            config.prefill = PrefillCost::new(Seconds::from(TOKEN), Seconds::ZERO);
            let mut scheduler = Scheduler::new(config).expect("valid");
            for endpoint in 0..4 {
                let endpoint = Endpoint::new(format!("engine-{endpoint}"));
                scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
            }
            let key = PeerKey::new([7; 32]);
            let config = PeersConfig::new(format!("gateway-{number}"), key);
            let link = delta.then(|| PeerLink::new(config, 1, &mut scheduler).expect("valid"));
            Gateway { scheduler, link, is_dead: false }
        });
        Self {
            gateways: gateways.collect(),
            clients: clients.to_vec(),
            waiting: vec![0; clients.len()],
            of: BTreeMap::new(),
            flying: BinaryHeap::new(),
            free_at: BTreeMap::new(),
            mail: Vec::new(),
            rng: Rng::new(1),
            served: vec![0.0; clients.len()],
            claims: BTreeMap::new(),
            overtaken: 0,
        }
    }

    /// Runs for so many seconds. What is served in the first ones does not count.
    fn run(mut self, seconds: u64, warm_up: u64) -> Self {
        self.go_on(0, seconds, warm_up);
        self
    }

    /// Runs from one second to another. What is served before `begin` does not count.
    fn go_on(&mut self, from: u64, to: u64, begin: u64) {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut now = at(from);
        while now < at(to) {
            now = now + MILLISECOND;
            self.submit(now);
            self.answer(now);
            self.dispatch(now, at(begin));
            self.exchange(now);
        }
    }

    fn submit(&mut self, now: Instant) {
        for (number, client) in self.clients.iter().enumerate() {
            while self.waiting[number] < client.waiting {
                let (from, to) = client.gateways;
                let part = from + (to - from) * self.rng.unit();
                let gateway = (part * self.gateways.len() as f64) as usize;
                let tokens: Vec<u32> =
                    (0..client.tokens).map(|_| self.rng.next_u64() as u32).collect();
                let request = Request::new("m")
                    .tokens(&tokens)
                    .flow(client.flow)
                    .weight(client.weight)
                    .ttl(Duration::from_secs(3_600))
                    .priority(Priority(client.priority));
                let scheduler = &mut self.gateways[gateway].scheduler;
                let id = scheduler.submit(now, &request).expect("it can wait");
                self.of.insert((gateway, id), number);
                self.waiting[number] += 1;
            }
        }
    }

    fn answer(&mut self, now: Instant) {
        while self.flying.peek().is_some_and(|Reverse(it)| it.ends <= now) {
            let Some(Reverse(Flying { gateway, id, .. })) = self.flying.pop() else { return };
            let scheduler = &mut self.gateways[gateway].scheduler;
            scheduler.handle_first_token(now, id).expect("in flight");
            let mut usage = Usage::default();
            usage.completion_tokens = Some(1);
            scheduler.complete(now, id, usage).expect("in flight");
        }
    }

    fn dispatch(&mut self, now: Instant, begin: Instant) {
        let living = self.gateways.iter_mut().enumerate().filter(|(_, it)| !it.is_dead);
        for (number, gateway) in living {
            while let Some(decision) = gateway.scheduler.poll_decision(now) {
                let Decision::Dispatch(dispatch) = decision else { panic!("{decision:?}") };
                let id = dispatch.request_id;
                let name = gateway.scheduler.endpoint(dispatch.endpoint_id).expect("known");
                let client = self.of.remove(&(number, id)).expect("submitted");
                let work = TOKEN * dispatch.prompt_tokens;
                let free_at = self.free_at.entry(name.name.clone()).or_insert(now);
                *free_at = (*free_at).max(now) + work;
                self.flying.push(Reverse(Flying { ends: *free_at, gateway: number, id }));
                self.waiting[client] -= 1;
                if now >= begin {
                    self.served[client] += work.as_secs_f64();
                    let priority = self.clients[client].priority;
                    let known = self.claims.iter().any(|((gateway, engine), (other, since))| {
                        *gateway != number
                            && *engine == name.name
                            && *other > priority
                            && *since + TOLD < now
                    });
                    self.overtaken += usize::from(known);
                }
            }
        }
        self.claim(now);
    }

    /// Notes which engines requests wait for.
    fn claim(&mut self, now: Instant) {
        for (number, gateway) in self.gateways.iter().enumerate() {
            for (id, endpoint) in gateway.scheduler.endpoints() {
                let key = (number, endpoint.name.clone());
                let load = gateway.scheduler.load_for_peers(now, id).expect("known");
                match load.waiting {
                    Some(priority) if self.claims.get(&key).is_none_or(|it| it.0 != priority) => {
                        self.claims.insert(key, (priority, now));
                    }
                    Some(_) => {}
                    None => {
                        self.claims.remove(&key);
                    }
                }
            }
        }
    }

    fn exchange(&mut self, now: Instant) {
        let (due, later) = self.mail.drain(..).partition(|(at, ..)| *at <= now);
        self.mail = later;
        let due: Vec<(Instant, usize, Vec<u8>)> = due;
        for (number, gateway) in self.gateways.iter_mut().enumerate() {
            let Some(link) = gateway.link.as_mut().filter(|_| !gateway.is_dead) else { continue };
            for (_, _, bytes) in due.iter().filter(|(_, sender, _)| *sender != number) {
                link.apply_delta(now, &mut gateway.scheduler, bytes).expect("sealed");
            }
            while let Some(bytes) = link.export_delta(now, &mut gateway.scheduler) {
                self.mail.push((now + LATENCY, number, bytes));
            }
        }
    }

    /// The share of each client in the service.
    fn shares(&self) -> Vec<f64> {
        let all: f64 = self.served.iter().sum();
        self.served.iter().map(|served| served / all).collect()
    }
}

const EVEN: [Client; 3] = [Client::new("a", 40), Client::new("b", 40), Client::new("c", 40)];

/// The shares of the clients, and the seconds of prefill of all engines together.
fn shares(gateways: usize, delta: bool, clients: &[Client]) -> (Vec<f64>, f64) {
    let run = Run::new(gateways, delta, clients).run(60, 10);
    (run.shares(), run.served.iter().sum())
}

/// How far the shares are from those of one gateway, in parts of these.
fn distance(shares: &[f64], one: &[f64]) -> f64 {
    let parts = shares.iter().zip(one).map(|(share, one)| (share / one - 1.0).abs());
    parts.fold(0.0, f64::max)
}

#[test]
fn flows_that_come_through_other_gateways_get_the_shares_that_one_gateway_gives() {
    let mut uneven = EVEN;
    uneven[0].gateways = (0.0, 0.5);
    let mut sizes = EVEN;
    (sizes[0].tokens, sizes[1].weight) = (4_000, 2.0);
    for (name, clients) in [("even", EVEN), ("uneven", uneven), ("sizes", sizes)] {
        let (one, _) = shares(1, true, &clients);
        for gateways in [2, 8] {
            let (together, seconds) = shares(gateways, true, &clients);
            let far = distance(&together, &one);
            assert!(far < 0.05, "{name} through {gateways}: {together:?} and not {one:?}");
            // Four engines for fifty seconds: nothing is idle, and nothing queues at engines.
            assert!((194.0..206.0).contains(&seconds), "{name}: {seconds}");
        }
    }
    let (one, _) = shares(1, true, &uneven);
    let (apart, _) = shares(8, false, &uneven);
    assert!(distance(&apart, &one) > 0.2, "without messages: {apart:?}");
}

/// Each flow comes through gateways of its own, of two or more.
fn apart() -> [Client; 3] {
    let mut clients = EVEN;
    (clients[0].gateways, clients[1].gateways) = ((0.0, 0.25), (0.25, 0.5));
    clients[2].gateways = (0.5, 1.0);
    clients
}

#[test]
fn flows_with_gateways_of_their_own_get_the_shares_that_one_gateway_gives() {
    let mut weights = apart();
    weights[1].weight = 2.0;
    let mut sizes = apart();
    sizes[2].tokens = 500;
    let mut halves = EVEN;
    (halves[0].gateways, halves[1].gateways) = ((0.0, 0.5), (0.0, 0.5));
    halves[2].gateways = (0.5, 1.0);
    for (name, clients) in
        [("apart", apart()), ("weights", weights), ("sizes", sizes), ("halves", halves)]
    {
        let (one, _) = shares(1, true, &clients);
        for gateways in [2, 4, 8] {
            let (together, seconds) = shares(gateways, true, &clients);
            let far = distance(&together, &one);
            assert!(far < 0.05, "{name} through {gateways}: {together:?} and not {one:?}");
            assert!((194.0..206.0).contains(&seconds), "{name}: {seconds}");
        }
    }
    for clients in [weights, halves] {
        let (one, _) = shares(1, true, &clients);
        let (alone, _) = shares(8, false, &clients);
        assert!(distance(&alone, &one) > 0.2, "without messages: {alone:?}");
    }
}

#[test]
fn room_is_not_left_to_the_flow_of_a_gateway_that_dies() {
    let mut run = Run::new(4, true, &apart());
    run.go_on(0, 20, 20);
    // The gateway of the first client, with all that waits there.
    (run.gateways[0].is_dead, run.clients[0].waiting) = (true, 0);
    run.go_on(20, 24, 20);
    let meanwhile: f64 = run.served.iter().sum();
    // Four engines for four seconds. It counts for the first three of them.
    assert!(meanwhile > 11.0, "{meanwhile}");
    run.served.fill(0.0);
    run.go_on(24, 54, 24);
    let (seconds, shares) = (run.served.iter().sum::<f64>(), run.shares());
    assert!((116.0..124.0).contains(&seconds), "{seconds}");
    assert!(distance(&shares[1..], &[0.5, 0.5]) < 0.05, "{shares:?}");
}

/// A client with a higher priority, whose requests always wait.
fn urgent() -> [Client; 2] {
    let mut clients = [Client::new("urgent", 12), Client::new("patient", 40)];
    (clients[0].priority, clients[0].gateways) = (1, (0.0, 0.5));
    clients
}

#[test]
fn a_request_leaves_room_to_those_of_a_higher_priority_at_other_gateways() {
    let (one, _) = shares(1, true, &urgent());
    assert!(one[0] > 0.99, "{one:?}");
    for gateways in [2, 8] {
        let run = Run::new(gateways, true, &urgent()).run(60, 10);
        let far = distance(&run.shares()[..1], &one[..1]);
        assert!(far < 0.05, "through {gateways}: {:?}", run.shares());
        // Of a thousand.
        assert!(run.overtaken <= 10, "{} were too early", run.overtaken);
    }
    let apart = Run::new(8, false, &urgent()).run(60, 10);
    assert!(apart.overtaken > 100 && apart.shares()[0] < 0.8, "without messages");
}

#[test]
fn a_claim_that_nothing_follows_wastes_little() {
    let mut run = Run::new(1, true, &[Client::new("patient", 40)]);
    let keys: Vec<u64> = {
        let scheduler = &run.gateways[0].scheduler;
        scheduler.endpoints().filter_map(|(id, _)| scheduler.endpoint_key(id)).collect()
    };
    let domain = run.gateways[0].scheduler.hash_domain();
    let mut liar = Peers::new(PeersConfig::new("liar", PeerKey::new([7; 32])), 1)
        .expect("valid")
        .hash_domain(domain);
    let mut load = PeerLoad::default();
    load.waiting = Some(i32::MAX);
    keys.iter().for_each(|key| liar.set_load(*key, load));
    for second in 0..61 {
        let now = Instant::ORIGIN + Duration::from_secs(second);
        while let Some(bytes) = liar.export_delta(now) {
            run.mail.push((now, usize::MAX, bytes));
        }
    }
    let run = run.run(60, 10);
    // Four engines for fifty seconds, without half a second of every five and a half.
    assert!(run.served[0] > 180.0, "{:?}", run.served);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is lost for a while, repeated and reordered: each peer counts what was served once,
    /// and knows in the end which flows wait.
    #[test]
    fn service_counts_once(
        served in prop::collection::vec(
            (0u64..4, -2i32..3, 0u64..5_000, 0u64..5_000, 0u32..4),
            1..40,
        ),
        seed in any::<u64>(),
    ) {
        let config = |name: &str| PeersConfig::new(name, PeerKey::new([7; 32]));
        let mut a = Peers::new(config("a"), 1).expect("valid");
        let mut b = Peers::new(config("b"), 1).expect("valid");
        let (mut rng, mut now, mut mail) = (Rng::new(seed), Instant::ORIGIN, Vec::new());
        let (mut truth, mut heard) = (BTreeMap::new(), BTreeMap::new());
        let (mut waiting, mut told) = (BTreeMap::new(), BTreeMap::new());
        let note = |flows: &mut BTreeMap<_, u32>, it: &SharedService| {
            flows.remove(&(it.priority, it.flow));
            if it.waits {
                flows.insert((it.priority, it.flow), it.weight);
            }
        };
        let add = |sums: &mut BTreeMap<_, (u32, Duration, Duration)>, it: &SharedService| {
            let sum = sums.entry((it.priority, it.flow)).or_default();
            (sum.0, sum.1, sum.2) = (sum.0 + it.requests, sum.1 + it.charged, sum.2 + it.refunded);
        };
        // Then all that was lost is asked for.
        let quiet = (0..60).map(|_| None);
        for step in served.into_iter().map(Some).chain(quiet) {
            let is_lossy = step.is_some();
            if let Some((flow, priority, charged, refunded, weight)) = step {
                let mut service = SharedService::default();
                (service.flow, service.priority) = (flow, Priority(priority));
                service.requests = u32::from(charged > 1_000);
                (service.weight, service.waits) = (weight, weight > 1);
                note(&mut waiting, &service);
                service.charged = Duration::from_micros(charged);
                service.refunded = Duration::from_micros(refunded);
                add(&mut truth, &service);
                a.serve(service);
            }
            now = now + Duration::from_millis(100);
            while let Some(bytes) = a.export_delta(now) {
                let copies = if is_lossy { rng.next_u64() % 3 } else { 2 };
                mail.extend((0..copies).map(|_| bytes.clone()));
            }
            while let Some(bytes) = b.export_delta(now) {
                a.apply_delta(now, &bytes).expect("sealed");
            }
            while !mail.is_empty() && (!is_lossy || rng.next_u64() % 2 == 0) {
                let bytes = mail.swap_remove(rng.next_u64() as usize % mail.len());
                b.apply_delta(now, &bytes).expect("sealed");
            }
            while let Some(news) = b.poll_news(now) {
                if let News::Service(service) = news {
                    add(&mut heard, &service);
                    note(&mut told, &service);
                }
            }
        }
        heard.retain(|_, sum| *sum != (0, Duration::ZERO, Duration::ZERO));
        truth.retain(|_, sum| *sum != (0, Duration::ZERO, Duration::ZERO));
        prop_assert_eq!(heard, truth);
        prop_assert_eq!(&told, &waiting);

        // A silent peer's flows no longer wait, and wait again when it is back.
        now = now + Duration::from_secs(3);
        let drain = |b: &mut Peers, told: &mut BTreeMap<_, u32>, now| {
            while let Some(news) = b.poll_news(now) {
                if let News::Service(service) = news {
                    note(told, &service);
                }
            }
        };
        drain(&mut b, &mut told, now);
        prop_assert!(told.is_empty());
        while let Some(bytes) = a.export_delta(now) {
            b.apply_delta(now, &bytes).expect("sealed");
        }
        drain(&mut b, &mut told, now);
        prop_assert_eq!(&told, &waiting);

        // So does a gateway know them that starts late, and asks for the whole state.
        let mut late = Peers::new(config("late"), 1).expect("valid");
        let mut told = BTreeMap::new();
        for _ in 0..40 {
            now = now + Duration::from_millis(100);
            while let Some(bytes) = a.export_delta(now) {
                late.apply_delta(now, &bytes).expect("sealed");
            }
            while let Some(bytes) = late.export_delta(now) {
                a.apply_delta(now, &bytes).expect("sealed");
            }
            drain(&mut late, &mut told, now);
        }
        prop_assert_eq!(&told, &waiting);
    }

    /// Any order and any repetition of messages has one result.
    #[test]
    fn flows_wait_in_any_order_of_messages(
        states in prop::collection::vec((0u64..5, 0u32..4), 1..50),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
    ) {
        let gateway = |name: &str| {
            Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1).expect("valid")
        };
        let mut a = gateway("a");
        let mut waiting = BTreeMap::new();
        let mut messages = Vec::new();
        for (second, (flow, weight)) in (0..).zip(states) {
            let mut service = SharedService::default();
            (service.flow, service.weight, service.waits) = (flow, weight, weight > 0);
            a.serve(service);
            waiting.insert(flow, (service.waits, weight));
            let now = Instant::ORIGIN + Duration::from_secs(second);
            messages.extend(std::iter::from_fn(|| a.export_delta(now)));
        }
        waiting.retain(|_, (waits, _)| *waits);
        let picked = order.iter().map(|it| it.index(messages.len()));
        let shuffled: Vec<usize> = picked.chain((0..messages.len()).rev()).collect();
        let (mut b, mut told) = (gateway("b"), BTreeMap::new());
        for at in shuffled {
            b.apply_delta(Instant::ORIGIN, &messages[at]).expect("sealed");
            while let Some(news) = b.poll_news(Instant::ORIGIN) {
                if let News::Service(it) = news {
                    told.insert(it.flow, (it.waits, it.weight));
                }
            }
        }
        told.retain(|_, (waits, _)| *waits);
        prop_assert_eq!(told, waiting);
    }
}

#[test]
fn a_peer_claims_a_limited_number_of_flows() {
    let config = |name: &str| PeersConfig::new(name, PeerKey::new([7; 32]));
    let mut honest = Peers::new(config("honest"), 1).expect("valid");
    let mut liar = Peers::new(config("liar"), 1).expect("valid");
    let mut waiting = 0;
    for second in 0..5 {
        for flow in 0..4_000 {
            let mut service = SharedService::default();
            (service.flow, service.waits, service.weight) = (second << 32 | flow, true, u32::MAX);
            liar.serve(service);
        }
        let now = Instant::ORIGIN + Duration::from_secs(second);
        while let Some(bytes) = liar.export_delta(now) {
            honest.apply_delta(now, &bytes).expect("sealed");
        }
        while let Some(news) = honest.poll_news(now) {
            if let News::Service(service) = news {
                assert!(service.weight <= 1_000_000_000);
                waiting += usize::from(service.waits);
            }
        }
    }
    assert_eq!(waiting, 4_096);
}

#[test]
fn the_service_that_a_peer_may_report_is_limited() {
    let config = |name: &str| PeersConfig::new(name, PeerKey::new([7; 32]));
    let mut liar = Peers::new(config("liar"), 1).expect("valid");
    let mut honest = config("honest");
    honest.limits.service_per_second = 2;
    let mut honest = Peers::new(honest, 1).expect("valid");
    let mut heard = Duration::ZERO;
    for step in 0..40 {
        let now = Instant::ORIGIN + Duration::from_millis(250 * step);
        let mut service = SharedService::default();
        (service.requests, service.charged) = (1, Duration::from_secs(1 << 40));
        liar.serve(service);
        while let Some(bytes) = liar.export_delta(now) {
            honest.apply_delta(now, &bytes).expect("sealed");
        }
        while let Some(news) = honest.poll_news(now) {
            if let News::Service(service) = news {
                heard += service.charged;
            }
        }
    }
    // Eight seconds' worth at once, and ten seconds' worth after that.
    assert!(heard > Duration::from_secs(30) && heard <= Duration::from_secs(36), "{heard:?}");
    assert!(honest.stats().left_out > 0);
}
