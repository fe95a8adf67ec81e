//! The life of a request after its dispatch: first token, answer, redirection, and exactly one end.

use alloc::vec::Vec;
use core::fmt;

use super::Scheduler;
use super::in_flight::{InFlight, PlacedPrompt};
use crate::endpoint::EndpointId;
use crate::pool::{Outcome, OutcomeContext, Reservation, Shortfall, UnknownEndpoint};
use crate::prefix::BlockUse;
use crate::request::{AnswerId, CacheUse, Failure, RequestId, Usage};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Handles the first token of a request. Its prefill leaves the endpoint's queue, and the
    /// endpoint's speed is learned from the time to the first token. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// If the request is not in flight.
    pub fn handle_first_token(
        &mut self,
        now: Instant,
        id: RequestId,
    ) -> Result<(), UnknownRequest> {
        let now = self.advance(now);
        if self.requests.get(id).ok_or(UnknownRequest(id))?.reservation.started() {
            return Ok(());
        }
        let mut request = self.requests.remove(id).ok_or(UnknownRequest(id))?;
        self.learn_speed(now, &request);
        self.fleet.pool.start(now, &mut request.reservation, self.fleet.mean_output.get());
        self.counters.first_token.observe(now.saturating_since(request.dispatched));
        let took = Seconds::from(now.saturating_since(request.dispatched));
        let late = took > LATE && took > request.predicted * LATE_FACTOR;
        self.record_outcome(now, &request, Outcome::Answered { late });
        request.started = Some(now);
        self.expect_confirmation(now, &mut request);
        let endpoint = request.reservation.endpoint();
        self.requests.insert(id, request);
        self.queueing.endpoint_changed(&self.fleet, endpoint);
        Ok(())
    }

    /// Handles the growth of an answer by `tokens`, which occupy the endpoint's KV cache. Optional:
    /// it makes the account of long answers exact. Implies the first token.
    ///
    /// # Errors
    ///
    /// If the request is not in flight.
    pub fn handle_tokens(
        &mut self,
        now: Instant,
        id: RequestId,
        tokens: u32,
    ) -> Result<(), UnknownRequest> {
        self.handle_first_token(now, id)?;
        let request = self.requests.get_mut(id).ok_or(UnknownRequest(id))?;
        self.fleet.pool.grow(&mut request.reservation, tokens, self.fleet.mean_output.get());
        Ok(())
    }

    /// Records the id of a request's answer. A request that [continues
    /// it](crate::Request::continues) goes to the same endpoint. If the endpoint has left the pool
    /// or is draining, that request is rejected as
    /// [`ThreadNotFound`](crate::RejectReason::ThreadNotFound). The last
    /// [`Config::max_threads`](crate::Config::max_threads) answers are remembered.
    ///
    /// # Errors
    ///
    /// If the request is not in flight.
    ///
    /// ```
    /// use slotwise::{AnswerId, Endpoint, Instant, RejectReason, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// for name in ["a", "b", "c"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name))?;
    /// }
    /// let first = scheduler.pick(now, &Request::new("claude").text("Hi, I am Ann."))?;
    /// scheduler.handle_answer(now, first.request_id, AnswerId::of("msg_1"))?;
    ///
    /// let next = Request::new("claude").text("Who am I?").continues(AnswerId::of("msg_1"));
    /// assert_eq!(scheduler.pick(now, &next)?.endpoint_id, first.endpoint_id);
    /// scheduler.drain_endpoint(now, first.endpoint_id)?;
    /// let rejected = scheduler.pick(now, &next).unwrap_err();
    /// assert_eq!(rejected.reason, RejectReason::ThreadNotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: AnswerId,
    ) -> Result<(), UnknownRequest> {
        self.advance(now);
        let endpoint = self.endpoint_of(id).ok_or(UnknownRequest(id))?;
        self.fleet.threads.remember(answer, endpoint);
        Ok(())
    }

    /// Completes a request: releases its reservation, and learns from its usage. Computes in
    /// **O(blocks)** of its prompt, as do [`fail`](Self::fail) and [`cancel`](Self::cancel).
    ///
    /// # Errors
    ///
    /// If the request is not in flight. A second call changes nothing.
    pub fn complete(
        &mut self,
        now: Instant,
        id: RequestId,
        usage: Usage,
    ) -> Result<(), UnknownRequest> {
        let now = self.advance(now);
        let request = self.requests.remove(id).ok_or(UnknownRequest(id))?;
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            slot.counters.completed += 1;
        }
        self.counters.completed += 1;
        if request.started.is_none() {
            self.record_outcome(now, &request, Outcome::Answered { late: false });
        }
        self.learn(now, &request, usage);
        let endpoint = request.reservation.endpoint();
        self.settle(now, &request, End::Completed(usage));
        self.leave_blocks(now, request);
        self.queueing.endpoint_changed(&self.fleet, endpoint);
        Ok(())
    }

    /// Ends a request that its endpoint failed: unreachable, engine error or timeout. After a
    /// client error such as `400 Bad Request`, use [`cancel`](Self::cancel). Releases the
    /// reservation. Without a first token, blocks that only this request would have stored are
    /// dropped.
    ///
    /// An endpoint that fails more than its peers is backed off for
    /// [`Config::backoff`](crate::Config::backoff), and twice as long after each failed trial.
    /// Otherwise it would look idle and attract all requests. A successful trial ends the backoff.
    ///
    /// # Errors
    ///
    /// If the request is not in flight.
    pub fn fail(
        &mut self,
        now: Instant,
        id: RequestId,
        failure: Failure,
    ) -> Result<(), UnknownRequest> {
        let now = self.advance(now);
        let request = self.requests.remove(id).ok_or(UnknownRequest(id))?;
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            slot.counters.failed += 1;
        }
        self.record_outcome(
            now,
            &request,
            Outcome::Failed { reached: failure != Failure::Unreachable },
        );
        self.counters.fail(failure);
        self.abandon(
            now,
            request,
            if failure == Failure::Unreachable { End::NeverBegun } else { End::Abandoned },
        );
        Ok(())
    }

    /// Ends a request whose client has disconnected or has made an error. The evidence against the
    /// endpoint is weaker than for [`fail`](Self::fail), and there is none after the first token.
    /// Returns whether the request was queued or in flight.
    pub fn cancel(&mut self, now: Instant, id: RequestId) -> bool {
        let now = self.advance(now);
        if self.queueing.cancel(now, id) {
            self.counters.cancelled += 1;
            return true;
        }
        let Some(request) = self.requests.remove(id) else { return false };
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            slot.counters.cancelled += 1;
        }
        if request.started.is_none() {
            self.record_outcome(now, &request, Outcome::Unanswered);
        }
        self.counters.cancelled += 1;
        self.settle(now, &request, End::Abandoned);
        if let Some(request) = self.linger(now, request) {
            self.withdraw_or_leave(now, request);
        }
        true
    }

    /// Moves a request without a first token to another endpoint, such as the first of
    /// [`Dispatch::alternatives`](crate::Dispatch::alternatives) after a refused connection. The
    /// new endpoint may be draining, full, or serve another model. Counts as a failure of the old
    /// endpoint, which was [unreachable](Failure::Unreachable): see
    /// [`redirect_after`](Self::redirect_after).
    ///
    /// # Errors
    ///
    /// If the request is not in flight or has had its first token, or if the endpoint is unknown.
    /// The reservation is unchanged then.
    pub fn redirect(
        &mut self,
        now: Instant,
        id: RequestId,
        to: EndpointId,
    ) -> Result<(), RedirectError> {
        self.redirect_after(now, id, to, Failure::Unreachable)
    }

    /// [`redirect`](Self::redirect) after another failure than an unreachable endpoint.
    ///
    /// # Errors
    ///
    /// As for [`redirect`](Self::redirect).
    pub fn redirect_after(
        &mut self,
        now: Instant,
        id: RequestId,
        to: EndpointId,
        failure: Failure,
    ) -> Result<(), RedirectError> {
        let now = self.advance(now);
        let layout = self.fleet.pool.get(to)?.layout;
        let request = self.requests.get(id).ok_or(RedirectError::UnknownRequest(id))?;
        if request.reservation.started() {
            return Err(RedirectError::Started(id));
        }
        let request = self.requests.remove(id).ok_or(RedirectError::UnknownRequest(id))?;
        let from = request.reservation.endpoint();
        if from != to {
            self.record_outcome(
                now,
                &request,
                Outcome::Failed { reached: failure != Failure::Unreachable },
            );
            if let Ok(slot) = self.fleet.pool.get_mut(from) {
                slot.counters.failed += 1;
            }
        }
        let InFlight { reservation, mut prompt, charge, session, suspect, .. } = request;
        self.withdraw(now, reservation, &prompt);
        if !prompt.is_for(layout) {
            prompt.chain = Vec::new();
            prompt.layout = Some(layout);
        }
        let cached = prompt.span.cached(self.fleet.prefixes.depth(to.slot, &prompt.chain));
        if let Some(mut request) = self.book(now, to, cached, prompt) {
            (request.charge, request.session, request.suspect) = (charge, session, suspect);
            self.requests.insert(id, request);
        }
        if let (Some(session), Some(guard)) = (session, self.queueing.guard_mut()) {
            guard.redirect(session, to.slot);
        }
        self.queueing.endpoint_changed(&self.fleet, from);
        self.counters.redirected += 1;
        Ok(())
    }

    /// Charges a request's flow the actual cost, and marks its session idle.
    ///
    /// Reported answer tokens count in full, however the request ended. A prefill that may be
    /// unfinished is charged at most the time since the dispatch. A prefill that never reached the
    /// endpoint is free. So a client gains nothing by disconnecting early.
    fn settle(&mut self, now: Instant, request: &InFlight, end: End) {
        let usage = end.usage();
        let tokens = request.prompt.tokens;
        let told = u32::try_from(request.reservation.answer_tokens()).unwrap_or(u32::MAX);
        let answer = usage.and_then(|usage| usage.completion_tokens).unwrap_or(0).max(told);
        if let Some(charge) = request.charge {
            let cached =
                usage.and_then(|usage| request.cached_as_predicted(usage)).unwrap_or(request.hit);
            let whole =
                self.fleet.config.prefill.work(tokens.saturating_sub(cached), cached.min(tokens));
            let prefill = match end {
                End::Completed(_) => whole,
                End::Abandoned if request.started.is_some() => whole,
                End::Abandoned => whole.min(now.saturating_since(request.dispatched).into()),
                End::NeverBegun => Seconds::ZERO,
            };
            let actual = prefill + self.fleet.output_cost(answer);
            self.queueing.settle(charge, actual);
        }
        if let (Some(session), Some(guard)) = (request.session, self.queueing.guard_mut()) {
            guard.end(now, session, tokens.saturating_add(answer));
            if let Some(cached) = usage.and_then(|usage| request.cached_as_predicted(usage)) {
                guard.observe(request.hit, cached);
            }
        }
    }

    /// Ends a request without an answer: settles its charge and releases its reservation.
    fn abandon(&mut self, now: Instant, request: InFlight, end: End) {
        self.settle(now, &request, end);
        self.withdraw_or_leave(now, request);
    }

    /// Releases a reservation. The blocks stay in the cache if the request had a first token.
    fn withdraw_or_leave(&mut self, now: Instant, request: InFlight) {
        let endpoint = request.reservation.endpoint();
        if request.reservation.started() {
            self.leave_blocks(now, request);
        } else {
            self.withdraw(now, request.reservation, &request.prompt);
        }
        self.queueing.endpoint_changed(&self.fleet, endpoint);
    }

    /// Records the outcome as evidence of the endpoint's health.
    fn record_outcome(&mut self, now: Instant, request: &InFlight, outcome: Outcome) {
        let (endpoint, order) = (request.reservation.endpoint(), request.reservation.order());
        let context =
            OutcomeContext { endpoint, order, flow: request.suspect, since: request.dispatched };
        self.fleet.pool.record_outcome(now, context, outcome, self.fleet.backoff_periods());
    }

    /// Releases a reservation without a first token: its blocks are not in the cache.
    fn withdraw(&mut self, now: Instant, reservation: Reservation, prompt: &PlacedPrompt) {
        let endpoint = reservation.endpoint();
        if self.fleet.pool.get(endpoint).is_ok() {
            self.fleet.prefixes.forget_use(endpoint.slot, &prompt.chain, reservation.order());
        }
        self.fleet.pool.release(now, reservation, false);
    }

    /// Releases a reservation whose blocks are in the endpoint's cache.
    ///
    /// Engines keep the blocks of live requests, so for the eviction order they were used until
    /// now.
    pub(super) fn leave_blocks(&mut self, now: Instant, mut request: InFlight) {
        self.expect_confirmation(now, &mut request);
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            // The endpoint's layout may have changed by an update or a KV event.
            if request.prompt.is_for(slot.layout) {
                let block_tokens = request.prompt.span.block_tokens();
                let used = BlockUse { stamp: slot.next_use(), block_tokens, now, computed: true };
                self.fleet.prefixes.record_use(slot.id.slot, &request.prompt.chain, used);
            }
        }
        self.fleet.pool.release(now, request.reservation, true);
    }

    /// Starts the time in which KV events must confirm the prompt's computed blocks.
    fn expect_confirmation(&mut self, now: Instant, request: &mut InFlight) {
        // Events carry token ids, so they cannot confirm text.
        if request.prompt.text.is_some() || request.prompt.chain.is_empty() {
            return;
        }
        let endpoint = request.reservation.endpoint();
        let here =
            self.fleet.pool.get(endpoint).is_ok_and(|slot| request.prompt.is_for(slot.layout));
        if here && self.fleet.prefixes.has_kv_events(endpoint.slot) {
            let chain = core::mem::take(&mut request.prompt.chain);
            self.fleet.prefixes.expect_confirmation(
                endpoint.slot,
                chain,
                request.reservation.order(),
                now,
            );
        }
    }

    fn learn_speed(&mut self, now: Instant, request: &InFlight) {
        let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) else { return };
        // The latency of a request that waited for KV blocks is no evidence of speed.
        let roomy =
            (slot.in_flight.kv_tokens() as f64) < KV_BLOCKED * f64::from(slot.kv_cache_tokens);
        if self.fleet.config.learn_speed && roomy {
            let begun = slot
                .in_flight
                .first_token_at()
                .map_or(request.dispatched, |at| at.max(request.dispatched));
            let service = Seconds::from(now.saturating_since(begun));
            let miss = request.prompt.tokens.saturating_sub(request.hit);
            slot.speed.observe(now, service, slot.prefill.service(miss, request.hit));
        }
    }

    fn learn(&mut self, now: Instant, request: &InFlight, usage: Usage) {
        self.fleet.mean_residence.observe(now.saturating_since(request.dispatched).as_secs_f64());
        self.queueing.retry_slots_mut().observe(now.saturating_since(request.dispatched));
        if let (Some(started), Ok(slot)) =
            (request.started, self.fleet.pool.get_mut(request.reservation.endpoint()))
        {
            slot.answer_time.observe(now.saturating_since(started).as_secs_f64());
        }
        if let Some(tokens) = usage.completion_tokens {
            self.fleet.mean_output.observe(f64::from(tokens));
        }
        if let (Some(text), Some(tokens)) = (request.prompt.text, usage.prompt_tokens) {
            self.fleet.bytes_per_token.observe(text.model, text.flow, text.bytes, tokens);
        }
        if let Some(cached) = request.cached_as_predicted(usage) {
            self.counters.report_cached(request.hit, cached);
            self.correct(request, cached);
        }
    }

    /// Corrects the estimate of a cache after an engine found fewer cached tokens than predicted.
    /// Once a second answer agrees, blocks unused for as long are dropped.
    fn correct(&mut self, request: &InFlight, cached: u32) {
        let block = request.prompt.span.block_tokens();
        let slack = block.saturating_add(request.prompt.span.tokens() / SLACK_SHARE);
        let Some(evidence) = request.evidence else { return };
        let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) else { return };
        if cached.saturating_add(slack) >= request.hit {
            slot.evictions.found(evidence.last_block);
            return;
        }
        let unused_since = if cached < block { evidence.first_block } else { evidence.last_block };
        let observed = Shortfall { unused_since, placed: request.reservation.order() };
        let Some(agreed) = slot.evictions.observe(observed) else { return };
        self.fleet.prefixes.forget_unused_since(slot.id.slot, agreed);
        self.counters.corrections += 1;
    }
}

