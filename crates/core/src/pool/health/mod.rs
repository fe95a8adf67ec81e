//! The health of an endpoint: which requests it may take after failures.
//!
//! ```text
//!             evidence                    T is over, and its turn           dispatched
//! serving ───────────────► backed off ─────────────────────► half-open ─────────────────► trial
//!    ▲                      ▲   ▲  ▲                                                    │   │
//!    │ 15 answers           │   │  └──────────────── failure: T is twice as long ───────┘   │
//!    └──────────── ramping ─┘   └─ a probe failed, from any state                           │
//!                     ▲                                                        first token  │
//!                     └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An endpoint that fails at once is always idle and would attract all requests. It is therefore
//! excluded until a trial succeeds, one request at a time. Half-open is `BackedOff` after its
//! period. An endpoint that joins a working pool starts as ramping.
//!
//! Outcomes of requests dispatched before a backoff are ignored: they are no evidence about later
//! state.

mod evidence;
mod suspects;

use core::time::Duration;

use crate::endpoint::EndpointId;
use crate::time::{Instant, Seconds};

pub(crate) use evidence::{BAD_RATE, Class, Window, rate};
pub(crate) use suspects::{FlowEvidence, SuspectFlows};

use evidence::Evidence;

/// Why an endpoint is backed off.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum BackoffCause {
    /// A request did not reach the endpoint: [`Failure::Unreachable`](crate::Failure::Unreachable).
    Unreachable,
    /// Requests failed on this endpoint but not on others.
    Failed,
    /// Requests ended before their first token on this endpoint but not on others: answers like
    /// 404, or clients that disconnected.
    Unanswered,
    /// First tokens were much later than predicted on this endpoint but not on others.
    Late,
    /// A probe failed: [`Scheduler::handle_probe`](crate::Scheduler::handle_probe).
    Probe,
}

impl BackoffCause {
    /// A stable code for logs and other languages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
            Self::Probe => "probe",
        }
    }

    /// Whether a metrics page or a probe can end the backoff, because the endpoint was unreachable.
    const fn ends_with_contact(self) -> bool {
        matches!(self, Self::Unreachable | Self::Probe)
    }

    /// Whether clients that disconnect, or a slow pool, can also produce this cause.
    pub(crate) const fn is_soft(self) -> bool {
        matches!(self, Self::Unanswered | Self::Late)
    }
}

/// Which requests an endpoint takes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum HealthState {
    /// All requests.
    #[default]
    Serving,
    /// None until its period is over, then one trial.
    BackedOff,
    /// None until the trial in flight has ended.
    Trial,
    /// As many at once as its window allows; the window doubles with each generation of answers.
    Ramping,
}

impl HealthState {
    /// A stable code for logs and other languages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::BackedOff => "backed_off",
            Self::Trial => "trial",
            Self::Ramping => "ramping",
        }
    }
}

/// The first and the longest backoff period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackoffPeriods {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The first token was reported, or the request completed without a reported one.
    Answered { late: bool },
    /// The request failed; `reached` is whether the endpoint received it.
    Failed { reached: bool },
    /// The request ended before its first token without a failure.
    Unanswered,
}

/// The request and endpoint of an outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeContext {
    pub(crate) endpoint: EndpointId,
    /// The number of its dispatch on the endpoint.
    pub(crate) order: u64,
    /// The key of its flow or session, if it has one.
    pub(crate) flow: Option<u64>,
    /// The time of its dispatch.
    pub(crate) since: Instant,
}

/// The health of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    state: HealthState,
    /// Its period is over, as the pool's best cases reflect it.
    due: bool,
    /// A page or a probe has shown contact, so a trial need not wait.
    contacted: bool,
    /// A trial that a page had opened failed; pages no longer count as contact.
    pages_mislead: bool,
    /// Limit of concurrent requests while ramping.
    window: u32,
    /// Answers of this generation while ramping.
    answers: u32,
    /// Backoffs since it last served.
    failures: u32,
    cause: Option<BackoffCause>,
    until: Instant,
    failed_at: Instant,
    period: Duration,
    /// Upper limit of the period.
    longest: Duration,
    /// Requests up to this number were dispatched before the latest backoff.
    mark: u64,
    /// The pool's dispatches at the latest failure.
    dispatches: u64,
    /// The next check that the pool has scheduled.
    pub(super) noted: Option<Instant>,
    evidence: Evidence,
    pub(super) window_of_outcomes: Window,
}

