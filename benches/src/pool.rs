//! A pool under traffic.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use slotwise::{
    BlockStored, Config, Endpoint, EndpointId, EngineHash, Instant, KvEvent, Load, PrefillCost,
    Priority, Request, RequestId, Rng, Scheduler, Stats, Usage,
};

use crate::{MODEL, Prompt};

/// A scheduler whose prefix index holds the prompts served so far, with a few requests in flight on
/// every endpoint.
#[derive(Debug)]
pub struct LoadedPool {
    scheduler: Scheduler,
    now_micros: u64,
    /// Microseconds between two requests: one request a second for each endpoint, at most a
    /// thousand.
    step_micros: u64,
    in_flight: VecDeque<(RequestId, EndpointId)>,
    /// Requests that stay in flight after [`serve`](Self::serve).
    depth: usize,
    /// Requests in flight on each endpoint.
    loads: Vec<u32>,
    /// The endpoint that reports its load next.
    reports_next: usize,
    /// Draws the load of other clients.
    others: Rng,
}

impl LoadedPool {
    /// `endpoints` endpoints that have served `prompts`, each as the request that `to_request`
    /// makes.
    pub fn new(
        endpoints: usize,
        prompts: &[Prompt],
        to_request: fn(&Prompt) -> Request<'_>,
    ) -> Self {
        let mut pool = Self::idle(endpoints);
        pool.depth = 4 * endpoints;
        for prompt in prompts {
            pool.serve(&to_request(prompt));
        }
        pool
    }

    /// `endpoints` endpoints on which no request stays in flight.
    pub fn idle(endpoints: usize) -> Self {
        Self::with_scheduler(endpoints, Scheduler::default(), PrefillCost::default)
    }

    /// Idle endpoints whose prefix index has memory for so many bytes.
    pub fn with_index_bytes(endpoints: usize, bytes: usize) -> Self {
        let mut config = Config::default();
        config.index.bytes = bytes;
        let scheduler = Scheduler::new(config).expect("a valid limit");
        Self::with_scheduler(endpoints, scheduler, PrefillCost::default)
    }

    fn with_scheduler(
        endpoints: usize,
        mut scheduler: Scheduler,
        mut prefill: impl FnMut() -> PrefillCost,
    ) -> Self {
        for number in 0..endpoints {
            let name = format!("http://10.0.{}.{}:8000", number / 256, number % 256);
            let endpoint = Endpoint::new(name).prefill(prefill());
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
        }
        let step_micros = (1_000_000 / endpoints as u64).clamp(1, 1_000);
        Self {
            scheduler,
            now_micros: 0,
            step_micros,
            in_flight: VecDeque::new(),
            depth: 0,
            loads: vec![0; endpoints],
            reports_next: 0,
            others: Rng::new(3),
        }
    }

    /// Idle endpoints whose engines have all reported these tokens in their caches.
    pub fn sharing(endpoints: usize, tokens: &[u32]) -> Self {
        let mut pool = Self::idle(endpoints);
        pool.share(1, tokens);
        pool
    }

    /// The same for one in `step` endpoints. Each has a speed of its own, down to a third of the
    /// default.
    pub fn of_differing_speeds(endpoints: usize, step: usize, tokens: &[u32]) -> Self {
        let mut rng = Rng::new(4);
        let PrefillCost { per_token, per_pair, .. } = PrefillCost::default();
        let slower = || {
            let slowdown = 1.0 + rng.below(2_000) as f64 / 1_000.0;
            PrefillCost::new(per_token * slowdown, per_pair * slowdown)
        };
        let mut pool = Self::with_scheduler(endpoints, Scheduler::default(), slower);
        pool.share(step, tokens);
        pool
    }

    /// The engine of one in `step` endpoints reports these tokens in its cache.
    fn share(&mut self, step: usize, tokens: &[u32]) {
        let names: Vec<EngineHash> = (0..tokens.len() as u64 / 16).map(EngineHash).collect();
        for number in (0..self.loads.len()).step_by(step) {
            self.store(number as u64, &names, &tokens[..16 * names.len()]);
        }
    }

