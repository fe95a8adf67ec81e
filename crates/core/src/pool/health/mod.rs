//! Whether an endpoint can be trusted to answer.
//!
//! ```text
//!             evidence                    T over, and its turn              dispatched
//! serving ───────────────► backed off ─────────────────────► half-open ─────────────────► trial
//!    ▲                      ▲   ▲  ▲                                                    │   │
//!    │ 15 answers           │   │  └──────────────── failure: T is twice as long ───────┘   │
//!    └──────────── ramping ─┘   └─ a probe failed, from any state                           │
//!                     ▲                                                        first token  │
//!                     └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An endpoint that fails at once is always idle, and would draw all requests to itself. So it is excluded until a trial
//! succeeds: one request at a time. Half-open is `BackedOff` once its time is over. An endpoint that joins a pool at work
//! begins as ramping.
//!
//! A request that was dispatched before a backoff began proves nothing about what came after, so its outcome is ignored.

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
    /// A request did not reach it: [`Failure::Unreachable`](crate::Failure::Unreachable).
    Unreachable,
    /// Requests failed there, and not elsewhere.
    Failed,
    /// Requests ended there before their first token, and not elsewhere: answers like 404, or clients that left.
    Unanswered,
    /// First tokens came much later than predicted, and not elsewhere.
    Late,
    /// A probe failed: [`Scheduler::handle_probe`](crate::Scheduler::handle_probe).
    Probe,
}

impl BackoffCause {
    /// Its name in other languages and in logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
            Self::Probe => "probe",
        }
    }

    /// Whether a page or a probe can show that it is over: the endpoint could not be reached at all.
    const fn ends_with_contact(self) -> bool {
        matches!(self, Self::Unreachable | Self::Probe)
    }

    /// Whether one endpoint alone may be told from clients that leave or pools that are slow.
    pub(crate) const fn is_soft(self) -> bool {
        matches!(self, Self::Unanswered | Self::Late)
    }
}

/// What requests an endpoint takes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum HealthState {
    /// All.
    #[default]
    Serving,
    /// None until its time is over, then one trial.
    BackedOff,
    /// None until the trial in flight has ended.
    Trial,
    /// As many at once as its window allows, which doubles with each generation of answers.
    Ramping,
}

impl HealthState {
    /// Its name in other languages and in logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::BackedOff => "backed_off",
            Self::Trial => "trial",
            Self::Ramping => "ramping",
        }
    }
}

/// How long requests are held off, at first and at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackoffPeriods {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// How a request ended, or that its first token came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Its first token came, or it completed without one that was reported.
    Answered { late: bool },
    /// It failed; `reached` says whether the endpoint got it.
    Failed { reached: bool },
    /// It ended before its first token, and was no failure.
    Unanswered,
}

/// Whose outcome it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeContext {
    pub(crate) endpoint: EndpointId,
    /// The number of its dispatch there.
    pub(crate) order: u64,
    /// The key of its flow or session, if it has one.
    pub(crate) flow: Option<u64>,
    /// When it was dispatched.
    pub(crate) since: Instant,
}

/// The state of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    state: HealthState,
    /// Its time is over as far as the pool's outlines know.
    due: bool,
    /// A page or a probe has shown that it is there, so a trial need not wait.
    contacted: bool,
    /// A trial that a page had opened failed: pages prove nothing here.
    pages_mislead: bool,
    /// Requests at once while it is ramping.
    window: u32,
    /// Answers of this generation while it is ramping.
    answers: u32,
    /// Backoffs since it last served.
    failures: u32,
    cause: Option<BackoffCause>,
    until: Instant,
    failed_at: Instant,
    period: Duration,
    /// What the period may become.
    longest: Duration,
    /// Requests with no higher number were dispatched before the latest backoff.
    mark: u64,
    /// The pool's dispatches at the latest failure.
    dispatches: u64,
    /// What the pool has noted as the time to look again.
    pub(super) noted: Option<Instant>,
    evidence: Evidence,
    pub(super) window_of_outcomes: Window,
}

/// A trial may fail, so there is one for so many requests at most, unless it has waited for long.
const TRIAL_EVERY: u64 = 200;
/// So many periods are long.
const LONG: u32 = 10;
/// What could not be reached is seldom back at once: so many times the first period.
const UNREACHABLE: u32 = 10;
/// From this window on, an endpoint has no limit.
const WHOLE: u32 = 16;

impl Health {
    /// Of an endpoint that joins a pool at work.
    pub(crate) fn ramp(&mut self) {
        if self.state == HealthState::Serving {
            self.begin_ramp();
        }
    }

    /// Whether it takes no request now, and what it waits for then.
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

    /// Whether [`excludes`](Self::excludes) says so for every request before [`opens_at`](Self::opens_at).
    pub(crate) fn is_closed(&self, in_flight: u32) -> bool {
        match self.state {
            HealthState::Serving => false,
            HealthState::BackedOff | HealthState::Trial => !self.due,
            HealthState::Ramping => in_flight >= self.window,
        }
    }

    /// When to look again, if it is closed by the clock.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        matches!(self.state, HealthState::BackedOff | HealthState::Trial).then_some(self.until)
    }

    /// The clock has come to [`opens_at`](Self::opens_at): when to look again, if a trial must still wait for its turn.
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

    /// From when on a trial is due however few requests there are.
    fn turn_at(&self) -> Instant {
        self.until.max(self.failed_at + self.longest_turn())
    }

    fn longest_turn(&self) -> Duration {
        self.period.saturating_mul(LONG).min(self.longest)
    }

    /// A request was dispatched there: a trial, if its time is over.
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
            // A host that loses its request keeps the endpoint out no longer than this.
            self.until = now + backoff_periods.longest.max(backoff_periods.first);
            self.due = false;
        }
    }

    /// How long requests are held off, as a price for those that can go nowhere else.
    #[inline]
    pub(crate) fn backoff_remaining(&self, now: Instant) -> Seconds {
        match self.state {
            HealthState::Serving | HealthState::Ramping => Seconds::ZERO,
            HealthState::BackedOff => Seconds::from(self.until.saturating_since(now)),
            HealthState::Trial => Seconds::from(self.period),
        }
    }

    /// Whether what is known of request number `order` counts.
    pub(super) const fn counts(&self, order: u64) -> bool {
        order > self.mark
    }

    /// Whether it takes requests at all, so that its outcomes are part of the pool's rate.
    pub(super) const fn is_in_rotation(&self) -> bool {
        matches!(self.state, HealthState::Serving | HealthState::Ramping)
    }

    /// An answer came. `rates` are those of the classes elsewhere.
    pub(super) fn answered(&mut self, rates: [f64; 3], late: bool) {
        self.evidence.clear_by(Class::Failed, rates[Class::Failed as usize]);
        self.evidence.clear_by(Class::Unanswered, rates[Class::Unanswered as usize]);
        if !late {
            self.evidence.clear_by(Class::Late, rates[Class::Late as usize]);
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

    /// A bad outcome while it is in rotation, at this rate elsewhere: whether it is enough.
    pub(super) fn suspect(&mut self, class: Class, rate: f64, alone: bool) -> bool {
        self.evidence.weigh(class, rate, alone)
    }

    /// Takes it out of rotation, for twice as long as the last time since it served.
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

    /// A trial proved nothing: another one, after as long.
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

    /// The endpoint gave a page that could be read, or a probe passed: what could not be reached can be tried.
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

/// Where the pool and the endpoint are when a backoff begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// The endpoint's latest dispatch.
    pub(crate) order: u64,
    /// The pool's dispatches.
    pub(crate) dispatches: u64,
}
