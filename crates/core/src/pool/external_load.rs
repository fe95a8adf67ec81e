//! Load on an endpoint that other clients cause: its reports, less this gateway's own load and that
//! of peers, which their messages count exactly.
//!
//! A report is stale on arrival and ages until the next. Its weight decays towards the pool's mean,
//! so an endpoint that stops reporting counts as average, never as idle.

use core::time::Duration;

use super::in_flight::InFlightLoad;
use super::peer_load::PeerLoad;
use super::pool_reports::{PoolReports, ReportedMeans, Sample};
use crate::load::Load;
use crate::time::{Instant, decay};

/// The last report of one endpoint, and this gateway's recent peak load there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    sample: Sample,
    /// When each value of the sample was measured; a report that omits a value leaves it and its
    /// age.
    taken: Taken,
    sampled_at: Option<Instant>,
    /// The last values as reported, with this gateway's own load.
    whole: Whole,
    /// Whether the engine sleeps, by its last report on that.
    asleep: bool,
    /// Number of reports that could not be parsed.
    errors: u64,
    /// The error, if the last report could not be parsed.
    error: Option<&'static str>,
    /// This gateway's peak load since the last report.
    peak: Own,
    /// Earlier peaks, each with the end of its interval: reports can arrive several intervals late.
    peaks: [(Instant, Own); 4],
    /// The load that peers have in flight there, of all of them.
    peers: PeerLoad,
}

/// An endpoint's whole load by its last report, of this gateway and of others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Whole {
    /// Requests in its queue.
    pub(crate) waiting: u32,
    /// Share of its KV cache, in `[0, 1]`.
    pub(crate) kv_usage: f64,
}

/// When the values of a [`Sample`] were measured.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    waiting: Option<Instant>,
    running: Option<Instant>,
    kv_usage: Option<Instant>,
}

/// The current estimate of external load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ExternalLoad {
    /// Requests in the endpoint's queue.
    pub(crate) waiting: f64,
    /// Running requests.
    pub(crate) running: f64,
    /// Tokens in its KV cache.
    pub(crate) kv_tokens: f64,
    /// Seconds of predicted prefill that peers have booked, beside the requests of `waiting`.
    pub(crate) booked: f64,
}

/// The load of this gateway and its peers, as the endpoint would report it.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    pending: u32,
    in_flight: u32,
    kv_tokens: u64,
}

impl Reports {
    /// Updates the peak of this gateway's load; called whenever that load may have risen.
    ///
    /// A report shows at most the peak of this gateway's load since its measurement. Load up to
    /// that peak is therefore never counted as external.
    pub(crate) fn watch(&mut self, in_flight: &InFlightLoad, expected_output_tokens: f64) {
        self.peak = self.peak.max(Own::of(in_flight, &self.peers, expected_output_tokens));
    }

    /// Replaces the load that peers have in flight there.
    pub(crate) fn set_peers(
        &mut self,
        peers: PeerLoad,
        in_flight: &InFlightLoad,
        expected_output_tokens: f64,
    ) {
        self.peers = peers;
        self.watch(in_flight, expected_output_tokens);
    }

    /// The load that peers have in flight there.
    pub(crate) const fn peers(&self) -> &PeerLoad {
        &self.peers
    }

