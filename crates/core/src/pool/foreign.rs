//! What others have running on an endpoint: its own reports, less what we know to be ours.
//!
//! A report is old when it arrives and older until the next one. Meanwhile, confidence moves from it to the pool's mean:
//! an endpoint that stops reporting looks like its peers, never idle.

use core::time::Duration;

use super::book::Book;
use crate::endpoint::Load;
use crate::time::{Instant, decay};

/// The last report of one endpoint, and the most that we had there since the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    sample: Sample,
    sampled_at: Option<Instant>,
    peak: Own,
}

/// Load that is not ours, as a report has it. In whole requests and tokens, so that sums over a pool stay exact.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sample {
    waiting: Option<u32>,
    running: Option<u32>,
    kv_tokens: Option<u64>,
}

/// Load that is not ours, as far as it can be told by now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ForeignLoad {
    /// Requests in the endpoint's queue.
    pub(crate) waiting: f64,
    /// Requests that it works on.
    pub(crate) running: f64,
    /// Tokens in its KV cache.
    pub(crate) kv_tokens: f64,
}

/// The sums of the last reports of a pool's endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolReports {
    waiting: Total,
    running: Total,
    kv_tokens: Total,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u64,
    sum: u64,
}

/// Our own load, as the endpoint would report it.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    pending: u32,
    in_flight: u32,
    kv_tokens: u64,
}

impl Reports {
    /// Keeps up with our own load: call it whenever that may have risen.
    ///
    /// A report cannot show more of ours than there was at some time since the report before it, so less than the peak
    /// is never taken for foreign.
    pub(crate) fn watch(&mut self, book: &Book, expected_output: f64) {
        let own = Own::of(book, expected_output);
        self.peak.pending = self.peak.pending.max(own.pending);
        self.peak.in_flight = self.peak.in_flight.max(own.in_flight);
        self.peak.kv_tokens = self.peak.kv_tokens.max(own.kv_tokens);
    }

    /// The endpoint, whose cache has room for `capacity` tokens, reported.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        load: &Load,
        capacity: u32,
        book: &Book,
        expected_output: f64,
    ) {
        self.watch(book, expected_output);
        let waiting = load.waiting.map(|waiting| waiting.saturating_sub(self.peak.pending));
        let running = load.running.map(|running| {
            let all = running.saturating_add(load.waiting.unwrap_or(0));
            all.saturating_sub(self.peak.in_flight).saturating_sub(waiting.unwrap_or(0))
        });
        let kv_tokens = load.kv_usage.map(|usage| {
            let used = (usage.clamp(0.0, 1.0) * f64::from(capacity)) as u64;
            used.saturating_sub(self.peak.kv_tokens)
        });
        self.sample = Sample { waiting, running, kv_tokens };
        self.sampled_at = Some(load.sampled_at.map_or(now, |at| at.min(now)));
        self.peak = Own::of(book, expected_output);
    }

    /// The foreign load by now: the last report while it is fresh, the pool's mean once it is stale or when there is none.
    pub(crate) fn estimate(&self, now: Instant, pool: &PoolReports, lifetime: Duration) -> ForeignLoad {
        if pool.are_silent() {
            return ForeignLoad::default();
        }
        let confidence = self.sampled_at.map_or(0.0, |at| {
            decay(now.saturating_since(at).as_secs_f64() / lifetime.as_secs_f64().max(1e-6))
        });
        let blend = |sample: Option<u64>, mean: f64| match sample {
            Some(sample) => confidence * sample as f64 + (1.0 - confidence) * mean,
            None => mean,
        };
        ForeignLoad {
            waiting: blend(self.sample.waiting.map(u64::from), pool.waiting.mean()),
            running: blend(self.sample.running.map(u64::from), pool.running.mean()),
            kv_tokens: blend(self.sample.kv_tokens, pool.kv_tokens.mean()),
        }
    }

    /// What the last report said that was not ours.
    pub(crate) const fn sample(&self) -> Sample {
        self.sample
    }

    /// When the last report was taken.
    pub(crate) const fn sampled_at(&self) -> Option<Instant> {
        self.sampled_at
    }
}

