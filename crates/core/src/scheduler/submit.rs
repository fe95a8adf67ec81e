//! Through flow control: a request waits until it is its turn and its best endpoint has room.
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
//! What is in the gateway can still be overtaken, withdrawn and refused; what is in an engine's
//! queue cannot. So a request is bound late: while its best endpoint has more than
//! [`FlowConfig::hold`](crate::FlowConfig::hold) booked, it is parked for that endpoint, where it
//! blocks nobody else.

use alloc::vec::Vec;

use super::Scheduler;
use crate::decision::{Decision, EvictReason, Evicted, Rejected};
use crate::queueing::{Next, ReadyRequest};
use crate::request::{Request, RequestId};
use crate::time::Instant;

impl Scheduler {
    /// Hands a request to flow control. [`poll_decision`](Self::poll_decision) returns the outcome:
    /// call it until it returns `None`, now and after each input, and at
    /// [`next_timeout`](Self::next_timeout).
    ///
    /// Computes in **O(prompt + runs on the way + log waiting)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it need not wait at all: nobody serves it, its deadline cannot be met, or
    /// the waiting room is full of what is as important. It is forgotten then.
    ///
    /// # Example: who matters more goes first
    ///
    /// ```
    /// use slotwise::{Decision, Endpoint, Instant, Priority, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("only"))?;
    /// let long = [7; 20_000];
    /// let first = scheduler.submit(now, &Request::new("llama").tokens(&long))?;
    /// assert!(matches!(scheduler.poll_decision(now), Some(Decision::Dispatch(d)) if d.request == first));
    ///
    /// // The endpoint has seconds of prefill booked: the next ones wait here, not there.
    /// let batch = scheduler.submit(now, &Request::new("llama").tokens(&[1; 900]))?;
    /// let urgent = scheduler.submit(now, &Request::new("llama").tokens(&[2; 900]).priority(Priority(1)))?;
    /// assert_eq!(scheduler.poll_decision(now), None);
    ///
    /// let later = Instant::from_micros(1_500_000);
    /// scheduler.handle_first_token(later, first)?;
    /// let order: Vec<_> = std::iter::from_fn(|| scheduler.poll_decision(later)).map(|d| d.request()).collect();
    /// assert_eq!(order, [urgent, batch]);
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

    /// The next decision about a request that was submitted: it goes, and is reserved, or it waits
    /// no longer. `None` when there is nothing to decide before the next input or
    /// [`next_timeout`](Self::next_timeout).
    pub fn poll_decision(&mut self, now: Instant) -> Option<Decision> {
        let now = self.advance(now);
        let next = self.queueing.poll(&self.fleet, self.requests.len(), &mut self.workspace)?;
        Some(match next {
            Next::Dispatch(ready) => self.dispatch_queued(now, ready),
            Next::Evict(evicted) => self.evicted(evicted),
        })
    }

    /// When [`poll_decision`](Self::poll_decision) has something to decide although nothing has
    /// happened.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.queueing.next_timeout(&self.fleet, self.lingering.next_end())
    }

    /// Requests of negative priority that are in flight while others of higher priority wait: at
    /// most so many, the least important first, and of those the newest. Whoever wants to make room
    /// aborts them and says so with [`cancel`](Self::cancel). Only those that were submitted are
    /// named. Computes in **O(requests in flight)**.
    ///
    /// ```
    /// use slotwise::{Decision, Endpoint, Instant, Priority, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("only").max_in_flight(1))?;
    /// let batch = scheduler.submit(now, &Request::new("llama").tokens(&[1; 900]).priority(Priority(-1)))?;
    /// assert!(scheduler.poll_decision(now).is_some());
    /// assert!(scheduler.preemption_candidates(9).is_empty(), "nobody waits");
    ///
    /// let urgent = scheduler.submit(now, &Request::new("llama").tokens(&[2; 900]))?;
    /// assert_eq!(scheduler.poll_decision(now), None);
    /// assert_eq!(scheduler.preemption_candidates(9), [batch]);
    /// scheduler.cancel(now, batch);
    /// assert!(matches!(scheduler.poll_decision(now), Some(Decision::Dispatch(d)) if d.request == urgent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preemption_candidates(&self, most: usize) -> Vec<RequestId> {
        let Some(highest) = self.queueing.highest_band() else { return Vec::new() };
        let flying =
            self.requests.iter().filter_map(|(id, request)| Some((request.charge?.priority, id)));
        let mut preemption_candidates: Vec<_> = flying
            .filter(|(priority, _)| priority.is_sheddable() && priority.0 < highest)
            .collect();
        preemption_candidates
            .sort_unstable_by_key(|(priority, id)| (*priority, core::cmp::Reverse(*id)));
        preemption_candidates.into_iter().take(most).map(|(_, id)| id).collect()
    }

    fn dispatch_queued(&mut self, now: Instant, ready: ReadyRequest) -> Decision {
        let ReadyRequest { queued, ranking, endpoint, chain } = ready;
        let adapter = queued.adapter.as_deref();
        match self.dispatch(now, queued.id, adapter, queued.suspect, &ranking) {
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
                if let Some(in_flight) = self.requests.get_mut(queued.id) {
                    (in_flight.charge, in_flight.session) = (Some(queued.charge), session);
                }
                Decision::Dispatch(dispatch)
            }
            Err(_) => {
                let in_flight = self.requests.len();
                let evicted =
                    self.queueing.evict(&self.fleet, in_flight, &queued, EvictReason::NoEndpoints);
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
