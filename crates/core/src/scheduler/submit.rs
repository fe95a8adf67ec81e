//! The queued path: a request waits until its turn comes and its best endpoint has room.
//!
//! ```text
//! submit ──► waiting ──► tried ──► dispatched
//!    │          ▲  │        │
//!    │          │  ▼        ▼
//!    │          │ evicted  parked, for an endpoint or for any
//!    ▼          └───────────┘ opened by a first token, an end, or a change of the pool
//! rejected
//! ```
//!
//! A request in this queue can still be overtaken, cancelled and evicted; one in an engine's queue
//! cannot. So a request is bound late: while its best endpoint has more than
//! [`FlowConfig::hold`](crate::FlowConfig::hold) booked, it is parked for that endpoint and blocks
//! no other request.

use alloc::vec::Vec;

use super::Scheduler;
use crate::decision::{Decision, EvictReason, Evicted, Rejected};
use crate::queueing::{Next, ReadyRequest};
use crate::request::{Request, RequestId};
use crate::sorting::sort_rarely;
use crate::time::Instant;

impl Scheduler {
    /// Adds a request to the queue. [`poll_decision`](Self::poll_decision) returns the outcome:
    /// call it until it returns `None`, now, after each input, and at
    /// [`next_timeout`](Self::next_timeout).
    ///
    /// Computes in **O(prompt + endpoints + log queued)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if waiting cannot help: no endpoint serves the model, the deadline cannot be
    /// met, or the queue is full and holds nothing of lower priority.
    ///
    /// # Example: higher priorities go first
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Priority, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("only"))?;
    /// let long = [7; 20_000];
    /// let first = scheduler.submit(now, &Request::new("llama").tokens(&long))?;
    /// assert_eq!(scheduler.poll_decision(now).map(|it| it.request_id()), Some(first));
    ///
    /// // The endpoint has seconds of prefill booked, so further requests stay in this queue.
    /// let batch = scheduler.submit(now, &Request::new("llama").tokens(&[1; 900]))?;
    /// let urgent = Request::new("llama").tokens(&[2; 900]).priority(Priority(1));
    /// let urgent = scheduler.submit(now, &urgent)?;
    /// assert_eq!(scheduler.poll_decision(now), None);
    ///
    /// let later = Instant::from_micros(1_500_000);
    /// scheduler.handle_first_token(later, first)?;
    /// let mut decisions = std::iter::from_fn(|| scheduler.poll_decision(later));
    /// assert_eq!(decisions.next().map(|it| it.request_id()), Some(urgent));
    /// assert_eq!(decisions.next().map(|it| it.request_id()), Some(batch));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit(&mut self, now: Instant, request: &Request<'_>) -> Result<RequestId, Rejected> {
        self.advance(now);
        let (fleet, workspace) = (&self.fleet, &mut self.workspace);
        workspace.lookup.read(fleet, request, self.next_request);
        let id = RequestId(self.next_request);
        match self.queueing.submit(fleet, id, request, &workspace.lookup) {
            Ok(()) => {
                self.next_request += 1;
                Ok(id)
            }
            Err(rejected) => Err(self.reject(request.priority, rejected)),
        }
    }

    /// The next decision about a submitted request: it was dispatched, and its endpoint is
    /// reserved, or it was evicted from the queue. `None` if nothing can be decided before the next
    /// input or [`next_timeout`](Self::next_timeout).
    ///
    /// Call it in a loop after each input: other calls only change state, and never dispatch a
    /// queued request.
    pub fn poll_decision(&mut self, now: Instant) -> Option<Decision> {
        let now = self.advance(now);
        self.fleet.renew_bounds();
        let next = self.queueing.poll(&self.fleet, self.requests.len(), &mut self.workspace)?;
        Some(match next {
            Next::Dispatch(ready) => self.dispatch_queued(now, ready),
            Next::Evict(evicted) => self.evicted(evicted),
        })
    }

    /// The earliest time at which [`poll_decision`](Self::poll_decision) may return a decision
    /// without another input.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.queueing.next_timeout(&self.fleet, self.lingering.next_end())
    }

    /// Requests in flight that may be preempted: those of negative priority, while requests of
    /// higher priority are queued. Returns at most this many, the lowest priority first, and the
    /// newest first within a priority. To preempt one, abort it and call [`cancel`](Self::cancel).
    /// Only submitted requests are candidates. Computes in **O(requests in flight)**.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Priority, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("only").max_in_flight(1))?;
    /// let batch = Request::new("llama").tokens(&[1; 900]).priority(Priority(-1));
    /// let batch = scheduler.submit(now, &batch)?;
    /// assert!(scheduler.poll_decision(now).is_some());
    /// assert!(scheduler.preemption_candidates(9).is_empty(), "the queue is empty");
    ///
    /// let urgent = scheduler.submit(now, &Request::new("llama").tokens(&[2; 900]))?;
    /// assert_eq!(scheduler.poll_decision(now), None);
    /// assert_eq!(scheduler.preemption_candidates(9), [batch]);
    /// scheduler.cancel(now, batch);
    /// assert_eq!(scheduler.poll_decision(now).map(|it| it.request_id()), Some(urgent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preemption_candidates(&self, most: usize) -> Vec<RequestId> {
        let Some(highest) = self.queueing.highest_band() else { return Vec::new() };
        let flying =
            self.requests.iter().filter_map(|(id, request)| Some((request.charge?.priority, id)));
        let mut preemption_candidates: Vec<_> = flying
            .filter(|(priority, _)| priority.is_sheddable() && priority.0 < highest)
            .collect();
        sort_rarely(&mut preemption_candidates, |(priority, id), (other, other_id)| {
            priority.cmp(other).then(other_id.cmp(id))
        });
        preemption_candidates.into_iter().take(most).map(|(_, id)| id).collect()
    }

    fn dispatch_queued(&mut self, now: Instant, ready: ReadyRequest) -> Decision {
        let ReadyRequest { mut queued, plan, endpoint, chain } = ready;
        let adapter = queued.adapter.as_deref();
        match self.dispatch(now, queued.id, adapter, queued.suspect, Some(queued.charge), &plan) {
            Ok(mut dispatch) => {
                dispatch.queue_time = now.saturating_since(queued.since);
                self.counters.queue_time.observe(dispatch.queue_time);
                self.counters.queue_time_total =
                    self.counters.queue_time_total.saturating_add(dispatch.queue_time);
                let tokens = dispatch.prompt_tokens;
                let session = self.queueing.dispatched(
                    &self.fleet,
                    &queued,
                    endpoint,
                    chain.as_deref(),
                    tokens,
                );
                if let Some(shared) = &mut self.shared {
                    shared.charge(queued.charge);
                }
                if session.is_some() {
                    if let Some(in_flight) = self.requests.get_mut(queued.id) {
                        in_flight.session = session;
                    }
                }
                Decision::Dispatch(dispatch)
            }
            Err(_) => {
                let in_flight = self.requests.len();
                let evicted = self.queueing.evict(
                    &self.fleet,
                    in_flight,
                    &mut queued,
                    EvictReason::NoEndpoints,
                );
                self.evicted(evicted)
            }
        }
    }

    fn evicted(&mut self, evicted: Evicted) -> Decision {
        self.counters.evict(evicted.reason);
        Decision::Evict(evicted)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn models_that_no_endpoint_names_are_one_class() {
        let (mut scheduler, now) = (Scheduler::default(), Instant::ORIGIN);
        let endpoint = Endpoint::new("any").max_in_flight(1);
        scheduler.add_endpoint(now, endpoint.clone()).expect("room");
        let named =
            scheduler.add_endpoint(now, Endpoint { name: "named".into(), ..endpoint.model("m") });
        let submit = |scheduler: &mut Scheduler, model: &str| {
            scheduler.submit(now, &Request::new(model).tokens(&[1; 64])).expect("room");
            while scheduler.poll_decision(now).is_some() {}
        };
        (0..2_000).for_each(|number| submit(&mut scheduler, &format!("model {number}")));
        assert_eq!(scheduler.queueing.eligibility_classes(), 1);
        (0..2).for_each(|_| submit(&mut scheduler, "m"));
        assert_eq!(scheduler.queueing.eligibility_classes(), 2);
        // The class is computed at each attempt: the pool may have changed since the request was
        // queued.
        scheduler.remove_endpoint(now, named.expect("room")).expect("there");
        while scheduler.poll_decision(now).is_some() {}
        assert_eq!(scheduler.queueing.waiting().sum().requests, 2_000);
    }
}
