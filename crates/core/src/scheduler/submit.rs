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

use super::asker::{Asker, Fare};
use super::decision::{Decision, EvictReason, Evicted, RejectReason, Rejected};
use super::glance::Frontier;
use super::pick::Asked;
use super::ranking::Ranking;
use super::reading::Reading;
use super::{Scheduler, Scratch};
use crate::endpoint::EndpointId;
use crate::flow::{self, Admission, Busy, Full, Position, Ticket};
use crate::pool::{ForeignLoad, Slot};
use crate::prefix::BlockHash;
use crate::request::{Priority, Prompt, Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Hands a request to flow control. What becomes of it says [`poll_decision`](Self::poll_decision): call it until it returns `None`,
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
        self.read(request, &mut scratch.reading);
        let answer = self.enqueue(now, request, &scratch.reading);
        self.scratch = scratch;
        answer.inspect_err(|rejected| self.counters.reject(rejected.reason))
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
        let leave = self.waiting.next_leave(self.now);
        let saturation = [self.next_stale(), leave, self.next_opening()];
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
        let flying = self.requests.iter().filter_map(|(id, request)| Some((request.fare?.priority, *id)));
        let mut victims: Vec<_> =
            flying.filter(|(priority, _)| priority.is_sheddable() && priority.0 < highest).collect();
        victims.sort_unstable_by_key(|(priority, id)| (*priority, core::cmp::Reverse(*id)));
        victims.into_iter().take(most).map(|(_, id)| RequestId(id)).collect()
    }

    /// A request that waits is no longer wanted; whether it did.
    pub(super) fn withdraw_waiting(&mut self, id: RequestId) -> bool {
        let Some(ticket) = self.tickets.remove(&id.0) else { return false };
        self.waiting.remove(self.now, ticket).is_some()
    }

    /// Something has changed on an endpoint: whoever waits for it, or for any, may try again; and so may the first of those who wait
    /// for others, since it may be the best for them now, and they more important.
    pub(super) fn reopen(&mut self, now: Instant, endpoint: EndpointId) {
        if self.waiting.sum().requests == 0 {
            return;
        }
        self.open_kinds();
        let Ok(slot) = self.pool.get(endpoint) else { return };
        if !self.holds(now, slot) {
            self.waiting.open(endpoint.slot);
            self.open_others();
        }
    }

    /// Opens some of the endpoints that requests may be parked for, others each time. Each lets its first one try, and closes again if
    /// that one still waits for it.
    fn open_others(&mut self) {
        let slots = self.pool.minima().len();
        for _ in 0..slots.min(OTHERS) {
            self.next_other = if self.next_other + 1 < slots { self.next_other + 1 } else { 0 };
            self.waiting.open(self.next_other);
        }
    }

    fn open_kinds(&mut self) {
        self.kinds.iter().for_each(|kind| self.waiting.open(*kind));
    }

    /// Opens the endpoints that have room by now although nothing was heard of them.
    fn wake(&mut self, now: Instant) {
        if self.waiting.sum().requests == 0 {
            self.wakes.clear();
            self.kinds.clear();
        }
        while let Some((at, number)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, number));
            let Some(slot) = self.pool.at(number) else { continue };
            if self.holds(now, slot) {
                self.wake_later(now, number);
            } else {
                self.waiting.open(number);
                self.open_others();
            }
        }
    }

    /// Somebody waits for an endpoint: looks again when it should have room, or when its load report is too old to say that it has
    /// none, if nothing is heard of it before.
    fn wake_later(&mut self, now: Instant, number: u32) {
        let Some(slot) = self.pool.at(number) else { return };
        let falls = slot.book.falls_to(self.config.flow.hold, now);
        let wakes = [Some(falls), self.stale_at(slot)].into_iter().flatten().filter(|at| *at > now);
        self.wakes.extend(wakes.map(|at| (at, number)));
    }

    /// When the next load report is too old to keep the pool closed.
    fn next_stale(&self) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || self.config.flow.never_closes() {
            return None;
        }
        let stale = self.pool.iter().filter_map(|slot| self.stale_at(slot));
        stale.filter(|at| *at > self.now).min()
    }

    /// When a closed band opens by the clock alone, as booked prefill runs down. Computes in
    /// **O(endpoints · log microseconds)** where saturation counts, by halving the time until nothing runs down any more.
    fn next_opening(&self) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || self.config.flow.never_closes() {
            return None;
        }
        let runs_down = self.pool.iter().map(|slot| slot.book.runs_down_at());
        let (mut closed, mut opened) = (self.now, runs_down.max().filter(|at| *at > self.now)?);
        let bands = self.waiting.present(self.now);
        // As if in the first round: whoever only takes turns counts as closed.
        let open =
            |saturation, band| self.config.flow.ceiling.is_open(saturation, Position::among(&bands, band), 1);
        let open_at = |at| {
            let (saturation, waiting) = (self.saturation(at), self.waiting.bands());
            waiting.filter(|(band, sum, _)| sum.requests > 0 && open(saturation, *band)).count()
        };
        let open_now = open_at(self.now);
        if open_at(opened) <= open_now {
            return None;
        }
        while closed + TICK < opened {
            let middle = closed + opened.saturating_since(closed) / 2;
            *(if open_at(middle) > open_now { &mut opened } else { &mut closed }) = middle;
        }
        Some(opened)
    }

    /// While there is no endpoint: who has waited longest, and until when it waits for one.
    fn stranded(&self) -> Option<(Instant, Ticket)> {
        let empty_since = self.empty_since?;
        let (_, ticket) = self.tickets.first_key_value()?;
        let since = self.waiting.get(*ticket)?.since.max(empty_since);
        Some((since + self.config.flow.no_endpoint_ttl, *ticket))
    }

    /// Whoever has waited in vain for an endpoint, where there is none.
    fn next_stranded(&mut self, now: Instant) -> Option<Decision> {
        let (_, ticket) = self.stranded().filter(|(at, _)| *at <= now)?;
        let asker = self.waiting.remove(now, ticket)?;
        Some(self.evict(now, &asker, EvictReason::NoEndpoints))
    }

    /// From when on an endpoint's last load report says nothing about whether it is full.
    fn stale_at(&self, slot: &Slot) -> Option<Instant> {
        let staleness = self.config.flow.saturation.staleness(self.config.report_lifetime)?;
        Some(slot.reports.sampled_at()? + staleness + TICK)
    }

    /// The pool has changed: whoever waits may find something better than what it waits for.
    pub(super) fn reopen_all(&mut self) {
        if self.waiting.sum().requests > 0 {
            (0..self.pool.minima().len()).for_each(|slot| self.waiting.release(slot));
            self.open_kinds();
        }
    }

    fn enqueue(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        reading: &Reading,
    ) -> Result<RequestId, Rejected> {
        let ttl = request.ttl.unwrap_or(self.config.flow.ttl);
        let reject = |reason, after: Option<Duration>| Err(Rejected { reason, retry_after: after });
        let served = |request: &Request<'_>| {
            self.pool.iter().any(|slot| slot.endpoint.suits(request.model, request.role, request.labels))
        };
        if self.pool.len() > 0 && !served(request) {
            return reject(RejectReason::NotServed, None);
        }
        self.waiting.see(now, request.priority.0);
        let wait = || self.expected_wait(now, request.priority);
        if request.priority.is_sheddable() && self.saturation(now) >= 1.0 {
            return reject(RejectReason::Shed, Some(wait().to_duration()));
        }
        let miss = reading.tokens.saturating_sub(reading.best_hit);
        let own = self.config.prefill.work(miss, reading.best_hit);
        if let Some(deadline) = request.deadline {
            let wait = wait();
            if now + (wait + own).to_duration() > deadline {
                let late = wait + own - Seconds::from(deadline.saturating_since(now));
                let helps = (late <= wait).then(|| late.to_duration());
                return reject(RejectReason::DeadlineUnreachable, helps);
            }
        }
        let charged = own + self.output_cost(request.expected_output);
        let key = self.hasher.name(request.flow);
        let fare = Fare { priority: request.priority, flow: key, charged };
        let session = request.session.map(|session| self.hasher.name(session));
        // Whoever may not wait at all is tried once.
        let expires = request.deadline.into_iter().chain([now + ttl.max(TICK)]).min();
        let bytes = match request.prompt {
            Prompt::Text(text) => text.len() as u64,
            Prompt::Tokens(ids) => 4 * ids.len() as u64,
            Prompt::Blocks { hashes, .. } => 8 * hashes.len() as u64,
        };
        let admission = Admission {
            priority: request.priority.0,
            flow: key,
            weight: request.weight,
            bytes,
            cost: charged,
            slo: request.deadline,
            expires,
        };
        let id = RequestId(self.next_request);
        let asker = Box::new(Asker::new(id, now, fare, session, self.kind(request), request, reading));
        match self.waiting.enqueue(now, admission, asker) {
            Ok(ticket) => {
                self.next_request += 1;
                self.tickets.insert(id.0, ticket);
                Ok(id)
            }
            Err((_, Full::BandRequests | Full::BandBytes | Full::Requests | Full::Bytes)) => {
                reject(RejectReason::QueueFull, Some(self.expected_wait(now, request.priority).to_duration()))
            }
        }
    }

    /// The same for requests that the same endpoints can have.
    fn kind(&self, request: &Request<'_>) -> u64 {
        let mut kind = self.hasher.mix(self.hasher.name(request.model), request.role as u64);
        for (key, value) in request.labels {
            kind = self.hasher.mix(kind, self.hasher.mix(self.hasher.name(key), self.hasher.name(value)));
        }
        kind
    }

    /// Who should be tried next, of the bands that may dispatch.
    fn next_to_try(&mut self, now: Instant) -> Option<Ticket> {
        let prefill = self.config.prefill;
        let uncached = |Reading { tokens, best_hit, .. }: &Reading| {
            prefill.work(tokens.saturating_sub(*best_hit), *best_hit)
        };
        if self.config.flow.never_closes() {
            return self.waiting.best_by(now, |_| true, |asker| uncached(&asker.reading));
        }
        self.rounds += 1;
        let (saturation, ceiling) = (self.saturation(now), &self.config.flow.ceiling);
        let bands = self.waiting.present(now);
        let open = |priority| ceiling.is_open(saturation, Position::among(&bands, priority), self.rounds);
        self.waiting.best_by(now, open, |asker| uncached(&asker.reading))
    }

    /// Weighs a request that waits: it goes, it can never go, or it waits for something.
    fn try_to_place(&mut self, now: Instant, ticket: Ticket) -> Option<Decision> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let trial = self.trial(now, ticket, &mut scratch);
        let decision = match trial {
            Trial::Goes(ranking, best) => self.send(now, ticket, &mut scratch.reading, &ranking, best),
            Trial::WaitsFor(slot) => {
                self.waiting.park(ticket, slot);
                self.wake_later(now, slot);
                None
            }
            Trial::WaitsForAny(kind) => {
                self.waiting.park(ticket, kind);
                self.kinds.insert(kind);
                None
            }
            Trial::Never(reason) => {
                let asker = self.waiting.remove(now, ticket);
                asker.map(|asker| self.evict(now, &asker, reason))
            }
        };
        self.scratch = scratch;
        decision
    }

    fn trial(&mut self, now: Instant, ticket: Ticket, scratch: &mut Scratch) -> Trial {
        let Some(asker) = self.waiting.get(ticket) else { return Trial::WaitsForAny(KINDS) };
        scratch.reading.copy_from(&asker.reading);
        self.look_up(&mut scratch.reading);
        let labels = asker.labels();
        let request = asker.request(&labels);
        let starts = self.guard.as_ref().is_some_and(|guard| {
            let chain = scratch.reading.first_chain();
            matches!(guard.identify(flow::Identity { id: asker.session, chain }), flow::Who::New)
        });
        let kind = KINDS + (asker.kind ^ u64::from(starts)) as u32 % (u32::MAX - KINDS);
        let asked = Asked { now, request: &request, reading: &scratch.reading, starts };
        let mut ranking = Ranking::new(self.config.alternatives.saturating_add(1));
        let refusal = self.weigh_promising(asked, &mut scratch.frontier, &mut ranking);
        let Some((best, _)) = ranking.split().map(|((id, best), _)| (*id, *best)) else {
            let reason = refusal.into_rejected().reason;
            if let Some(guard) = self.guard.as_mut().filter(|_| starts) {
                guard.hold();
            }
            return match reason {
                RejectReason::TooLarge => Trial::Never(EvictReason::TooLarge),
                RejectReason::DeadlineUnreachable => Trial::Never(EvictReason::DeadlineUnreachable),
                _ => Trial::WaitsForAny(kind),
            };
        };
        if self.requests.len() >= self.config.max_in_flight {
            return Trial::WaitsForAny(kind);
        }
        match self.pool.get(best) {
            Ok(slot) if self.holds(now, slot) => {
                let (free, choosy_since) =
                    self.settle_for_less(asked, asker, &ranking, &mut scratch.frontier);
                if let Some((ranking, best)) = free {
                    return Trial::Goes(ranking, best);
                }
                if let Some(asker) = self.waiting.get_mut(ticket) {
                    asker.choosy_since = choosy_since;
                }
                Trial::WaitsFor(best.slot)
            }
            Ok(_) => Trial::Goes(ranking, best),
            Err(_) => Trial::WaitsForAny(kind),
        }
    }

    /// The best of the endpoints that have room, for a request that waits for a better one and has had enough of that; and since when
    /// it could have had such a one.
    ///
    /// It waits for as long as the other one costs more, in seconds, and takes it then: as one rents skis until the rent comes to their
    /// price, which is never worse than twice the best (Karlin et al., 1988). Only while less important requests wait, who would have
    /// taken it meanwhile; among equals, whoever waits for its cache is right to.
    fn settle_for_less(
        &self,
        asked: Asked<'_>,
        asker: &Asker,
        ranking: &Ranking,
        frontier: &mut Frontier,
    ) -> (Option<(Ranking, EndpointId)>, Option<Instant>) {
        let mine = asker.fare.priority.0;
        if !self.waiting.bands().any(|(band, sum, _)| band < mine && sum.requests > 0) {
            return (None, asker.choosy_since);
        }
        let mut free = Ranking::new(self.config.alternatives.saturating_add(1));
        self.search(asked, frontier, &mut free, |slot| !self.holds(asked.now, slot));
        let (Some(((_, best), _)), Some(((id, other), _))) = (ranking.split(), free.split()) else {
            return (None, asker.choosy_since);
        };
        let since = asker.choosy_since.unwrap_or(asked.now);
        let waited = Seconds::from(asked.now.saturating_since(since));
        let id = *id;
        ((other.cost - best.cost <= waited).then_some((free, id)), Some(since))
    }

    /// Reserves the endpoint for a request that waits no longer.
    fn send(
        &mut self,
        now: Instant,
        ticket: Ticket,
        reading: &mut Reading,
        ranking: &Ranking,
        best: EndpointId,
    ) -> Option<Decision> {
        let asker = self.waiting.take(now, ticket)?;
        self.tickets.remove(&asker.id.0);
        let chain: Option<Box<[BlockHash]>> = self.guard.is_some().then(|| reading.first_chain().into());
        match self.dispatch(now, asker.id, asker.adapter.as_deref(), reading, ranking) {
            Ok(mut dispatch) => {
                dispatch.queued = now.saturating_since(asker.since);
                self.counters.queued = self.counters.queued.saturating_add(dispatch.queued);
                let session = self.guard.as_mut().zip(chain).map(|(guard, chain)| {
                    let identity = flow::Identity { id: asker.session, chain: &chain };
                    guard.begin(now, identity, best.slot, reading.tokens)
                });
                if let Some(in_flight) = self.requests.get_mut(&asker.id.0) {
                    (in_flight.fare, in_flight.session) = (Some(asker.fare), session);
                }
                if self.pool.get(best).is_ok_and(|slot| self.holds(now, slot)) {
                    self.waiting.close(best.slot);
                }
                Some(Decision::Dispatch(dispatch))
            }
            Err(_) => Some(self.evict(now, &asker, EvictReason::NoEndpoints)),
        }
    }

    /// What the waiting room has let go of, if anything.
    fn next_evicted(&mut self, now: Instant) -> Option<Decision> {
        let evicted = self.waiting.next_evicted()?;
        Some(self.evict(now, &evicted.what, evicted.reason.into()))
    }

    fn evict(&mut self, now: Instant, asker: &Asker, reason: EvictReason) -> Decision {
        self.tickets.remove(&asker.id.0);
        let empty = self.pool.len() == 0;
        let reason = match reason {
            EvictReason::TtlExpired if empty => EvictReason::NoEndpoints,
            EvictReason::TtlExpired if asker.is_late(now) => EvictReason::DeadlineUnreachable,
            other => other,
        };
        self.counters.evict(reason);
        Decision::Evict(Evicted {
            request: asker.id,
            reason,
            retry_after: (!empty).then(|| self.expected_wait(now, asker.fare.priority).to_duration()),
            queued: now.saturating_since(asker.since),
        })
    }

    /// Whether an endpoint has so much to do that whoever is not there yet had better wait here. What we have there will say when that
    /// is over: its next first token, or its next end.
    fn holds(&self, now: Instant, slot: &Slot) -> bool {
        let flow = &self.config.flow;
        let booked = slot.book.falls_to(flow.hold, now) > now;
        let is_full = || !flow.saturation.has_room(&self.busy(now, slot));
        booked || slot.book.in_flight() > 0 && is_full()
    }

    /// Whether the guard lets a session begin on an endpoint.
    pub(super) fn may_start(&self, slot: &Slot, tokens: u32) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.may_start(slot.id.slot, tokens, slot.kv_capacity))
    }

    /// How long a newcomer of this priority waits, if those who go before it are spread over all endpoints, behind what the least busy of
    /// these has booked. Computes in **O(endpoints)**.
    fn expected_wait(&self, now: Instant, priority: Priority) -> Seconds {
        let before = self.waiting.bands().take_while(|(band, ..)| *band >= priority.0);
        let work: f64 = before.map(|(_, sum, _)| sum.work as f64 / 1e9).sum();
        let booked = self.pool.iter().map(|slot| slot.book.wait(now).get()).min_by(f64::total_cmp);
        Seconds::new(work / self.pool.len().max(1) as f64 + booked.unwrap_or(0.0))
    }

    /// What an answer costs besides its prompt, in seconds: a token of it counts as two of the prompt.
    pub(super) fn output_cost(&self, tokens: u32) -> Seconds {
        self.config.prefill.per_token * (2.0 * f64::from(tokens))
    }

    fn saturation(&self, now: Instant) -> f64 {
        let takes_requests = self.pool.iter().filter(|slot| !slot.draining);
        self.config.flow.saturation.of_pool(takes_requests.map(|slot| self.busy(now, slot)))
    }

    fn busy(&self, now: Instant, slot: &Slot) -> Busy {
        let foreign = self.foreign_while_fresh(now, slot);
        Busy {
            booked: slot.wait(now, foreign, self.mean_work.get()),
            in_flight: slot.book.in_flight(),
            tokens_in_flight: slot.book.kv_tokens(),
            kv_tokens: slot.book.kv_tokens() as f64 + foreign.kv_tokens,
            kv_capacity: f64::from(slot.kv_capacity),
            waiting: foreign.waiting + f64::from(slot.book.pending()),
        }
    }

    /// What may keep an endpoint closed that is not ours: only what it has said itself, and not long ago. Costs rank endpoints, so that
    /// those that are silent can be taken to be like their peers; but for a wait there must be something that ends it.
    fn foreign_while_fresh(&self, now: Instant, slot: &Slot) -> ForeignLoad {
        if self.stale_at(slot).is_none_or(|at| at <= now) {
            return ForeignLoad::default();
        }
        let (reports, lifetime) = (&slot.reports, self.config.report_lifetime);
        reports.spoken_of(reports.estimate(now, self.pool.reports(), slot.kv_capacity, lifetime))
    }
}

/// What came of weighing a request that waits.
enum Trial {
    Goes(Ranking, EndpointId),
    WaitsFor(u32),
    /// Any change may help requests of its kind.
    WaitsForAny(u32),
    Never(EvictReason),
}

/// From this number on, what requests are parked for is no endpoint: it is any that takes their kind of request, the same model, role
/// and labels. Kinds may share a number.
const KINDS: u32 = u32::MAX - 1_024;
/// Endpoints that are opened beside one that has nothing to do.
const OTHERS: u32 = 64;
/// The shortest time that anybody waits.
const TICK: Duration = Duration::from_micros(1);
