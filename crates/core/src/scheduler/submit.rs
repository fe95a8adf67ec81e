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
//! What is in the gateway can still be overtaken, withdrawn and refused; what is in an engine's queue cannot. So a request is bound late:
//! while its best endpoint has more than [`FlowConfig::hold`](crate::FlowConfig::hold) booked, it is parked for that endpoint, where
//! it blocks nobody else.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use super::asker::{Asker, Fare};
use crate::decision::{Decision, EvictReason, Evicted, NO_ENDPOINTS_RETRY, RejectReason, Rejected};
use crate::flow::{Admission, Eviction, Full, Ticket};
use crate::placement::Lookup;
use crate::pool::Slot;
use crate::request::{Priority, Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Hands a request to flow control. [`poll_decision`](Self::poll_decision) returns the outcome: call it until it returns `None`,
    /// now and after each input, and at [`next_timeout`](Self::next_timeout).
    ///
    /// Computes in **O(prompt + runs on the way + log waiting)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it need not wait at all: nobody serves it, its deadline cannot be met, or the waiting room is full of what is as
    /// important. It is forgotten then.
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
        let now = self.advance(now);
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.lookup.read(&self.fleet, request, self.next_request);
        let answer = self.enqueue(now, request, &scratch.lookup);
        let own = self.own_work(&scratch.lookup);
        self.scratch = scratch;
        answer.map_err(|rejected| {
            self.counters.reject(rejected.reason);
            self.spread(now, request.priority, own, rejected)
        })
    }

    /// The next decision about a request that was submitted: it goes, and is reserved, or it waits no longer. `None` when there is
    /// nothing to decide before the next input or [`next_timeout`](Self::next_timeout).
    pub fn poll_decision(&mut self, now: Instant) -> Option<Decision> {
        let now = self.advance(now);
        if self.guard.as_mut().is_some_and(|guard| guard.expire(now)) {
            self.open_kinds();
        }
        self.wake(now);
        self.waiting.expire(now);
        loop {
            if let Some(decision) = self.next_evicted(now).or_else(|| self.next_stranded(now)) {
                return Some(decision);
            }
            let Some(ticket) = self.next_to_try(now) else {
                // To look for one may have ended the wait of others.
                return self.next_evicted(now);
            };
            if let Some(decision) = self.try_to_place(now, ticket) {
                return Some(decision);
            }
        }
    }

    /// When [`poll_decision`](Self::poll_decision) has something to decide although nothing has happened.
    pub fn next_timeout(&self) -> Option<Instant> {
        let guard = self.guard.as_ref().filter(|_| self.waiting.sum().requests > 0);
        let sessions = guard.and_then(|guard| guard.next_timeout());
        let wake = self.wakes.first().map(|(at, _)| *at);
        let stranded = self.stranded().map(|(at, _)| at);
        let leave = self.waiting.next_inactive(self.fleet.now);
        let recovery = self.fleet.pool.next_opening().into_iter().chain(self.lingering.next_end()).min();
        let recovery = recovery.filter(|_| self.waiting.sum().requests > 0);
        let saturation = [self.next_stale(), leave, self.next_opening(), recovery];
        let all = [self.waiting.next_timeout(), stranded, sessions, wake];
        all.into_iter().chain(saturation).flatten().min()
    }

    /// Requests of negative priority that are in flight while others of higher priority wait: at most so many, the least important
    /// first, and of those the newest. Whoever wants to make room aborts them and says so with [`cancel`](Self::cancel). Only those
    /// that were submitted are named. Computes in **O(requests in flight)**.
    ///
    /// ```
    /// use slotwise::{Decision, Endpoint, Instant, Priority, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("only").max_in_flight(1))?;
    /// let batch = scheduler.submit(now, &Request::new("llama").tokens(&[1; 900]).priority(Priority(-1)))?;
    /// assert!(scheduler.poll_decision(now).is_some());
    /// assert!(scheduler.victims(9).is_empty(), "nobody waits");
    ///
    /// let urgent = scheduler.submit(now, &Request::new("llama").tokens(&[2; 900]))?;
    /// assert_eq!(scheduler.poll_decision(now), None);
    /// assert_eq!(scheduler.victims(9), [batch]);
    /// scheduler.cancel(now, batch);
    /// assert!(matches!(scheduler.poll_decision(now), Some(Decision::Dispatch(d)) if d.request == urgent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn victims(&self, most: usize) -> Vec<RequestId> {
        let highest =
            self.waiting.bands().find(|(_, sum, _)| sum.requests > 0).map(|(priority, ..)| priority);
        let Some(highest) = highest else { return Vec::new() };
        let flying = self.requests.iter().filter_map(|(id, request)| Some((request.fare?.priority, id)));
        let mut victims: Vec<_> =
            flying.filter(|(priority, _)| priority.is_sheddable() && priority.0 < highest).collect();
        victims.sort_unstable_by_key(|(priority, id)| (*priority, core::cmp::Reverse(*id)));
        victims.into_iter().take(most).map(|(_, id)| id).collect()
    }

    /// A request that waits is no longer wanted; whether it did.
    pub(super) fn withdraw_waiting(&mut self, id: RequestId) -> bool {
        let Some(ticket) = self.tickets.remove(&id.0) else { return false };
        self.waiting.remove(self.fleet.now, ticket).is_some()
    }

    /// While there is no endpoint: who has waited longest, and until when it waits for one.
    fn stranded(&self) -> Option<(Instant, Ticket)> {
        let empty_since = self.empty_since?;
        let (_, ticket) = self.tickets.first_key_value()?;
        let since = self.waiting.get(*ticket)?.since.max(empty_since);
        Some((since + self.fleet.config.flow.no_endpoint_ttl, *ticket))
    }

    /// Whoever has waited in vain for an endpoint, where there is none.
    fn next_stranded(&mut self, now: Instant) -> Option<Decision> {
        let (_, ticket) = self.stranded().filter(|(at, _)| *at <= now)?;
        let asker = self.waiting.remove(now, ticket)?;
        Some(self.evict(now, &asker, EvictReason::NoEndpoints))
    }

    fn enqueue(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        lookup: &Lookup,
    ) -> Result<RequestId, Rejected> {
        let ttl = request.ttl.unwrap_or(self.fleet.config.flow.ttl);
        let reject = |reason, after: Option<Duration>| Err(Rejected { reason, retry_after: after });
        if request.has_long_name() {
            return reject(RejectReason::NameTooLong, None);
        }
        let served = |request: &Request<'_>| {
            self.fleet
                .pool
                .iter()
                .any(|slot| slot.endpoint.suits(request.model, request.role, request.labels))
        };
        if self.fleet.pool.len() > 0 && !served(request) {
            return reject(RejectReason::NotServed, None);
        }
        if lookup.home.is_some_and(|home| !self.fleet.takes_requests(home) || request.exclude.contains(&home))
        {
            return reject(RejectReason::ThreadNotFound, None);
        }
        let suits = |slot: &Slot| slot.endpoint.suits(request.model, request.role, request.labels);
        let excluded = |slot: &Slot| !suits(slot) || request.exclude.contains(&slot.id);
        if !request.exclude.is_empty() && self.fleet.pool.len() > 0 && self.fleet.pool.iter().all(excluded) {
            return Err(Rejected::NO_ENDPOINTS);
        }
        let band = Priority(self.waiting.band_for(request.priority.0));
        self.waiting.record_arrival(now, band.0);
        let wait = || self.expected_wait(now, band);
        if request.priority.is_sheddable() && self.saturation(now) >= 1.0 {
            return reject(RejectReason::Shed, Some(wait().to_duration()));
        }
        let own = self.own_work(lookup);
        if let Some(deadline) = request.deadline {
            let wait = wait();
            if now + (wait + own).to_duration() > deadline {
                let late = wait + own - Seconds::from(deadline.saturating_since(now));
                let helps = (late <= wait).then(|| late.to_duration());
                return reject(RejectReason::DeadlineUnreachable, helps);
            }
        }
        let charged = own + self.output_cost(request.expected_output);
        let key = self.fleet.hasher.name(request.flow);
        let fare = Fare { priority: band, flow: key, charged };
        let session = request.session.map(|session| self.fleet.hasher.name(session));
        // Whoever may not wait at all is tried once.
        let expires = request.deadline.into_iter().chain([now + ttl.max(TICK)]).min();
        let admission = Admission {
            priority: band.0,
            flow: key,
            weight: request.weight,
            bytes: request.bytes(),
            cost: charged,
            slo: request.deadline,
            expires,
        };
        let id = RequestId(self.next_request);
        let mut asker = Box::new(Asker::new(id, now, fare, session, request, lookup));
        asker.suspect = self.fleet.suspect(request);
        match self.waiting.enqueue(now, admission, asker) {
            Ok(ticket) => {
                self.next_request += 1;
                self.tickets.insert(id.0, ticket);
                Ok(id)
            }
            Err((_, Full::BandRequests | Full::BandBytes | Full::Requests | Full::Bytes)) => {
                reject(RejectReason::QueueFull, Some(self.expected_wait(now, band).to_duration()))
            }
        }
    }

    /// What the waiting room has let go of, if anything.
    fn next_evicted(&mut self, now: Instant) -> Option<Decision> {
        let evicted = self.waiting.next_evicted()?;
        Some(self.evict(now, &evicted.what, evicted.reason.into()))
    }

    pub(super) fn evict(&mut self, now: Instant, asker: &Asker, reason: EvictReason) -> Decision {
        self.tickets.remove(&asker.id.0);
        let empty = self.fleet.pool.len() == 0;
        let reason = match reason {
            EvictReason::TtlExpired if empty => EvictReason::NoEndpoints,
            EvictReason::TtlExpired if asker.is_late(now) => EvictReason::DeadlineUnreachable,
            other => other,
        };
        self.counters.evict(reason);
        let wait = || self.expected_wait(now, asker.fare.priority).to_duration();
        let retry_after = match reason {
            _ if empty => Some(NO_ENDPOINTS_RETRY),
            EvictReason::TtlExpired | EvictReason::Displaced => {
                Some(self.next_slot(now, asker.fare.priority, asker.fare.charged, wait()))
            }
            EvictReason::TooLarge | EvictReason::ThreadNotFound => None,
            EvictReason::NoEndpoints | EvictReason::DeadlineUnreachable => Some(wait()),
        };
        Decision::Evict(Evicted {
            request: asker.id,
            reason,
            retry_after,
            queued: now.saturating_since(asker.since),
        })
    }

    /// Seconds of prefill of a prompt where most of it is cached.
    pub(super) fn own_work(&self, lookup: &Lookup) -> Seconds {
        let miss = lookup.tokens.saturating_sub(lookup.best_hit);
        self.fleet.config.prefill.work(miss, lookup.best_hit)
    }

    /// Gives a refusal for lack of room its own time to come back: see `slots`.
    pub(super) fn spread(
        &mut self,
        now: Instant,
        priority: Priority,
        own: Seconds,
        rejected: Rejected,
    ) -> Rejected {
        match rejected.reason {
            RejectReason::Saturated | RejectReason::Shed | RejectReason::QueueFull => {
                let wait = rejected.retry_after.unwrap_or_default();
                Rejected { retry_after: Some(self.next_slot(now, priority, own, wait)), ..rejected }
            }
            _ => rejected,
        }
    }

    fn next_slot(&mut self, now: Instant, priority: Priority, own: Seconds, wait: Duration) -> Duration {
        let share = Seconds::new(own.get() / self.fleet.pool.len().max(1) as f64);
        let share = share.to_duration().max(self.slots.interval(self.requests.len()).to_duration());
        self.slots.next(now, priority, wait, share)
    }

    /// How long a newcomer of this priority waits, if those who go before it are spread over all endpoints, behind what the least busy of
    /// these has booked. Computes in **O(endpoints)**.
    pub(super) fn expected_wait(&self, now: Instant, priority: Priority) -> Seconds {
        let before = self.waiting.bands().take_while(|(band, ..)| *band >= priority.0);
        let work: f64 = before.map(|(_, sum, _)| sum.work as f64 / 1e9).sum();
        let booked = self.fleet.pool.iter().map(|slot| slot.in_flight.wait(now).get()).min_by(f64::total_cmp);
        Seconds::new(work / self.fleet.pool.len().max(1) as f64 + booked.unwrap_or(0.0))
    }

    /// What an answer costs besides its prompt, in seconds: a token of it counts as two of the prompt.
    pub(super) fn output_cost(&self, tokens: u32) -> Seconds {
        self.fleet.config.prefill.per_token * (2.0 * f64::from(tokens))
    }
}

impl From<Eviction> for EvictReason {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::Displaced => Self::Displaced,
            Eviction::Expired => Self::TtlExpired,
        }
    }
}

/// The shortest time that anybody waits.
pub(super) const TICK: Duration = Duration::from_micros(1);
