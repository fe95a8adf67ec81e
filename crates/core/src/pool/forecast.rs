//! What external load is at least for some time, so that lower bounds of costs count it.
//!
//! The estimate of external load changes even without a report: it moves to the mean of the pool's
//! reports, and its price is the mean work of a request. So a best case counts what the estimate is
//! at least during a period, while the means stay above limits. Best cases are computed anew for
//! the next period, and when a mean falls below its limit. A search that meets neither condition
//! weighs all endpoints.

use core::time::Duration;

use super::best_case::LeastExternal;
use super::pool_reports::{PoolReports, ReportedMeans};
use super::slot::Slot;
use crate::time::Instant;

/// What the cost of external load depends on, beside the reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearnedMeans {
    /// Seconds of described prefill in a request.
    pub(crate) work: f64,
    /// The weight of a running answer.
    pub(crate) weight: f64,
    /// The lifetime of a report.
    pub(crate) lifetime: Duration,
}

/// The period and the limits for which best cases are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forecast {
    /// The latest time for which a best case was computed.
    from: Instant,
    until: Instant,
    /// The least means of the pool's reports.
    reported: ReportedMeans,
    /// The least means of work and weight, and the lifetime of reports.
    learned: LearnedMeans,
    /// At least one best case counts external load.
    is_active: bool,
}

/// Best cases are computed anew after this time at the latest.
const PERIOD: Duration = Duration::from_secs(1);
/// The part of learned means to which they may fall.
const LEAST_OF_LEARNED: f64 = 0.875;
/// Outweighs the rounding of a few operations.
const ROUNDED_DOWN: f64 = 1.0 - 1e-12;

impl Forecast {
    /// A forecast without external load.
    pub(super) const fn new() -> Self {
        Self {
            from: Instant::ORIGIN,
            until: Instant::ORIGIN,
            reported: ReportedMeans { waiting: 0.0, running: 0.0, kv_usage: 0.0 },
            learned: LearnedMeans { work: 0.0, weight: 0.0, lifetime: Duration::ZERO },
            is_active: false,
        }
    }

    /// Whether a best case counts external load.
    pub(super) const fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether best cases are lower bounds at `now`.
    pub(super) fn holds(
        &self,
        now: Instant,
        reports: &PoolReports,
        learned: &LearnedMeans,
    ) -> bool {
        !self.is_active
            || (self.from <= now
                && now <= self.until
                && reports.means().are_at_least(&self.reported)
                && learned.work >= self.learned.work
                && learned.weight >= self.learned.weight
                && learned.lifetime == self.learned.lifetime)
    }

    /// Moves the clock to `now`, for the best cases that are computed from now on.
    pub(super) fn advance(&mut self, now: Instant) {
        self.from = now;
    }

    /// Begins the next period at `now`. All best cases must be computed anew.
    pub(super) fn begin(&mut self, now: Instant, reports: &PoolReports, learned: &LearnedMeans) {
        *self = Self {
            from: now,
            until: now + PERIOD,
            reported: reports.least_means(),
            learned: LearnedMeans {
                work: learned.work * LEAST_OF_LEARNED,
                weight: learned.weight * LEAST_OF_LEARNED,
                lifetime: learned.lifetime,
            },
            is_active: false,
        };
    }

    /// The external load that the endpoint has at least, from now to the end of the period.
    pub(super) fn least(&mut self, slot: &Slot) -> LeastExternal {
        let Self { from, until, reported, learned, .. } = self;
        let least =
            slot.reports.least((*from, *until), reported, slot.kv_cache_tokens, learned.lifetime);
        let least = LeastExternal {
            wait: least.waiting * ROUNDED_DOWN * learned.work * slot.speed.factor(),
            kv_tokens: least.kv_tokens * ROUNDED_DOWN,
            running: least.running * ROUNDED_DOWN * learned.weight,
        };
        self.is_active |= least != LeastExternal::default();
        least
    }
}
