//! One of 16 gateways of a pool, and the messages between it and the others.
//!
//! All together dispatch 5,000 requests a second to 1,000 endpoints. Each gateway has conversations
//! of its own, which take a turn of 500 new tokens every second.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use slotwise::{
    BlockHash, Config, Endpoint, EndpointId, Instant, PeerLoad, Request, RequestId, Scheduler,
    Usage,
};
use slotwise_gateway::peers::{PeerKey, PeerLink, Peers, PeersConfig};

use crate::MODEL;

/// A gateway's requests in a second.
const SHARE: usize = 312;
const OTHERS: u64 = 15;
const ENDPOINTS: usize = 1_000;
const NEW_TOKENS: usize = 500;
/// Microseconds between two requests of a gateway.
const STEP: u64 = 3_200;
const FIRST_TOKEN_AFTER: Duration = Duration::from_millis(300);
const END_AFTER: Duration = Duration::from_secs(1);

/// One gateway with its scheduler, and the state that the others report.
#[derive(Debug)]
pub struct SharedPool {
    now: Instant,
    scheduler: Scheduler,
    link: PeerLink,
    own: Turns<RequestId>,
    others: Vec<Other>,
}

/// Another gateway, without a scheduler.
#[derive(Debug)]
struct Other {
    number: u64,
    peers: Peers,
    turns: Turns<(usize, Vec<BlockHash>)>,
    /// Requests before and after their first token.
    loads: Vec<(u32, u32)>,
}

/// The requests of a gateway: all take the same time.
#[derive(Debug)]
struct Turns<T> {
    begun: usize,
    prefilling: VecDeque<(Instant, T)>,
    running: VecDeque<(Instant, T)>,
}

impl SharedPool {
    /// Gateways that have dispatched requests for three seconds.
    pub fn new(block_tokens: u32) -> Self {
        let block_size = NonZeroU32::new(block_tokens).expect("not zero");
        let mut config = Config::default();
        config.seed = 7;
        let mut scheduler = Scheduler::new(config).expect("valid");
        for number in 0..ENDPOINTS {
            let endpoint = Endpoint::new(format!("engine-{number}")).block_size(block_size);
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
        }
        let key = || PeerKey::new([7; 32]);
        let config = PeersConfig::new("gateway-0", key());
        let link = PeerLink::new(config, 1, &mut scheduler).expect("valid");
        let other = |number| {
            let config = PeersConfig::new(format!("gateway-{number}"), key());
            let peers = Peers::new(config, 1).expect("valid").hash_domain(scheduler.hash_domain());
            Other { number, peers, turns: Turns::new(), loads: vec![(0, 0); ENDPOINTS] }
        };
        let others = (1..=OTHERS).map(other).collect();
        let now = Instant::ORIGIN;
        let mut pool = Self { now, scheduler, link, own: Turns::new(), others };
        for _ in 0..3 {
            pool.second(block_tokens, |work| work());
        }
        pool
    }

    /// A second. What is encoded and applied happens in `measured`.
    pub fn second(&mut self, block_tokens: u32, mut measured: impl FnMut(&mut dyn FnMut())) {
        let keys: Vec<u64> = {
            let ids = self.scheduler.endpoints().map(|(id, _)| id);
            ids.filter_map(|id: EndpointId| self.scheduler.endpoint_key(id)).collect()
        };
        for _ in 0..SHARE {
            self.now = self.now + Duration::from_micros(STEP);
            self.dispatch();
            let mut messages = Vec::new();
            for other in &mut self.others {
                other.dispatch(self.now, block_tokens, &keys);
                while let Some(message) = other.peers.export_delta(self.now) {
                    messages.push(message);
                }
            }
            let Self { now, scheduler, link, .. } = self;
            measured(&mut || {
                while link.export_delta(*now, scheduler).is_some() {}
                for message in &messages {
                    link.apply_delta(*now, scheduler, message).expect("sealed");
                }
            });
        }
    }

    fn dispatch(&mut self) {
        let (conversation, turn) = self.own.next();
        let tokens: Vec<u32> =
            (0..turn * NEW_TOKENS).map(|at| (conversation << 16 | at) as u32).collect();
        let request = Request::new(MODEL).tokens(&tokens);
        let dispatch = self.scheduler.pick(self.now, &request).expect("room");
        self.own.begin(self.now, dispatch.request_id);
        while let Some(id) = self.own.first_token(self.now) {
            self.scheduler.handle_first_token(self.now, id).expect("in flight");
            self.own.run(self.now, id);
        }
        while let Some(id) = self.own.end(self.now) {
            self.scheduler.complete(self.now, id, Usage::default()).expect("in flight");
        }
    }
}

impl Other {
    fn dispatch(&mut self, now: Instant, block_tokens: u32, keys: &[u64]) {
        let (conversation, turn) = self.turns.next();
        let endpoint = (conversation * 16 + self.number as usize * 331) % ENDPOINTS;
        let first = self.number << 48 | (conversation as u64) << 32;
        let length = (turn * NEW_TOKENS) as u64 / u64::from(block_tokens);
        let blocks: Vec<BlockHash> = (first..first + length).map(BlockHash).collect();
        self.peers.insert_prefix(keys[endpoint], block_tokens, blocks.clone());
        self.loads[endpoint].0 += 1;
        self.report(endpoint, keys);
        self.turns.begin(now, (endpoint, blocks));
        while let Some((endpoint, blocks)) = self.turns.first_token(now) {
            let (prefilling, running) = &mut self.loads[endpoint];
            (*prefilling, *running) = (*prefilling - 1, *running + 1);
            self.report(endpoint, keys);
            self.turns.run(now, (endpoint, blocks));
        }
        while let Some((endpoint, blocks)) = self.turns.end(now) {
            self.loads[endpoint].1 -= 1;
            self.report(endpoint, keys);
            // The end of a request is a use of its prompt.
            self.peers.insert_prefix(keys[endpoint], block_tokens, blocks);
        }
    }

    fn report(&mut self, endpoint: usize, keys: &[u64]) {
        let mut load = PeerLoad::default();
        (load.prefilling, load.running) = self.loads[endpoint];
        load.booked = Duration::from_millis(180) * load.prefilling;
        load.kv_tokens = u64::from(load.requests()) * 2_400;
        self.peers.set_load(keys[endpoint], load);
    }
}

impl<T> Turns<T> {
    fn new() -> Self {
        Self { begun: 0, prefilling: VecDeque::new(), running: VecDeque::new() }
    }

    /// The conversation that goes on next, and which turn of it this is.
    fn next(&mut self) -> (usize, usize) {
        self.begun += 1;
        (self.begun % SHARE, 1 + self.begun / SHARE)
    }

    fn begin(&mut self, now: Instant, request: T) {
        self.prefilling.push_back((now + FIRST_TOKEN_AFTER, request));
    }

    fn first_token(&mut self, now: Instant) -> Option<T> {
        due(&mut self.prefilling, now)
    }

    fn run(&mut self, now: Instant, request: T) {
        self.running.push_back((now + (END_AFTER - FIRST_TOKEN_AFTER), request));
    }

    fn end(&mut self, now: Instant) -> Option<T> {
        due(&mut self.running, now)
    }
}

fn due<T>(waiting: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    waiting.front().filter(|(at, _)| *at <= now)?;
    waiting.pop_front().map(|(_, request)| request)
}