    /// Records a report of the endpoint, whose cache holds `capacity` tokens. Reports older than
    /// the last one, and reports without values, are ignored. Values that a report omits keep their
    /// last state and age.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        load: &Load,
        capacity: u32,
        in_flight: &InFlightLoad,
        expected_output_tokens: f64,
    ) {
        let sampled_at = load.sampled_at.map_or(now, |at| at.min(now));
        self.error = None;
        let says_nothing = Load { sampled_at: load.sampled_at, ..Load::default() } == *load;
        if says_nothing {
            return;
        }
        if self.sampled_at.is_some_and(|last| sampled_at < last) {
            return;
        }
        self.watch(in_flight, expected_output_tokens);
        let lately = self.peaks.iter().filter(|(closed, _)| *closed >= sampled_at);
        let own = lately.fold(self.peak, |own, (_, peak)| own.max(*peak));

        let waiting = load.waiting.map(|waiting| waiting.saturating_sub(own.pending));
        let running = load.running.map(|running| {
            let all = running.saturating_add(load.waiting.unwrap_or(0));
            all.saturating_sub(own.in_flight).saturating_sub(waiting.unwrap_or(0))
        });
        let kv_usage = load.kv_usage.filter(|usage| !usage.is_nan()).map(|usage| {
            let ours = own.kv_tokens as f64 / f64::from(capacity);
            ((usage.clamp(0.0, 1.0) - ours).max(0.0) * 1e6) as u32
        });
        let keep = |new: Option<u32>, known: &mut Option<u32>, taken: &mut Option<Instant>| {
            if new.is_some() {
                (*known, *taken) = (new, Some(sampled_at));
            }
        };
        keep(waiting, &mut self.sample.waiting, &mut self.taken.waiting);
        keep(running, &mut self.sample.running, &mut self.taken.running);
        keep(kv_usage, &mut self.sample.kv_usage, &mut self.taken.kv_usage);
        self.whole.waiting = load.waiting.unwrap_or(self.whole.waiting);
        let usage = load.kv_usage.filter(|usage| !usage.is_nan());
        self.whole.kv_usage = usage.map_or(self.whole.kv_usage, |usage| usage.clamp(0.0, 1.0));
        self.asleep = load.sleeping.unwrap_or(self.asleep);
        self.sampled_at = Some(sampled_at);
        self.peaks.rotate_right(1);
        self.peaks[0] = (now, self.peak);
        self.peak = Own::of(in_flight, &self.peers, expected_output_tokens);
    }

    /// The external load at `now`: the [`estimate`](Self::estimate) and the load of peers.
    pub(crate) fn external(
        &self,
        now: Instant,
        pool: &PoolReports,
        capacity: u32,
        lifetime: Duration,
    ) -> ExternalLoad {
        let estimate = self.estimate(now, pool, capacity, lifetime);
        ExternalLoad {
            waiting: estimate.waiting,
            running: estimate.running + f64::from(self.peers.running),
            kv_tokens: estimate.kv_tokens + self.peers.kv_tokens as f64,
            booked: self.peers.booked.as_secs_f64(),
        }
    }

    /// Estimates the external load at `now` on an endpoint whose cache holds `capacity` tokens. The
    /// estimate moves from the last report to the pool's mean as the report ages.
    pub(crate) fn estimate(
        &self,
        now: Instant,
        pool: &PoolReports,
        capacity: u32,
        lifetime: Duration,
    ) -> ExternalLoad {
        if pool.are_empty() {
            return ExternalLoad::default();
        }
        let all = self.sampled_at.map(|at| (at, confidence(now, at, lifetime)));
        self.blend(&pool.means(), capacity, |_, taken| match all {
            // Usually all values were measured at once.
            Some((at, confidence)) if at == taken => confidence,
            _ => confidence(now, taken, lifetime),
        })
    }

    /// What the estimate is at least during a period, but for rounding, while the means of the
    /// pool's reports are at least `least`.
    ///
    /// It is less, the lower the means are. In time it falls where the sample is above the mean,
    /// and rises elsewhere.
    pub(super) fn least(
        &self,
        (from, until): (Instant, Instant),
        least: &ReportedMeans,
        capacity: u32,
        lifetime: Duration,
    ) -> ExternalLoad {
        self.blend(least, capacity, |falls, taken| {
            confidence(if falls { until } else { from }, taken, lifetime)
        })
    }

    /// The estimate from the last samples and the pool's means. `confidence` is the weight of a
    /// sample, from whether it is above the mean and from when it was taken.
    #[inline(always)]
    fn blend(
        &self,
        means: &ReportedMeans,
        capacity: u32,
        confidence: impl Fn(bool, Instant) -> f64,
    ) -> ExternalLoad {
        let blend = |sample: Option<u32>, taken: Option<Instant>, mean: f64| match (sample, taken) {
            (Some(sample), Some(taken)) => {
                let sample = f64::from(sample);
                let confidence = confidence(sample > mean, taken);
                confidence * sample + (1.0 - confidence) * mean
            }
            _ => mean,
        };
        let (sample, taken) = (&self.sample, &self.taken);
        let kv_usage = blend(sample.kv_usage, taken.kv_usage, means.kv_usage);
        ExternalLoad {
            waiting: blend(sample.waiting, taken.waiting, means.waiting),
            running: blend(sample.running, taken.running, means.running),
            kv_tokens: kv_usage / 1e6 * f64::from(capacity),
            booked: 0.0,
        }
    }

    /// The part of an [`estimate`](Self::estimate) for which this endpoint reported a value. The
    /// rest comes from other endpoints, whose reports can be of any age.
    pub(crate) fn reported_part(&self, estimate: ExternalLoad) -> ExternalLoad {
        let reported = |sample: Option<u32>, load| if sample.is_some() { load } else { 0.0 };
        ExternalLoad {
            waiting: reported(self.sample.waiting, estimate.waiting),
            running: reported(self.sample.running, estimate.running),
            kv_tokens: reported(self.sample.kv_usage, estimate.kv_tokens),
            booked: 0.0,
        }
    }

    /// The endpoint's whole load by its last report.
    pub(crate) const fn whole(&self) -> Whole {
        self.whole
    }

    /// The used share of the KV cache, if it was reported within the last `lifetime`.
    pub(crate) fn kv_usage(&self, now: Instant, lifetime: Duration) -> Option<f64> {
        let taken = self.taken.kv_usage?;
        (now.saturating_since(taken) <= lifetime).then_some(self.whole.kv_usage)
    }

    /// The external load in the last report.
    pub(crate) const fn sample(&self) -> Sample {
        self.sample
    }

    /// Records a report that could not be parsed. The last readable report continues to age.
    pub(crate) fn fail(&mut self, why: &'static str) {
        self.errors += 1;
        self.error = Some(why);
    }

    /// Number of reports that could not be parsed, and the error, if the last one could not.
    pub(crate) const fn errors(&self) -> (u64, Option<&'static str>) {
        (self.errors, self.error)
    }

    /// Whether the engine sleeps, by its last report on that.
    pub(crate) const fn asleep(&self) -> bool {
        self.asleep
    }

    /// When the last report was measured.
    pub(crate) const fn sampled_at(&self) -> Option<Instant> {
        self.sampled_at
    }
}