    /// Reports that the engine of an endpoint stored these blocks of 16 tokens, which continue
    /// none.
    pub fn store(&mut self, endpoint: u64, names: &[EngineHash], tokens: &[u32]) {
        let sixteen = NonZeroU32::new(16).expect("not zero");
        let stored = BlockStored::new(names, sixteen).tokens(tokens).model(MODEL);
        let now = Instant::from_micros(self.now_micros);
        self.scheduler
            .handle_kv_event(now, EndpointId::from_u64(endpoint), KvEvent::BlockStored(stored))
            .expect("there is room");
    }

    /// Picks an endpoint for one request and ends the oldest request in flight. Returns the
    /// endpoint.
    pub fn serve(&mut self, request: &Request<'_>) -> u64 {
        self.now_micros += self.step_micros;
        let now = Instant::from_micros(self.now_micros);
        let dispatch = self.scheduler.pick(now, request).expect("there is room");
        self.in_flight.push_back((dispatch.request_id, dispatch.endpoint_id));
        self.loads[dispatch.endpoint_id.as_u64() as usize] += 1;
        if self.in_flight.len() > self.depth
            && let Some((oldest, endpoint)) = self.in_flight.pop_front()
        {
            self.loads[endpoint.as_u64() as usize] -= 1;
            self.scheduler.handle_first_token(now, oldest).expect("in flight");
            self.scheduler.complete(now, oldest, Usage::default()).expect("in flight");
        }
        dispatch.endpoint_id.as_u64()
    }

    /// The next endpoint reports its load. Up to two requests of other clients wait there, up to
    /// two run, and up to a tenth of its KV cache is theirs.
    pub fn report(&mut self) {
        let now = Instant::from_micros(self.now_micros);
        let endpoint = self.reports_next;
        self.reports_next = (endpoint + 1) % self.loads.len();
        let mut draw = |most: u64| self.others.below(most + 1) as u32;
        let load = Load::default().waiting(self.loads[endpoint] + draw(2)).running(draw(2));
        let load = load.kv_usage(f64::from(draw(10)) / 100.0);
        let endpoint = EndpointId::from_u64(endpoint as u64);
        self.scheduler.handle_load(now, endpoint, load).expect("in the pool");
    }

    /// Queues one request in each of so many bands.
    pub fn queue_in_bands(&mut self, bands: i32) {
        let now = Instant::from_micros(self.now_micros);
        for band in 0..bands {
            let request = Request::new(MODEL).tokens(&[1; 32]).priority(Priority(band));
            self.scheduler.submit(now, &request).expect("there is room");
        }
    }

    /// Submits a request that may be shed, and cancels it.
    pub fn submit_sheddable(&mut self) {
        let now = Instant::from_micros(self.now_micros);
        let request = Request::new(MODEL).tokens(&[1; 32]).priority(Priority(-1));
        let id = self.scheduler.submit(now, &request).expect("the pool has space");
        assert!(self.scheduler.cancel(now, id), "queued");
    }

    /// Lets a second pass. The learned speeds of all endpoints settle then.
    pub fn settle(&mut self) {
        self.now_micros += 1_000_000;
        assert!(self.scheduler.poll_decision(Instant::from_micros(self.now_micros)).is_none());
    }

    /// The scheduler's counters and gauges.
    pub fn stats(&self) -> Stats {
        self.scheduler.stats()
    }

    /// The same in the memory of earlier ones.
    pub fn stats_into(&self, stats: &mut Stats) {
        self.scheduler.stats_into(stats);
    }

    /// Drains an endpoint and resumes it: two updates of what the search reads of it.
    pub fn drain_and_resume(&mut self, endpoint: u64) {
        let (now, endpoint) =
            (Instant::from_micros(self.now_micros), EndpointId::from_u64(endpoint));
        self.scheduler.drain_endpoint(now, endpoint).expect("in the pool");
        self.scheduler.resume_endpoint(now, endpoint).expect("in the pool");
    }

    /// Explains a decision, which changes nothing: the pick without its reservation. Returns the
    /// number of candidates.
    pub fn explain(&self, request: &Request<'_>) -> usize {
        self.scheduler.explain(Instant::from_micros(self.now_micros), request).candidates.len()
    }
}