impl PoolReports {
    /// An endpoint's report takes the place of the one before.
    pub(crate) fn replace(&mut self, before: Sample, after: Sample) {
        self.waiting.replace(before.waiting.map(u64::from), after.waiting.map(u64::from));
        self.running.replace(before.running.map(u64::from), after.running.map(u64::from));
        self.kv_tokens.replace(before.kv_tokens, after.kv_tokens);
    }

    /// Whether no endpoint ever reported.
    const fn are_silent(&self) -> bool {
        self.waiting.count == 0 && self.running.count == 0 && self.kv_tokens.count == 0
    }
}

impl Total {
    fn replace(&mut self, before: Option<u64>, after: Option<u64>) {
        self.count = self.count + u64::from(after.is_some()) - u64::from(before.is_some());
        self.sum = self.sum + after.unwrap_or(0) - before.unwrap_or(0);
    }

    fn mean(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }
}

impl Own {
    fn of(book: &Book, expected_output: f64) -> Self {
        let answers = (f64::from(book.running()) * expected_output) as u64;
        Self {
            pending: book.pending(),
            in_flight: book.in_flight(),
            kv_tokens: book.kv_tokens().saturating_add(answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn busy_pool() -> PoolReports {
        let mut pool = PoolReports::default();
        let busy = Sample { waiting: Some(4), running: Some(10), kv_tokens: Some(50_000) };
        pool.replace(Sample::default(), busy);
        pool
    }

    #[test]
    fn our_own_requests_are_not_foreign_not_even_those_that_just_ended() {
        let (mut book, mut reports) = (Book::default(), Reports::default());
        book.reserve(at(0), 1, Duration::from_secs(1), 1_000);
        reports.watch(&book, 100.0);
        book.finish_prefill(1);
        book.shrink(1_000);
        let load = Load::default().waiting(1).running(0).kv_usage(0.01);
        reports.report(at(1), &load, 100_000, &book, 100.0);
        assert_eq!(reports.sample(), Sample { waiting: Some(0), running: Some(0), kv_tokens: Some(0) });
        reports.report(at(2), &load, 100_000, &book, 100.0);
        let foreign = Sample { waiting: Some(1), running: Some(0), kv_tokens: Some(1_000) };
        assert_eq!(reports.sample(), foreign, "now it must be somebody else's");
    }

    #[test]
    fn silence_looks_like_the_pool_and_never_idle() {
        let mut reports = Reports::default();
        let pool = busy_pool();
        assert!((reports.estimate(at(0), &pool, LIFETIME).waiting - 4.0).abs() < 1e-9);
        let idle = Load::default().waiting(0).running(0).kv_usage(0.0);
        reports.report(at(0), &idle, 100_000, &Book::default(), 100.0);
        assert_eq!(reports.estimate(at(0), &pool, LIFETIME), ForeignLoad::default());
        assert!((reports.estimate(at(60), &pool, LIFETIME).waiting - 4.0).abs() < 0.1);
    }

    #[test]
    fn what_a_report_leaves_out_comes_from_the_pool() {
        let mut reports = Reports::default();
        reports.report(at(0), &Load::default().running(3), 100_000, &Book::default(), 100.0);
        let estimate = reports.estimate(at(0), &busy_pool(), LIFETIME);
        assert_eq!(estimate, ForeignLoad { waiting: 4.0, running: 3.0, kv_tokens: 50_000.0 });
    }

    #[test]
    fn the_sums_of_a_pool_forget_what_is_replaced() {
        let mut pool = busy_pool();
        let busy = Sample { waiting: Some(4), running: Some(10), kv_tokens: Some(50_000) };
        pool.replace(busy, Sample::default());
        let none = Reports::default().estimate(at(0), &pool, LIFETIME);
        assert_eq!(none, ForeignLoad::default());
    }
}