impl Own {
    fn of(in_flight: &InFlightLoad, peers: &PeerLoad, expected_output_tokens: f64) -> Self {
        let kv_tokens = in_flight.expected_kv_tokens(expected_output_tokens);
        // Engines report the answers, too, of which peers know only what was reported to them.
        let answers = (f64::from(peers.running) * expected_output_tokens) as u64;
        Self {
            pending: in_flight.pending().saturating_add(peers.prefilling),
            in_flight: in_flight.requests().saturating_add(peers.requests()),
            kv_tokens: kv_tokens.saturating_add(peers.kv_tokens).saturating_add(answers),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            pending: self.pending.max(other.pending),
            in_flight: self.in_flight.max(other.in_flight),
            kv_tokens: self.kv_tokens.max(other.kv_tokens),
        }
    }
}

/// The weight of a sample that was taken at `taken`, against the pool's mean.
fn confidence(now: Instant, taken: Instant, lifetime: Duration) -> f64 {
    decay(now.saturating_since(taken).as_secs_f64() / lifetime.as_secs_f64().max(1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(5);
    const CAPACITY: u32 = 100_000;
    const BUSY: Sample = Sample { waiting: Some(4), running: Some(10), kv_usage: Some(500_000) };

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn busy_pool() -> PoolReports {
        let mut pool = PoolReports::default();
        pool.replace(Sample::default(), BUSY);
        pool
    }

    fn report(reports: &mut Reports, now: Instant, load: Load, in_flight: &InFlightLoad) -> Sample {
        reports.report(now, &load, CAPACITY, in_flight, 100.0);
        reports.sample()
    }

    #[test]
    fn our_own_requests_are_not_foreign_not_even_those_that_just_ended() {
        let (mut in_flight, mut reports) = (InFlightLoad::default(), Reports::default());
        in_flight.reserve(at(0), 1, Duration::from_secs(1), 1_000, None);
        reports.watch(&in_flight, 100.0);
        in_flight.finish_prefill(at(1), 1);
        in_flight.shrink(1_000, 0);
        let load = Load::default().waiting(1).running(0).kv_usage(0.01);
        let none = Sample { waiting: Some(0), running: Some(0), kv_usage: Some(0) };
        assert_eq!(report(&mut reports, at(1), load, &in_flight), none);
        assert_eq!(
            report(&mut reports, at(2), load.sampled_at(at(1)), &in_flight),
            none,
            "it was taken before"
        );
        let external = Sample { waiting: Some(1), running: Some(0), kv_usage: Some(10_000) };
        assert_eq!(
            report(&mut reports, at(3), load, &in_flight),
            external,
            "now it must be external"
        );
    }

    #[test]
    fn reports_that_overtake_each_other_count_by_when_they_were_taken() {
        let mut reports = Reports::default();
        let load = |waiting: u32, taken| Load::default().waiting(waiting).sampled_at(at(taken));
        report(&mut reports, at(10), load(50, 9), &InFlightLoad::default());
        assert_eq!(
            report(&mut reports, at(10), load(0, 5), &InFlightLoad::default()).waiting,
            Some(50)
        );
    }

    #[test]
    fn silence_looks_like_the_pool_and_never_idle() {
        let mut reports = Reports::default();
        let pool = busy_pool();
        let waiting =
            |reports: &Reports, now| reports.estimate(now, &pool, CAPACITY, LIFETIME).waiting;
        assert!((waiting(&reports, at(0)) - 4.0).abs() < 1e-9);
        report(
            &mut reports,
            at(0),
            Load::default().waiting(0).running(0).kv_usage(0.0),
            &InFlightLoad::default(),
        );
        assert_eq!(reports.estimate(at(0), &pool, CAPACITY, LIFETIME), ExternalLoad::default());
        assert!((waiting(&reports, at(60)) - 4.0).abs() < 0.1);
    }

    #[test]
    fn what_a_report_leaves_out_comes_from_the_pool() {
        let mut reports = Reports::default();
        let mut load = Load::default().running(3);
        load.kv_usage = Some(f64::NAN);
        report(&mut reports, at(0), load, &InFlightLoad::default());
        let estimate = |capacity| reports.estimate(at(0), &busy_pool(), capacity, LIFETIME);
        let expected =
            |kv_tokens| ExternalLoad { waiting: 4.0, running: 3.0, kv_tokens, booked: 0.0 };
        assert_eq!(estimate(CAPACITY), expected(50_000.0));
        assert_eq!(estimate(CAPACITY / 10), expected(5_000.0), "half of a smaller cache");
        let reported_part = ExternalLoad { running: 3.0, ..ExternalLoad::default() };
        assert_eq!(reports.reported_part(estimate(CAPACITY)), reported_part);
    }

    #[test]
    fn a_report_that_leaves_something_out_does_not_take_it_back() {
        let mut reports = Reports::default();
        report(&mut reports, at(0), Load::default().waiting(50), &InFlightLoad::default());
        report(&mut reports, at(1), Load::default().kv_usage(0.5), &InFlightLoad::default());
        let sample = report(&mut reports, at(2), Load::default(), &InFlightLoad::default());
        assert_eq!(sample, Sample { waiting: Some(50), running: None, kv_usage: Some(500_000) });
        assert_eq!(reports.sampled_at(), Some(at(1)), "a report without values is ignored");
        let mut alone = PoolReports::default();
        alone.replace(Sample::default(), sample);
        let old = reports.estimate(at(1), &alone, CAPACITY, LIFETIME).waiting;
        assert!((old - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_page_that_lags_behind_never_hides_what_we_sent() {
        let (mut in_flight, mut reports) = (InFlightLoad::default(), Reports::default());
        for order in 1..=5 {
            in_flight.reserve(at(0), order, Duration::from_secs(1), 1_000, None);
        }
        for second in 1..=22 {
            let shown = Load::default().waiting(0).running(1);
            let none = Sample { waiting: Some(0), running: Some(0), kv_usage: None };
            assert_eq!(report(&mut reports, at(second), shown, &in_flight), none);
        }
        assert_eq!(in_flight.requests(), 5);
    }

    #[test]
    fn an_engine_sleeps_until_a_report_says_that_it_is_awake() {
        let mut reports = Reports::default();
        let mut report = |second, load| {
            report(&mut reports, at(second), load, &InFlightLoad::default());
            reports.asleep()
        };
        assert!(report(1, Load::default().waiting(0).sleeping(true)));
        assert!(report(2, Load::default().waiting(0)), "a page without the state");
        assert!(!report(3, Load::default().sleeping(false)));
        assert!(!report(3, Load::default().sleeping(true).sampled_at(at(2))), "an older page");
    }

    #[test]
    fn load_that_peers_report_is_not_counted_twice() {
        let (in_flight, mut reports) = (InFlightLoad::default(), Reports::default());
        let mut peers = PeerLoad::default();
        (peers.prefilling, peers.running, peers.kv_tokens) = (1, 2, 40_000);
        peers.booked = Duration::from_secs(3);
        reports.set_peers(peers, &in_flight, 100.0);
        let load = Load::default().waiting(1).running(3).kv_usage(0.75);
        // Without the 40,000 tokens of peers, and 100 of each answer that runs for them.
        let rest = Sample { waiting: Some(0), running: Some(1), kv_usage: Some(348_000) };
        assert_eq!(report(&mut reports, at(1), load, &in_flight), rest);
        let mut pool = PoolReports::default();
        pool.replace(Sample::default(), rest);
        let external = reports.external(at(1), &pool, CAPACITY, LIFETIME);
        assert_eq!((external.waiting, external.running, external.booked), (0.0, 3.0, 3.0));
        assert!((external.kv_tokens - 74_800.0).abs() < 1e-6);
        reports.set_peers(PeerLoad::default(), &in_flight, 100.0);
        let without = reports.external(at(1), &pool, CAPACITY, LIFETIME);
        assert_eq!(without, reports.estimate(at(1), &pool, CAPACITY, LIFETIME));
    }

    #[test]
    fn the_sums_of_a_pool_forget_what_is_replaced() {
        let mut pool = busy_pool();
        pool.replace(BUSY, Sample::default());
        let none = Reports::default().estimate(at(0), &pool, CAPACITY, LIFETIME);
        assert_eq!(none, ExternalLoad::default());
    }
}
