//! A gateway whose fleet an autoscaler changes: replicas start after a time, and drain.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use slotwise::{Endpoint, EndpointId, Instant, Request, RequestId, Scheduler, Usage};

use super::hpa::{Hpa, SYNC};
use super::{Signal, Sizing};
use crate::policy::{Finished, Incoming, Policy};
use crate::replica::Class;

/// The scheduler as shipped, with an autoscaler beside it.
pub(super) struct Elastic {
    scheduler: Scheduler,
    signal: Signal,
    hpa: Hpa,
    class: Class,
    block_size: NonZeroU32,
    chunk: NonZeroU32,
    start_up: Duration,
    requests: HashMap<u32, RequestId>,
    /// Replicas that start, in order, and when they are ready.
    starting: BTreeMap<usize, Instant>,
    /// Replicas with an endpoint, in the order of their start.
    ready: Vec<(usize, EndpointId)>,
    draining: Vec<(usize, EndpointId)>,
    /// Replicas that do not run, the next one last.
    free: Vec<usize>,
    next_sync: Instant,
    usage: Rc<RefCell<Hours>>,
}

/// What the fleet used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hours {
    /// Hours of replicas, from the start of each to the end of its last request.
    pub(super) replica_hours: f64,
    /// The most replicas at once.
    pub(super) most: usize,
    until: Instant,
}

impl Elastic {
    pub(super) fn new(sizing: &Sizing, block_tokens: u32, usage: Rc<RefCell<Hours>>) -> Self {
        let scheduler = Scheduler::builder().seed(1).with(|config| {
            config.autoscaling.start_up = sizing.start_up;
        });
        let mut elastic = Self {
            scheduler: scheduler.build().expect("valid"),
            signal: sizing.signal,
            hpa: Hpa::new(sizing.target, [sizing.least, sizing.most]),
            class: sizing.class,
            block_size: NonZeroU32::new(block_tokens).expect("workloads have blocks"),
            chunk: NonZeroU32::new(2_048).expect("not zero"),
            start_up: sizing.start_up,
            requests: HashMap::new(),
            starting: BTreeMap::new(),
            ready: Vec::new(),
            draining: Vec::new(),
            free: (0..sizing.engines()).rev().collect(),
            next_sync: Instant::ORIGIN,
            usage,
        };
        for _ in 0..sizing.least {
            if let Some(replica) = elastic.free.pop() {
                elastic.open(Instant::ORIGIN, replica);
            }
        }
        elastic
    }

    fn open(&mut self, now: Instant, replica: usize) {
        let endpoint = Endpoint::new(format!("replica-{replica}"))
            .block_size(self.block_size)
            .kv_cache_tokens(self.class.kv_tokens)
            .prefill(self.class.prefill_cost(self.chunk));
        let id = self.scheduler.add_endpoint(now, endpoint).expect("names differ");
        self.ready.push((replica, id));
    }

    /// Applies what has come due before an event.
    fn tick(&mut self, now: Instant) {
        let running = self.starting.len() + self.ready.len() + self.draining.len();
        let mut usage = self.usage.borrow_mut();
        let elapsed = now.saturating_since(usage.until).as_secs_f64();
        usage.replica_hours += running as f64 * elapsed / 3_600.0;
        usage.most = usage.most.max(running);
        usage.until = usage.until.max(now);
        drop(usage);
        let due: Vec<usize> = self
            .starting
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(replica, _)| *replica)
            .collect();
        for replica in due {
            self.starting.remove(&replica);
            self.open(now, replica);
        }
        for at in (0..self.draining.len()).rev() {
            let (replica, id) = self.draining[at];
            if self.scheduler.in_flight_on(id) == Ok(0) {
                self.scheduler.remove_endpoint(now, id).expect("known");
                self.draining.remove(at);
                self.free.insert(0, replica);
            }
        }
        if now >= self.next_sync {
            self.next_sync = now + SYNC;
            self.sync(now);
        }
    }

    fn sync(&mut self, now: Instant) {
        let pool = self.scheduler.stats().pool;
        let ready = self.ready.len() as f64;
        let total = match self.signal {
            Signal::Queue => pool.queue_size.mean * ready,
            Signal::Kv => pool.kv_cache_utilization.mean * ready,
            Signal::Hint => pool.desired_replicas,
        };
        let replicas = self.ready.len() + self.starting.len();
        let wanted = self.hpa.sync(now, replicas, total);
        for _ in replicas..wanted {
            if let Some(replica) = self.free.pop() {
                self.starting.insert(replica, now + self.start_up);
            }
        }
        // Replicas that are not ready leave first, then the newest ones.
        for _ in wanted..replicas {
            if let Some((replica, _)) = self.starting.pop_last() {
                self.free.insert(0, replica);
            } else if let Some((replica, id)) = self.ready.pop() {
                self.scheduler.drain_endpoint(now, id).expect("known");
                self.draining.push((replica, id));
            }
        }
    }
}

impl Policy for Elastic {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.tick(now);
        let asked = Request::new("model").blocks(request.blocks, self.block_size, request.input);
        let dispatch = self.scheduler.pick(now, &asked).ok()?;
        self.requests.insert(request.id, dispatch.request_id);
        let id = dispatch.endpoint_id;
        self.ready.iter().find(|(_, known)| *known == id).map(|(replica, _)| *replica)
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        if let Some(request) = self.requests.get(&id) {
            self.scheduler.handle_first_token(now, *request).expect("in flight");
        }
        self.tick(now);
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        if let Some(request) = self.requests.remove(&id) {
            let usage = Usage::default()
                .prompt_tokens(usage.prompt)
                .cached_tokens(usage.cached)
                .completion_tokens(usage.completion);
            self.scheduler.complete(now, request, usage).expect("in flight");
        }
        self.tick(now);
    }
}
