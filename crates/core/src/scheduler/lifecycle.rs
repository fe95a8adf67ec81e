//! The life of a request after its dispatch: first token, answer, redirection, and exactly one end.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::Scheduler;
use super::in_flight::InFlight;
use super::legs::LegEnd;
use super::settlement::End;
use crate::endpoint::EndpointId;
use crate::placement::Work;
use crate::pool::{BlockLayout, Outcome, UnknownEndpoint};
use crate::request::{AnswerId, Failure, RequestId, Usage};
use crate::time::Instant;

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
        let mut request = self.requests.take(id).ok_or(UnknownRequest(id))?;
        let reports_end = request.reservation.reports_end();
        if reports_end && !request.prefilled_elsewhere {
            self.learn_speed(now, &request);
        }
        self.end_legs(now, &mut request, LegEnd::Served);
        self.fleet.pool.start(now, &mut request.reservation, self.fleet.mean_output.get());
        self.counters.first_token.observe(now.saturating_since(request.dispatched));
        let late = reports_end && request.is_late(now);
        self.record_outcome(now, &request, Outcome::Answered { late });
        request.started = Some(now);
        request.running = self.running_beside(now, &request);
        self.expect_confirmation(now, &mut request);
        let endpoint = request.reservation.endpoint();
        self.requests.put_back(id, request);
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
        let mut request = self.requests.remove(id).ok_or(UnknownRequest(id))?;
        self.end_legs(now, &mut request, LegEnd::Served);
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
        let mut request = self.requests.remove(id).ok_or(UnknownRequest(id))?;
        self.end_legs(now, &mut request, LegEnd::Aborted);
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
        let Some(mut request) = self.requests.remove(id) else { return false };
        self.end_legs(now, &mut request, LegEnd::Aborted);
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
        let work = request.answer_work();
        let session = request.session;
        if let Some(request) = self.rebook(now, request, to, layout, work) {
            self.requests.insert(id, request);
        }
        if let (Some(session), Some(admission)) = (session, self.queueing.session_admission_mut()) {
            admission.redirect(session, to.slot);
        }
        self.queueing.endpoint_changed(&self.fleet, from);
        self.counters.redirected += 1;
        Ok(())
    }

    /// Releases the reservation of an answer without a first token, and books the endpoint `to`
    /// instead. Its legs stay.
    pub(super) fn rebook(
        &mut self,
        now: Instant,
        request: Box<InFlight>,
        to: EndpointId,
        layout: BlockLayout,
        work: Work,
    ) -> Option<Box<InFlight>> {
        let InFlight { reservation, mut prompt, charge, session, suspect, legs, hit, .. } =
            *request;
        let alternatives = request.alternatives;
        self.withdraw(now, reservation, &prompt);
        if !prompt.is_for(layout) {
            prompt.chain = Vec::new();
            prompt.layout = Some(layout);
        }
        let cached = prompt.span.cached(self.fleet.prefixes.depth(to.slot, &prompt.chain));
        let mut request = self.book(now, to, cached, prompt, work, None)?;
        (request.charge, request.session, request.suspect) = (charge, session, suspect);
        (request.legs, request.alternatives) = (legs, alternatives);
        if request.prefilled_elsewhere {
            request.hit = hit;
        }
        Some(request)
    }
}

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
