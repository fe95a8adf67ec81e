//! The stages of a request that have endpoints of their own: each ends once.
//!
//! ```text
//!  reserved ──complete_leg──► served: its blocks stay in the endpoint's cache
//!     │  │
//!     │  ├─────fail_leg─────► failed: the answer's endpoint computes the prompt itself
//!     │  └───redirect_leg───► reserved on the next best endpoint, or failed without one
//!     ▼
//!  with the request: served by its first token or completion, aborted by its failure or cancel
//! ```

use alloc::boxed::Box;
use core::fmt;

use super::Scheduler;
use super::in_flight::InFlight;
use crate::decision::Stage;
use crate::endpoint::EndpointId;
use crate::placement::Work;
use crate::pool::{BlockLayout, Outcome};
use crate::request::{Failure, RequestId, Usage};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// The endpoint of a stage before the answer, while that stage has not ended.
    pub fn leg_of(&self, id: RequestId, stage: Stage) -> Option<EndpointId> {
        Some(self.requests.get(id)?.legs.get(stage)?.reservation.endpoint())
    }

    /// Handles the end of a stage before the answer: its endpoint is released, and its speed is
    /// learned. The request stays in flight. Optional: the first token ends all stages before it,
    /// but later, and then no speed is learned.
    ///
    /// # Errors
    ///
    /// If the request is not in flight, or has no such stage on another endpoint, or the stage has
    /// ended. A second call changes nothing.
    ///
    /// ```
    /// use slotwise::{
    ///     Config, Decider, DisaggregationConfig, Endpoint, Instant, Request, Role, Scheduler,
    ///     Stage, Usage,
    /// };
    ///
    /// let mut disaggregation = DisaggregationConfig::default();
    /// disaggregation.prefill = Decider::AlwaysPd;
    /// let mut config = Config::default();
    /// config.disaggregation = Some(disaggregation);
    /// let mut scheduler = Scheduler::new(config)?;
    /// let now = Instant::ORIGIN;
    /// let prefiller = scheduler.add_endpoint(now, Endpoint::new("p").role(Role::Prefill))?;
    /// scheduler.add_endpoint(now, Endpoint::new("d").role(Role::Decode))?;
    ///
    /// let id = scheduler.pick(now, &Request::new("llama").tokens(&[1; 4_000]))?.request_id;
    /// assert_eq!(scheduler.in_flight_on(prefiller), Ok(1));
    /// scheduler.complete_leg(now, id, Stage::Prefill, Usage::default())?;
    /// assert_eq!(scheduler.in_flight_on(prefiller), Ok(0));
    /// assert!(scheduler.complete_leg(now, id, Stage::Prefill, Usage::default()).is_err());
    /// scheduler.complete(now, id, Usage::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn complete_leg(
        &mut self,
        now: Instant,
        id: RequestId,
        stage: Stage,
        usage: Usage,
    ) -> Result<(), LegError> {
        let now = self.advance(now);
        let leg = self.take_leg(id, stage)?;
        if stage == Stage::Prefill {
            self.learn_speed(now, &leg);
            self.learn_prompt(&leg, usage);
        }
        let late = leg.is_late(now);
        self.record_outcome(now, &leg, Outcome::Answered { late });
        self.release_leg(now, leg, LegEnd::Served);
        Ok(())
    }

    /// Handles the failure of a stage before the answer: only its endpoint is released, and the
    /// failure counts against it alone. After a failed prefill, the answer's endpoint is booked for
    /// the whole prompt. The request stays in flight.
    ///
    /// # Errors
    ///
    /// As for [`complete_leg`](Self::complete_leg).
    pub fn fail_leg(
        &mut self,
        now: Instant,
        id: RequestId,
        stage: Stage,
        failure: Failure,
    ) -> Result<(), LegError> {
        let now = self.advance(now);
        let leg = self.take_leg(id, stage)?;
        self.record_leg_failure(now, &leg, failure);
        self.release_leg(now, leg, LegEnd::Aborted);
        if stage == Stage::Prefill {
            self.prefill_locally(now, id);
        }
        Ok(())
    }

    /// Handles the failure of a stage before the answer, whose next best endpoint is reserved
    /// instead and returned. Without one, this is [`fail_leg`](Self::fail_leg) and returns `None`.
    /// At most [`Config::alternatives`](crate::Config::alternatives) endpoints follow the first.
    /// The failure counts against the failed endpoint alone.
    ///
    /// # Errors
    ///
    /// As for [`complete_leg`](Self::complete_leg).
    ///
    /// ```
    /// use slotwise::{
    ///     Config, Decider, DisaggregationConfig, Endpoint, Failure, Instant, Request, Role,
    ///     Scheduler, Stage,
    /// };
    ///
    /// let mut disaggregation = DisaggregationConfig::default();
    /// disaggregation.prefill = Decider::AlwaysPd;
    /// let mut config = Config::default();
    /// config.disaggregation = Some(disaggregation);
    /// let mut scheduler = Scheduler::new(config)?;
    /// let now = Instant::ORIGIN;
    /// for name in ["p1", "p2"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name).role(Role::Prefill))?;
    /// }
    /// scheduler.add_endpoint(now, Endpoint::new("d").role(Role::Decode))?;
    ///
    /// let id = scheduler.pick(now, &Request::new("llama").tokens(&[1; 4_000]))?.request_id;
    /// let first = scheduler.leg_of(id, Stage::Prefill).expect("disaggregated");
    /// let failed = |scheduler: &mut Scheduler| {
    ///     scheduler.redirect_leg(now, id, Stage::Prefill, Failure::Unreachable)
    /// };
    /// let second = failed(&mut scheduler)?.expect("the other prefilling endpoint");
    /// assert_ne!(first, second);
    /// assert_eq!(scheduler.in_flight_on(first), Ok(0));
    /// assert_eq!(scheduler.in_flight_on(second), Ok(1));
    /// assert_eq!(failed(&mut scheduler)?, None, "the decoding endpoint computes the prompt");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redirect_leg(
        &mut self,
        now: Instant,
        id: RequestId,
        stage: Stage,
        failure: Failure,
    ) -> Result<Option<EndpointId>, LegError> {
        let now = self.advance(now);
        let Some((to, layout)) = self.next_for_leg(id, stage) else {
            return self.fail_leg(now, id, stage, failure).map(|()| None);
        };
        let leg = self.take_leg(id, stage)?;
        let from = leg.reservation.endpoint();
        self.record_leg_failure(now, &leg, failure);
        let work = if stage == Stage::Encode { Work::Encode } else { Work::Prompt };
        if let Some(leg) = self.rebook(now, leg, to, layout, work) {
            if let Some(request) = self.requests.get_mut(id).filter(|_| stage == Stage::Prefill) {
                request.hit = leg.hit;
            }
            self.requests.put_leg(id, stage, leg);
        }
        self.queueing.endpoint_changed(&self.fleet, from);
        Ok(Some(to))
    }

    /// The next endpoint for a stage that fails, if it is in the pool and takes requests.
    fn next_for_leg(&mut self, id: RequestId, stage: Stage) -> Option<(EndpointId, BlockLayout)> {
        let leg = self.requests.get_mut(id)?.legs.get_mut(stage)?;
        while !leg.alternatives.is_empty() {
            let next = leg.alternatives.remove(0);
            let slot = self.fleet.pool.get(next).ok().filter(|slot| !slot.draining);
            if let Some(slot) = slot {
                return Some((next, slot.layout));
            }
        }
        None
    }

    /// Counts the failure of a stage against its endpoint.
    fn record_leg_failure(&mut self, now: Instant, leg: &InFlight, failure: Failure) {
        if let Ok(slot) = self.fleet.pool.get_mut(leg.reservation.endpoint()) {
            slot.counters.failed += 1;
        }
        let reached = failure != Failure::Unreachable;
        self.record_outcome(now, leg, Outcome::Failed { reached });
    }

    /// Ends the stages of a request that ends or has its first token.
    pub(super) fn end_legs(&mut self, now: Instant, request: &mut InFlight, end: LegEnd) {
        for leg in request.legs.take_all() {
            if end == LegEnd::Served {
                self.record_outcome(now, &leg, Outcome::Answered { late: false });
            }
            self.release_leg(now, leg, end);
        }
    }

    fn take_leg(&mut self, id: RequestId, stage: Stage) -> Result<Box<InFlight>, LegError> {
        if self.requests.get(id).is_none() {
            return Err(LegError::UnknownRequest(id));
        }
        self.requests.take_leg(id, stage).ok_or(LegError::NoLeg(id, stage))
    }

    fn release_leg(&mut self, now: Instant, mut leg: Box<InFlight>, end: LegEnd) {
        let endpoint = leg.reservation.endpoint();
        match end {
            LegEnd::Served => {
                let output = self.fleet.mean_output.get();
                self.fleet.pool.start(now, &mut leg.reservation, output);
                if let Ok(slot) = self.fleet.pool.get_mut(endpoint) {
                    slot.counters.completed += 1;
                }
                self.leave_blocks(now, leg);
            }
            LegEnd::Aborted => {
                if let Some(leg) = self.linger(now, leg) {
                    self.withdraw(now, leg.reservation, &leg.prompt);
                }
            }
        }
        self.queueing.endpoint_changed(&self.fleet, endpoint);
    }

    /// Books the answer's endpoint for the prompt, which no other endpoint computes any more.
    fn prefill_locally(&mut self, now: Instant, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let endpoint = request.reservation.endpoint();
        let Ok(layout) = self.fleet.pool.get(endpoint).map(|slot| slot.layout) else { return };
        if request.reservation.started() || !request.prefilled_elsewhere {
            return;
        }
        let Some(request) = self.requests.remove(id) else { return };
        if let Some(request) = self.rebook(now, request, endpoint, layout, Work::Prompt) {
            self.requests.insert(id, request);
        }
        self.queueing.endpoint_changed(&self.fleet, endpoint);
    }
}

impl InFlight {
    /// What the answer's endpoint does.
    pub(super) const fn answer_work(&self) -> Work {
        if self.prefilled_elsewhere {
            Work::Answer { ready_in: Seconds::ZERO }
        } else {
            Work::Prompt
        }
    }
}

/// How a stage before the answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LegEnd {
    Served,
    Aborted,
}

/// Why a stage before the answer could not be ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LegError {
    /// The request is not in flight.
    UnknownRequest(RequestId),
    /// The request has no such stage on another endpoint, or the stage has ended.
    NoLeg(RequestId, Stage),
}

impl LegError {
    /// The stable code, for logs and other languages; messages may change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownRequest(_) => "unknown_request",
            Self::NoLeg(..) => "no_leg",
        }
    }
}

impl fmt::Display for LegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRequest(id) => write!(f, "{id} is not in flight"),
            Self::NoLeg(id, stage) => write!(f, "{id} has no {stage} leg in flight"),
        }
    }
}

impl core::error::Error for LegError {}
