//! The pool's saturation: 0 is idle, 1 is full.
//!
//! ```text
//! pool                  the larger of two means: of the endpoints that prefill, and of those that
//!                       decode; of all if there are none of either; 1 without endpoints
//!
//! continuous            min(1, max(booked / hold, kv tokens / (kv limit · capacity)))
//! utilization-detector  max(waiting / 5, kv usage / 0.8)
//! concurrency-detector  requests / 100, tokens / 1e6, or the larger of the two
//! ```
//!
//! A waiting request may be dispatched while saturation is below its band's usage limit.

mod config;
mod of_facts;

use core::time::Duration;

use crate::endpoint::Role;
use crate::time::Seconds;

pub use config::{
    ConcurrencyDetector, ConcurrencyMode, ContinuousSaturation, SaturationPolicy,
    UtilizationDetector,
};
pub use of_facts::saturation;

/// A mean of saturations.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

/// The load of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndpointLoad {
    /// Predicted prefill before a new request's turn: this gateway's, and external waiting requests
    /// at the mean work of a request.
    pub(crate) booked: Seconds,
    /// This gateway's requests before and after their first token.
    pub(crate) in_flight: u32,
    /// Tokens of their prompts and answers.
    pub(crate) tokens_in_flight: u64,
    /// Tokens of live requests in its KV cache: this gateway's, and external ones of a fresh
    /// report.
    pub(crate) kv_tokens: f64,
    /// The capacity of its KV cache.
    pub(crate) kv_cache_tokens: f64,
    /// Requests in its queue: this gateway's before their first token, and external ones of a fresh
    /// report.
    pub(crate) waiting: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

impl SaturationPolicy {
    /// The pool's saturation, from its endpoints that take requests, with their roles. It is never
    /// NaN, and only the detectors exceed 1. Computes in **O(endpoints)**.
    ///
    /// An endpoint that prefills and decodes counts in both stages. A request needs both, so the
    /// fuller stage decides.
    ///
    /// Endpoints have equal weight. Their limits are shares and seconds of their own, so size is
    /// accounted for.
    pub(crate) fn of_pool(&self, endpoints: impl IntoIterator<Item = (Role, EndpointLoad)>) -> f64 {
        let [mut prefill, mut decode, mut whole] = [Mean::default(); 3];
        for (role, endpoint) in endpoints {
            let saturation = self.of(&endpoint);
            whole.add(saturation);
            if role.covers(Role::Prefill) {
                prefill.add(saturation);
            }
            if role.covers(Role::Decode) {
                decode.add(saturation);
            }
        }
        let stages = [prefill.get(), decode.get()].into_iter().flatten();
        stages.reduce(f64::max).or_else(|| whole.get()).unwrap_or(1.0)
    }

    /// Whether [`of_pool`](Self::of_pool) is at least 1. In a pool with space, usually one of the
    /// first endpoints decides: under the continuous policy none is above 1, so one that serves
    /// both stages and is not half full keeps both means below 1.
    pub(crate) fn is_full<E>(&self, endpoints: impl Fn() -> E) -> bool
    where
        E: Iterator<Item = (Role, EndpointLoad)>,
    {
        let decides = |(role, endpoint): (Role, EndpointLoad)| {
            role.covers(Role::Prefill) && role.covers(Role::Decode) && self.of(&endpoint) < 0.5
        };
        let has_space = matches!(self, Self::Continuous(_)) && endpoints().take(FEW).any(decides);
        !has_space && self.of_pool(endpoints()) >= 1.0
    }

    /// Whether this policy lets an endpoint take another request. The continuous policy checks only
    /// the KV cache, because [`FlowConfig::hold`](super::FlowConfig::hold) limits queued prefill.
    ///
    /// Above the limit, the KV cache is a reserve for requests of other flows. While there are
    /// none, half of it is in use, too.
    pub(crate) fn has_room(&self, endpoint: &EndpointLoad, has_other_flows: bool) -> bool {
        match self {
            Self::Continuous(ContinuousSaturation { kv_limit, .. }) => {
                let limit = if has_other_flows { *kv_limit } else { f64::midpoint(*kv_limit, 1.0) };
                endpoint.kv_tokens < limit * endpoint.kv_cache_tokens
            }
            Self::UtilizationDetector(detector) => detector.of(endpoint) < 1.0 + detector.headroom,
            Self::ConcurrencyDetector(detector) => self.of(endpoint) < 1.0 + detector.headroom,
        }
    }

    /// Whether an endpoint's whole report counts, as in the reference: until the next one, it also
    /// closes an endpoint by load that this gateway caused and that has ended since.
    pub(crate) const fn reads_reports(&self) -> bool {
        matches!(self, Self::UtilizationDetector(_))
    }

    /// The maximum age of a load report, given the configured `lifetime`; `None` if reports are not
    /// used. Without a limit, the last report of a silent endpoint would close it indefinitely.
    pub(crate) fn staleness(&self, lifetime: Duration) -> Option<Duration> {
        match self {
            Self::Continuous(_) => Some(lifetime.saturating_mul(LIFETIMES)),
            Self::UtilizationDetector(detector) => Some(detector.metrics_staleness_threshold),
            Self::ConcurrencyDetector(_) => None,
        }
    }

