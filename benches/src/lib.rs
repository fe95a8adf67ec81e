//! Seeded workloads for the benchmarks: pools that have seen traffic, and prompts that share prefixes as chats do.

use std::num::NonZeroU32;

use slotwise::{
    BlockStored, Endpoint, EndpointId, EngineHash, Instant, KvEvent, Request, RequestId, Rng,
    Scheduler, Usage,
};

/// A prompt in both forms.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// As text.
    pub text: String,
    /// As token ids.
    pub tokens: Vec<u32>,
}

/// Prompts of one length: half of each is one of a few shared beginnings, the rest its own.
pub fn prompts(count: usize, bytes: usize, tokens: usize, seed: u64) -> Vec<Prompt> {
    let mut rng = Rng::new(seed);
    let shared: Vec<Prompt> = (0..8).map(|_| random(&mut rng, bytes / 2, tokens / 2)).collect();
    (0..count)
        .map(|_| {
            let beginning = &shared[rng.below(8) as usize];
            let own = random(&mut rng, bytes - bytes / 2, tokens - tokens / 2);
            Prompt {
                text: format!("{}{}", beginning.text, own.text),
                tokens: [&beginning.tokens[..], &own.tokens[..]].concat(),
            }
        })
        .collect()
}

fn random(rng: &mut Rng, bytes: usize, tokens: usize) -> Prompt {
    let letters = b"etaoinshrdlucmfwypvbgk    ";
    let text =
        (0..bytes).map(|_| char::from(letters[rng.below(letters.len() as u64) as usize])).collect();
    Prompt { text, tokens: (0..tokens).map(|_| rng.below(128_000) as u32).collect() }
}

/// A pool under traffic: its index holds the prompts that were sent so far, and a few requests are in flight on every
/// endpoint.
#[derive(Debug)]
pub struct Gateway {
    scheduler: Scheduler,
    now: u64,
    /// Between two requests: each endpoint has one a second, or the pool a thousand.
    step: u64,
    in_flight: std::collections::VecDeque<RequestId>,
    depth: usize,
}

impl Gateway {
    /// `endpoints` endpoints that have served `prompts` in the form that `ask` gives them.
    pub fn new(endpoints: usize, prompts: &[Prompt], ask: fn(&Prompt) -> Request<'_>) -> Self {
        let mut gateway = Self::idle(endpoints);
        gateway.depth = 4 * endpoints;
        for prompt in prompts {
            gateway.serve(&ask(prompt));
        }
        gateway
    }

    /// `endpoints` endpoints on which no request stays.
    pub fn idle(endpoints: usize) -> Self {
        let mut scheduler = Scheduler::default();
        for number in 0..endpoints {
            let endpoint =
                Endpoint::new(format!("http://10.0.{}.{}:8000", number / 256, number % 256));
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
        }
        let step = (1_000_000 / endpoints as u64).clamp(1, 1_000);
        Self { scheduler, now: 0, step, in_flight: Default::default(), depth: 0 }
    }

    /// `endpoints` endpoints whose engines say that they all hold these tokens, and on which no request stays.
    pub fn sharing(endpoints: usize, model: &str, tokens: &[u32]) -> Self {
        let mut gateway = Self::idle(endpoints);
        let names: Vec<EngineHash> = (0..tokens.len() as u64 / 16).map(EngineHash).collect();
        let sixteen = NonZeroU32::new(16).expect("not zero");
        let stored =
            BlockStored::new(&names, sixteen).tokens(&tokens[..16 * names.len()]).model(model);
        for number in 0..endpoints as u64 {
            let (endpoint, event) = (EndpointId::from_u64(number), KvEvent::BlockStored(stored));
            gateway
                .scheduler
                .handle_kv_event(Instant::ORIGIN, endpoint, event)
                .expect("there is room");
        }
        gateway
    }

    /// Picks an endpoint for one request, which is what is measured, and ends the oldest one in flight.
    pub fn serve(&mut self, request: &Request<'_>) -> u64 {
        self.now += self.step;
        let now = Instant::from_micros(self.now);
        let dispatch = self.scheduler.pick(now, request).expect("there is room");
        self.in_flight.push_back(dispatch.request_id);
        if self.in_flight.len() > self.depth
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.scheduler.handle_first_token(now, oldest).expect("in flight");
            self.scheduler.complete(now, oldest, Usage::default()).expect("in flight");
        }
        dispatch.endpoint_id.as_u64()
    }

    /// Closes an endpoint to new requests, and opens it again: two changes of what a glance sees of it.
    pub fn close_and_open(&mut self, endpoint: u64) {
        let (now, endpoint) = (Instant::from_micros(self.now), EndpointId::from_u64(endpoint));
        self.scheduler.drain_endpoint(now, endpoint).expect("in the pool");
        self.scheduler.resume_endpoint(now, endpoint).expect("in the pool");
    }

    /// Asks for an explanation, which changes nothing: the pick without its reservation.
    pub fn explain(&self, request: &Request<'_>) -> usize {
        self.scheduler.explain(Instant::from_micros(self.now), request).candidates.len()
    }
}