/// A trial can fail, so at most one in this many requests is a trial, unless it has waited long.
const TRIAL_EVERY: u64 = 200;
/// Number of periods that count as long.
const LONG: u32 = 10;
/// Multiple of the first period for unreachable endpoints, which rarely recover at once.
const UNREACHABLE: u32 = 10;
/// From this window on, the endpoint has no limit.
const WHOLE: u32 = 16;

impl Health {
    /// Starts the ramp of an endpoint that joins a working pool.
    pub(crate) fn ramp(&mut self) {
        if self.state == HealthState::Serving {
            self.begin_ramp();
        }
    }

    /// The state because of which it takes no request now, if any.
    #[inline]
    pub(crate) fn excludes(
        &self,
        now: Instant,
        in_flight: u32,
        dispatches: u64,
    ) -> Option<HealthState> {
        let excluded = match self.state {
            HealthState::Serving => return None,
            HealthState::BackedOff => !self.may_try(now, dispatches),
            HealthState::Trial => now < self.until,
            HealthState::Ramping => in_flight >= self.window,
        };
        excluded.then_some(self.state)
    }

    /// Whether [`excludes`](Self::excludes) holds for every request before
    /// [`opens_at`](Self::opens_at).
    pub(crate) fn is_closed(&self, in_flight: u32) -> bool {
        match self.state {
            HealthState::Serving => false,
            HealthState::BackedOff | HealthState::Trial => !self.due,
            HealthState::Ramping => in_flight >= self.window,
        }
    }