    /// The saturation of one endpoint.
    fn of(&self, endpoint: &EndpointLoad) -> f64 {
        match self {
            Self::Continuous(policy) => policy.of(endpoint),
            Self::UtilizationDetector(detector) => detector.of(endpoint),
            Self::ConcurrencyDetector(detector) => detector.of(endpoint),
        }
    }
}

impl ContinuousSaturation {
    fn of(&self, endpoint: &EndpointLoad) -> f64 {
        let queue = fill(endpoint.booked.get(), self.max_queued_prefill.as_secs_f64());
        let kv = fill(endpoint.kv_tokens, self.kv_limit * endpoint.kv_cache_tokens);
        queue.max(kv).min(1.0)
    }
}

impl UtilizationDetector {
    fn of(&self, endpoint: &EndpointLoad) -> f64 {
        let kv = fill(endpoint.kv_tokens, endpoint.kv_cache_tokens);
        fill(endpoint.waiting, f64::from(self.queue_depth_threshold))
            .max(fill(kv, self.kv_cache_util_threshold))
    }
}

impl ConcurrencyDetector {
    fn of(&self, endpoint: &EndpointLoad) -> f64 {
        let requests = fill(f64::from(endpoint.in_flight), f64::from(self.max_concurrency));
        let tokens = fill(endpoint.tokens_in_flight as f64, self.max_token_concurrency as f64);
        match self.concurrency_mode {
            ConcurrencyMode::Requests => requests,
            ConcurrencyMode::Tokens => tokens,
            ConcurrencyMode::Hybrid => requests.max(tokens),
        }
    }
}

/// Endpoints that may decide whether a pool is full, before all of them are read.
const FEW: usize = 64;
/// Lifetimes of a load report after which the continuous policy ignores it: its weight is 6 % by
/// then.
const LIFETIMES: u32 = 3;