/// The end of a request, for the charge to its flow.
#[derive(Clone, Copy, Debug)]
enum End {
    Completed(Usage),
    Abandoned,
    /// The request never reached the endpoint.
    NeverBegun,
}

impl End {
    const fn usage(self) -> Option<Usage> {
        match self {
            Self::Completed(usage) => Some(usage),
            Self::Abandoned | Self::NeverBegun => None,
        }
    }
}

impl InFlight {
    /// The reported cached tokens in units of the prediction. The length of a text prompt is an
    /// estimate, so only the cached *share* can be compared.
    fn cached_as_predicted(&self, usage: Usage) -> Option<u32> {
        let cached = usage.cached_tokens.filter(|_| self.prompt.cache_use == CacheUse::Read)?;
        if self.prompt.text.is_none() {
            return Some(cached);
        }
        let counted = usage.prompt_tokens.filter(|tokens| *tokens > 0)?;
        let scaled = u64::from(cached) * u64::from(self.prompt.span.tokens()) / u64::from(counted);
        Some(u32::try_from(scaled).unwrap_or(u32::MAX))
    }
}

/// A first token is late if it takes this many times the predicted time. Smaller factors are usual
/// in a pool near its limit. A merely busy endpoint must not be backed off, because its requests
/// would delay the other endpoints.
const LATE_FACTOR: f64 = 20.0;
/// A first token is never late before this time.
const LATE: Seconds = Seconds::new(10.0);
/// Share of the KV cache above which requests wait for blocks.
const KV_BLOCKED: f64 = 0.9;
/// The length of a text prompt is an estimate: a deviation of 1/16 is no evidence.
const SLACK_SHARE: u32 = 16;