    /// When to check again, if a timeout closes it.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        matches!(self.state, HealthState::BackedOff | HealthState::Trial).then_some(self.until)
    }

    /// Handles the time [`opens_at`](Self::opens_at). Returns the next check if a trial must still
    /// wait.
    pub(super) fn come_due(&mut self, now: Instant) -> Option<Instant> {
        let next = self.turn_at();
        match self.opens_at() {
            Some(at) if at <= now => self.due = true,
            at => return at,
        }
        (self.state == HealthState::BackedOff && next > now).then_some(next)
    }

    fn may_try(&self, now: Instant, dispatches: u64) -> bool {
        let its_turn = || {
            self.contacted
                || dispatches.saturating_sub(self.dispatches) >= TRIAL_EVERY
                || now >= self.turn_at()
        };
        now >= self.until && its_turn()
    }

    /// The time from which a trial is due regardless of the number of requests.
    fn turn_at(&self) -> Instant {
        self.until.max(self.failed_at + self.longest_turn())
    }

    fn longest_turn(&self) -> Duration {
        self.period.saturating_mul(LONG).min(self.longest)
    }

    /// Records a dispatch, which is a trial if the period is over.
    pub(super) fn dispatched(
        &mut self,
        now: Instant,
        dispatches: u64,
        backoff_periods: BackoffPeriods,
    ) {
        let tries = match self.state {
            HealthState::BackedOff => self.may_try(now, dispatches),
            HealthState::Trial => now >= self.until,
            HealthState::Serving | HealthState::Ramping => false,
        };
        if tries {
            self.state = HealthState::Trial;
            // Limits the exclusion if the host never ends the trial request.
            self.until = now + backoff_periods.longest.max(backoff_periods.first);
            self.due = false;
        }
    }

    /// The remaining backoff, as a cost for requests that have no other endpoint.
    #[inline]
    pub(crate) fn backoff_remaining(&self, now: Instant) -> Seconds {
        match self.state {
            HealthState::Serving | HealthState::Ramping => Seconds::ZERO,
            HealthState::BackedOff => Seconds::from(self.until.saturating_since(now)),
            HealthState::Trial => Seconds::from(self.period),
        }
    }

    /// Whether the outcome of request number `order` counts.
    pub(super) const fn counts(&self, order: u64) -> bool {
        order > self.mark
    }

    /// Whether it takes requests regularly, so that its outcomes count for the pool's rate.
    pub(super) const fn is_in_rotation(&self) -> bool {
        matches!(self.state, HealthState::Serving | HealthState::Ramping)
    }

    /// Whether there is evidence against the endpoint.
    pub(super) fn is_suspected(&self) -> bool {
        !self.evidence.is_none()
    }

    /// Records an answer. `rates` are the classes' rates on other endpoints, if there is evidence
    /// against this one.
    pub(super) fn answered(&mut self, rates: Option<[f64; 3]>, late: bool) {
        if let Some([failed, unanswered, delayed]) = rates {
            self.evidence.clear_by(Class::Failed, failed);
            self.evidence.clear_by(Class::Unanswered, unanswered);
            if !late {
                self.evidence.clear_by(Class::Late, delayed);
            }
        }
        match self.state {
            HealthState::Serving => {}
            HealthState::BackedOff | HealthState::Trial => self.begin_ramp(),
            HealthState::Ramping => {
                self.answers += 1;
                if self.answers >= self.window {
                    (self.window, self.answers) = (self.window * 2, 0);
                }
                if self.window >= WHOLE {
                    let (evidence, window) = (self.evidence, self.window_of_outcomes);
                    let mark = self.mark;
                    *self = Self { evidence, mark, window_of_outcomes: window, ..Self::default() };
                }
            }
        }
    }

    /// Records a bad outcome while in rotation, given its rate elsewhere. Returns whether the
    /// threshold is reached.
    pub(super) fn suspect(&mut self, class: Class, rate: f64, alone: bool) -> bool {
        self.evidence.weigh(class, rate, alone)
    }

    /// Backs the endpoint off, for twice the last period since it served.
    pub(super) fn back_off(
        &mut self,
        now: Instant,
        cause: BackoffCause,
        at: Mark,
        backoff_periods: BackoffPeriods,
    ) {
        let BackoffPeriods { first, longest } = backoff_periods;
        if first.is_zero() {
            return;
        }
        let first =
            if cause.ends_with_contact() { first.saturating_mul(UNREACHABLE) } else { first };
        self.period = self.period.saturating_mul(2).clamp(first.min(longest), longest);
        self.longest = longest;
        self.failures = self.failures.saturating_add(1);
        self.pages_mislead |= self.contacted;
        self.begin_backoff(now, cause, at);
    }

    /// Restarts the current period after an inconclusive trial.
    pub(super) fn renew(&mut self, now: Instant, at: Mark) {
        if let Some(cause) = self.cause {
            self.begin_backoff(now, cause, at);
        }
    }

    fn begin_backoff(&mut self, now: Instant, cause: BackoffCause, at: Mark) {
        self.state = HealthState::BackedOff;
        self.cause = Some(cause);
        (self.due, self.contacted) = (false, false);
        (self.failed_at, self.until) = (now, now + self.period);
        (self.mark, self.dispatches) = (at.order, at.dispatches);
        self.evidence = Evidence::default();
    }

    /// Records contact by a readable page or a passed probe, after which an unreachable endpoint
    /// may be tried.
    pub(super) fn contact(&mut self, now: Instant, is_probe: bool) {
        let ends = self.cause.is_some_and(BackoffCause::ends_with_contact);
        let waits = self.state == HealthState::BackedOff && now > self.failed_at;
        if waits && ends && (is_probe || !self.pages_mislead) {
            self.until = now.min(self.until);
            (self.contacted, self.due) = (true, true);
        }
    }

    fn begin_ramp(&mut self) {
        self.state = HealthState::Ramping;
        (self.window, self.answers, self.due, self.contacted) = (1, 0, false, false);
    }

    pub(crate) const fn state(&self) -> HealthState {
        self.state
    }

    pub(crate) fn cause(&self) -> Option<BackoffCause> {
        self.cause.filter(|_| !self.is_in_rotation())
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The dispatch numbers at the start of a backoff.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// The endpoint's latest dispatch.
    pub(crate) order: u64,
    /// The pool's dispatches.
    pub(crate) dispatches: u64,
}
