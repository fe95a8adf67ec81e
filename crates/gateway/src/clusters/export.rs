//! One export: its load, its health, and how it comes back or leaves.
//!
//! ```text
//!  Unready ──report──► healthy ──silent_after──► Silent
//!                       │   ▲                      │
//!              failures │   └──── report, then ────┘
//!                       ▼         a ramp
//!                    Failing ──backoff──► healthy, with a ramp
//! ```

use slotwise::Instant;

use super::config::{ClustersConfig, Export};
use super::ramp::Ramp;
use super::report::{Measured, Report};
use super::wait::Wait;

/// Whether an export may get requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Health {
    Healthy,
    /// The last report is older than the configured time, or there is none yet.
    Silent,
    /// Requests failed; it rests.
    Failing,
    /// It reports that it is unhealthy, or has no ready endpoint.
    Unready,
}

#[derive(Clone, Debug)]
pub(super) struct ExportState {
    /// Unique among all exports that ever were.
    pub(super) id: u64,
    pub(super) export: Export,
    /// This router's requests in flight.
    pub(super) in_flight: u64,
    pub(super) ramp: Ramp,
    /// A withdrawn export gets nothing new, and is removed when nothing is in flight.
    pub(super) withdrawn: bool,
    pub(super) measured: Option<Measured>,
    pub(super) wait: Wait,
    consecutive_failures: u32,
    failing_until: Option<Instant>,
    /// Whether becoming healthy starts a ramp. Exports of the first configuration have none.
    ramps: bool,
}

impl ExportState {
    /// An export with nothing absent.
    pub(super) fn new(id: u64, export: Export, ramps: bool) -> Self {
        Self {
            id,
            export,
            in_flight: 0,
            ramp: Ramp::default(),
            withdrawn: false,
            measured: None,
            wait: Wait::default(),
            consecutive_failures: 0,
            failing_until: None,
            ramps,
        }
    }

    /// Exports it again, or changes its description. A report by other metrics is forgotten.
    pub(super) fn renew(&mut self, now: Instant, export: Export) {
        if self.withdrawn {
            self.withdrawn = false;
            self.ramps = true;
            self.ramp.start(now);
        }
        if self.export.balancing != export.balancing {
            self.measured = None;
        }
        self.export = export;
    }

    /// Records a report. An export that becomes healthy takes its full share at once if no other of
    /// its pool is healthy.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        report: &Report,
        config: &ClustersConfig,
        alone: bool,
    ) {
        let was_healthy = self.health(now, config) == Health::Healthy;
        let before = self.measured.take();
        let measured = Measured::new(now, report, &self.export, self.in_flight, before.as_ref());
        self.measured = Some(measured);
        self.wait = Wait::reported(now, report.wait);
        if !was_healthy && self.health(now, config) == Health::Healthy {
            if self.ramps && !alone {
                self.ramp.start(now);
            }
            self.ramps = true;
        }
    }

    /// A request with so many uncached tokens was sent.
    pub(super) fn add_to_wait(&mut self, now: Instant, tokens: u64) {
        let endpoints = self.measured.as_ref().map_or(1, |measured| measured.ready_endpoints);
        self.wait.add(now, self.export.prefill(tokens), endpoints);
    }

    /// A request failed. One failure after a backoff begins the next one.
    pub(super) fn handle_failure(&mut self, now: Instant, config: &ClustersConfig) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        if self.consecutive_failures >= config.failures {
            let until = now + config.backoff.to_duration();
            self.failing_until = Some(until);
            self.ramp.start(until);
        }
    }

    pub(super) fn handle_success(&mut self) {
        self.consecutive_failures = 0;
    }

    pub(super) fn health(&self, now: Instant, config: &ClustersConfig) -> Health {
        let Some(measured) = &self.measured else { return Health::Silent };
        if !measured.ready {
            Health::Unready
        } else if self.failing_until.is_some_and(|until| now < until) {
            Health::Failing
        } else if now.saturating_since(measured.at) >= config.silent_after.to_duration() {
            Health::Silent
        } else {
            Health::Healthy
        }
    }

    /// The next time at which its health or the end of its ramp changes without an input.
    pub(super) fn next_timeout(&self, now: Instant, config: &ClustersConfig) -> Option<Instant> {
        let silent = self.measured.as_ref();
        let silent = silent.map(|measured| measured.at + config.silent_after.to_duration());
        let times = [silent, self.failing_until, self.ramp.end(now, config.ramp.to_duration())];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }

    pub(super) fn share(&self, now: Instant, config: &ClustersConfig) -> f64 {
        self.ramp.share(now, config.ramp.to_duration())
    }
}