/// The request is not in flight: it has ended, or never existed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an id is all there is to say")]
pub struct UnknownRequest(pub RequestId);

impl UnknownRequest {
    /// The stable code, for logs and other languages.
    pub const fn code(&self) -> &'static str {
        "unknown_request"
    }
}

impl fmt::Display for UnknownRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not in flight", self.0)
    }
}

impl core::error::Error for UnknownRequest {}

/// Why a request could not be redirected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedirectError {
    /// The request is not in flight.
    UnknownRequest(RequestId),
    /// The endpoint is not in the pool.
    UnknownEndpoint(EndpointId),
    /// The request has had its first token, and streams cannot move.
    Started(RequestId),
}

impl RedirectError {
    /// The stable code, for logs and other languages; messages may change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownRequest(_) => "unknown_request",
            Self::UnknownEndpoint(_) => "unknown_endpoint",
            Self::Started(_) => "request_started",
        }
    }
}

impl From<UnknownEndpoint> for RedirectError {
    fn from(unknown: UnknownEndpoint) -> Self {
        Self::UnknownEndpoint(unknown.0)
    }
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRequest(id) => write!(f, "{id} is not in flight"),
            Self::UnknownEndpoint(id) => write!(f, "unknown {id}"),
            Self::Started(id) => write!(f, "{id} has had its first token"),
        }
    }
}

impl core::error::Error for RedirectError {}