/// The used share. Without capacity, and for NaN, it is 0.
fn fill(used: f64, room: f64) -> f64 {
    // `max` of NaN and a number is the number.
    if room > 0.0 { (used / room).max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn continuous() -> SaturationPolicy {
        SaturationPolicy::default()
    }

    fn utilization() -> SaturationPolicy {
        SaturationPolicy::UtilizationDetector(UtilizationDetector::default())
    }

    fn concurrency(concurrency_mode: ConcurrencyMode) -> SaturationPolicy {
        SaturationPolicy::ConcurrencyDetector(ConcurrencyDetector {
            concurrency_mode,
            ..ConcurrencyDetector::default()
        })
    }

    fn all() -> [SaturationPolicy; 5] {
        use ConcurrencyMode::{Hybrid, Requests, Tokens};
        [
            continuous(),
            utilization(),
            concurrency(Requests),
            concurrency(Tokens),
            concurrency(Hybrid),
        ]
    }

    fn idle() -> EndpointLoad {
        EndpointLoad { kv_cache_tokens: 100_000.0, ..EndpointLoad::default() }
    }

    fn of_unified(policy: SaturationPolicy, pool: &[EndpointLoad]) -> f64 {
        policy.of_pool(pool.iter().map(|endpoint| (Role::Unified, *endpoint)))
    }

    #[track_caller]
    fn assert_is(policy: SaturationPolicy, pool: &[EndpointLoad], expected: f64) {
        let saturation = of_unified(policy, pool);
        assert!((saturation - expected).abs() < 1e-12, "{saturation}, expected {expected}");
    }

    #[test]
    fn an_empty_pool_is_full_and_an_idle_one_is_not() {
        for policy in all() {
            assert_is(policy, &[], 1.0);
            assert_is(policy, &[idle(); 3], 0.0);
        }
    }

    #[test]
    fn a_backlog_on_one_endpoint_takes_no_room_from_the_others() {
        let long = EndpointLoad { booked: Seconds::new(8.0), ..idle() };
        let half = EndpointLoad { booked: Seconds::new(0.125), ..idle() };
        assert_is(continuous(), &[long, idle(), half, idle()], 0.375);
        assert!(continuous().has_room(&long, true), "what is booked is no reason");
        let cached = EndpointLoad { kv_tokens: 64_000.0, ..half };
        assert_is(continuous(), &[cached], 0.8);
        let full = EndpointLoad { kv_tokens: 80_000.0, ..half };
        assert!(continuous().has_room(&cached, true) && !continuous().has_room(&full, true));
        assert!(continuous().has_room(&full, false), "it is a reserve for other flows");
    }

    #[test]
    fn the_detectors_count_as_the_reference_does() {
        let at = |waiting, kv| EndpointLoad { waiting, kv_tokens: kv * 100_000.0, ..idle() };
        assert_is(utilization(), &[at(5.0, 0.1), at(0.0, 0.4)], 0.75);
        assert_is(utilization(), &[at(10.0, 0.0)], 2.0);
        let sent =
            |in_flight, tokens_in_flight| EndpointLoad { in_flight, tokens_in_flight, ..idle() };
        let pool = [sent(150, 0), sent(0, 500_000)];
        assert_is(concurrency(ConcurrencyMode::Requests), &pool, 0.75);
        assert_is(concurrency(ConcurrencyMode::Tokens), &pool, 0.25);
        assert_is(concurrency(ConcurrencyMode::Hybrid), &pool, 1.0);
    }

    #[test]
    fn the_fuller_stage_decides() {
        let at = |waiting| EndpointLoad { waiting, ..idle() };
        let is = |pool: &[(Role, f64)], expected: f64| {
            let pool = pool.iter().map(|(role, waiting)| (*role, at(*waiting)));
            let found = utilization().of_pool(pool);
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        };
        let (full, half) = (5.0, 2.5);
        let decoding = [(Role::Decode, 0.0); 3];
        is(&[&decoding[..], &[(Role::Prefill, full)]].concat(), 1.0);
        // One that prefills and decodes is room for both stages.
        let shared = [&decoding[..], &[(Role::Prefill, full), (Role::Unified, 0.0)]].concat();
        is(&shared, 0.5);
        // An encoding endpoint counts only if there is no other.
        is(&[(Role::Encode, full), (Role::Decode, half)], 0.5);
        is(&[(Role::Encode, full), (Role::Encode, 0.0)], 0.5);
        is(&[(Role::EncodePrefill, full), (Role::Decode, half)], 1.0);
    }

    #[test]
    fn headroom_is_for_single_endpoints() {
        let detector = ConcurrencyDetector { headroom: 0.2, ..ConcurrencyDetector::default() };
        let policy = SaturationPolicy::ConcurrencyDetector(detector);
        let sent = |in_flight| EndpointLoad { in_flight, ..idle() };
        assert!(policy.has_room(&sent(119), true) && !policy.has_room(&sent(120), true));
        assert_is(policy, &[sent(110)], 1.1);
    }

    fn load() -> impl Strategy<Value = EndpointLoad> {
        let any = (0.0..2.0, 0u32..300, 0u64..3_000_000, 0.0..200_000.0, 0.0..20.0);
        any.prop_map(|(booked, in_flight, tokens_in_flight, kv_tokens, waiting)| EndpointLoad {
            booked: Seconds::new(booked),
            in_flight,
            tokens_in_flight,
            kv_tokens,
            kv_cache_tokens: 100_000.0,
            waiting,
        })
    }

    proptest! {
        /// The first endpoints decide as all of them do.
        #[test]
        fn a_pool_is_full_from_a_saturation_of_one_on(
            roles in prop::collection::vec(0usize..5, 0..8),
            pool in prop::collection::vec(load(), 8),
        ) {
            use Role::{Decode, Encode, EncodePrefill, Prefill, Unified};
            let roles = roles.into_iter().map(|at| [Unified, Prefill, Decode, Encode, EncodePrefill][at]);
            let pool: Vec<_> = roles.zip(pool).collect();
            for policy in all() {
                let endpoints = || pool.iter().copied();
                prop_assert_eq!(policy.is_full(endpoints), policy.of_pool(endpoints()) >= 1.0);
            }
        }

        /// More load never lowers saturation; the continuous policy changes little with little
        /// load.
        #[test]
        fn it_rises_with_load_and_without_cliffs(
            pool in prop::collection::vec(load(), 1..8),
            at in 0usize..8,
            more in 0.0f64..0.1,
        ) {
            let mut busier: Vec<EndpointLoad> = pool.clone();
            let at = at % pool.len();
            let endpoint = &mut busier[at];
            endpoint.booked += Seconds::new(more * 0.25);
            endpoint.kv_tokens += more * 80_000.0;
            endpoint.in_flight += 1;
            endpoint.tokens_in_flight += 1_000;
            endpoint.waiting += 1.0;
            for policy in all() {
                let (less, more) = (of_unified(policy, &pool), of_unified(policy, &busier));
                prop_assert!(less <= more, "{:?}: {} then {}", policy, less, more);
            }
            let rise = of_unified(continuous(), &busier) - of_unified(continuous(), &pool);
            prop_assert!(rise <= more / pool.len() as f64 + 1e-12);
        }

        /// For any input, the result is a number, and a share for the continuous policy.
        #[test]
        fn it_is_always_a_number(
            used in any::<f64>(),
            room in any::<f64>(),
            count in any::<u32>(),
        ) {
            let endpoint = EndpointLoad {
                booked: Seconds::new(used),
                kv_tokens: used,
                kv_cache_tokens: room,
                in_flight: count,
                waiting: room,
                ..EndpointLoad::default()
            };
            for policy in all() {
                prop_assert!(of_unified(policy, &[endpoint, endpoint]) >= 0.0);
            }
            prop_assert!(of_unified(continuous(), &[endpoint, idle()]) <= 1.0);
        }
    }
}
