//! A queue in which many requests wait.

use std::time::Duration;

use slotwise::{Decision, Endpoint, Instant, Priority, Request, RequestId, Scheduler};

use crate::MODEL;

const FLOWS: usize = 10_000;
const BANDS: i32 = 8;

/// A scheduler without endpoints whose queue has 10,000 flows in 8 bands.
///
/// Prompts have 32 tokens, so that hashing and lookups, which the `pick` workloads show, cost
/// little.
#[derive(Debug)]
pub struct FullQueue {
    scheduler: Scheduler,
    flows: Vec<String>,
    submitted: usize,
}

impl FullQueue {
    /// A queue in which `requests` requests wait.
    pub fn new(requests: usize) -> Self {
        let scheduler = Scheduler::builder().with(|config| {
            config.flow.max_requests = None;
            config.flow.band.max_requests = usize::MAX;
            config.flow.max_queued_prefill = Duration::from_secs(3_600);
        });
        let scheduler = scheduler.build().expect("valid");
        let flows = (0..FLOWS).map(|flow| format!("tenant {flow}")).collect();
        let mut queue = Self { scheduler, flows, submitted: 0 };
        for _ in 0..requests {
            queue.submit();
        }
        queue
    }

    /// Submits one more request.
    pub fn submit(&mut self) -> RequestId {
        let number = self.submitted;
        self.submitted += 1;
        let prompt: [u32; 32] = std::array::from_fn(|at| (number + at) as u32);
        let request = Request::new(MODEL).tokens(&prompt).flow(&self.flows[number % FLOWS]);
        let request = request.priority(Priority(number as i32 % BANDS));
        self.scheduler.submit(Instant::ORIGIN, &request).expect("there is room")
    }

    /// Submits one more request and cancels it.
    pub fn submit_and_cancel(&mut self) {
        let id = self.submit();
        assert!(self.scheduler.cancel(Instant::ORIGIN, id), "queued");
    }

    /// Adds an endpoint and polls until every queued request is dispatched to it. Returns their
    /// number.
    pub fn dispatch_all(&mut self) -> usize {
        self.scheduler.add_endpoint(Instant::ORIGIN, Endpoint::new("one")).expect("the first");
        std::iter::from_fn(|| self.poll()).count()
    }

    fn poll(&mut self) -> Option<Decision> {
        self.scheduler.poll_decision(Instant::ORIGIN)
    }
}
