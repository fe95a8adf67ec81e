//! Policies of saturation: how it is measured, and when an endpoint is full.

use core::time::Duration;

pub use crate::plugins::ConcurrencyMode;

/// How the pool's saturation is measured.
///
/// The two detectors are those of the Gateway API inference extension, with its names, parameters
/// and defaults. Parameters in its spelling, such as `maxConcurrency`, are read too. One behaviour
/// differs: an endpoint with a missing or stale report counts with the load that this scheduler
/// sent. The reference counts it as full, so one missed scrape of the whole pool stops all traffic.
///
/// ```
/// use slotwise::{ConcurrencyDetector, SaturationPolicy};
///
/// let mut detector = ConcurrencyDetector::default();
/// detector.max_concurrency = 32;
/// let policy = SaturationPolicy::ConcurrencyDetector(detector);
/// assert_ne!(policy, SaturationPolicy::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum SaturationPolicy {
    /// From predicted seconds of queued work, and projected use of the KV caches.
    Continuous(ContinuousSaturation),
    /// From the endpoints' reports.
    UtilizationDetector(UtilizationDetector),
    /// From the requests sent to the endpoints.
    ConcurrencyDetector(ConcurrencyDetector),
}

/// Saturation without thresholds: an endpoint with half of its limit of queued prefill is half
/// full.
///
/// No endpoint counts as more than full, so the pool is full when all endpoints are. Otherwise one
/// prompt of eight seconds, 32 times the limit, would close a pool with thirty idle endpoints.
///
/// External load counts while its report is at most three
/// [`report_lifetime`](crate::Config::report_lifetime)s old, so a stale report cannot block
/// dispatch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ContinuousSaturation {
    /// Queued prefill at which an endpoint is full. Work beyond it waits in the queue, where its
    /// place can still change. 0.1 to 0.5 s perform equally; below two round trips and one engine
    /// step, accelerators idle.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub max_queued_prefill: Duration,
    /// Share of the KV cache at which an endpoint is full; above it, engines preempt. While
    /// requests of only one flow wait, half of the rest may be used too.
    pub kv_limit: f64,
}

/// `utilization-detector`: the larger of an endpoint's queue use and KV cache use.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct UtilizationDetector {
    /// Waiting requests at which an endpoint is full.
    #[cfg_attr(feature = "serde", serde(alias = "queueDepthThreshold"))]
    pub queue_depth_threshold: u32,
    /// Share of the KV cache at which an endpoint is full.
    #[cfg_attr(feature = "serde", serde(alias = "kvCacheUtilThreshold"))]
    pub kv_cache_util_threshold: f64,
    /// Maximum age of reports.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::time::as_seconds", alias = "metricsStalenessThreshold")
    )]
    pub metrics_staleness_threshold: Duration,
    /// Share by which a single endpoint may exceed its limit; it does not affect the pool's
    /// saturation.
    pub headroom: f64,
}

/// `concurrency-detector`: load in flight, as the gateway counts it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ConcurrencyDetector {
    /// The unit of the count.
    #[cfg_attr(feature = "serde", serde(alias = "concurrencyMode"))]
    pub concurrency_mode: ConcurrencyMode,
    /// Requests in flight at which an endpoint is full.
    #[cfg_attr(feature = "serde", serde(alias = "maxConcurrency"))]
    pub max_concurrency: u32,
    /// Tokens in flight at which an endpoint is full.
    #[cfg_attr(feature = "serde", serde(alias = "maxTokenConcurrency"))]
    pub max_token_concurrency: u64,
    /// Share by which a single endpoint may exceed its limit; it does not affect the pool's
    /// saturation.
    pub headroom: f64,
}

impl Default for SaturationPolicy {
    fn default() -> Self {
        Self::Continuous(ContinuousSaturation::default())
    }
}

impl Default for ContinuousSaturation {
    fn default() -> Self {
        Self { max_queued_prefill: Duration::from_millis(250), kv_limit: 0.8 }
    }
}

impl Default for UtilizationDetector {
    fn default() -> Self {
        Self {
            queue_depth_threshold: 5,
            kv_cache_util_threshold: 0.8,
            metrics_staleness_threshold: Duration::from_millis(200),
            headroom: 0.0,
        }
    }
}

impl Default for ConcurrencyDetector {
    fn default() -> Self {
        Self {
            concurrency_mode: ConcurrencyMode::Requests,
            max_concurrency: 100,
            max_token_concurrency: 1_000_000,
            headroom: 0.0,
        }
    }
}

impl SaturationPolicy {
    /// The first invalid field, and the condition that it violates.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Continuous(policy) => policy.invalid(),
            Self::UtilizationDetector(detector) => detector.invalid(),
            Self::ConcurrencyDetector(detector) => detector.invalid(),
        }
    }
}

impl ContinuousSaturation {
    fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let fields = [
            ("flow.saturation.max_queued_prefill", POSITIVE, !self.max_queued_prefill.is_zero()),
            ("flow.saturation.kv_limit", SHARE, is_share(self.kv_limit)),
        ];
        first_invalid(&fields)
    }
}

impl UtilizationDetector {
    fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let age = !self.metrics_staleness_threshold.is_zero();
        let fields = [
            ("flow.saturation.queue_depth_threshold", POSITIVE, self.queue_depth_threshold > 0),
            (
                "flow.saturation.kv_cache_util_threshold",
                SHARE,
                is_share(self.kv_cache_util_threshold),
            ),
            ("flow.saturation.metrics_staleness_threshold", POSITIVE, age),
            ("flow.saturation.headroom", NOT_NEGATIVE, is_headroom(self.headroom)),
        ];
        first_invalid(&fields)
    }
}

impl ConcurrencyDetector {
    fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let fields = [
            ("flow.saturation.max_concurrency", POSITIVE, self.max_concurrency > 0),
            ("flow.saturation.max_token_concurrency", POSITIVE, self.max_token_concurrency > 0),
            ("flow.saturation.headroom", NOT_NEGATIVE, is_headroom(self.headroom)),
        ];
        first_invalid(&fields)
    }
}

const POSITIVE: &str = "must be greater than 0";
const NOT_NEGATIVE: &str = "must be finite and not negative";
const SHARE: &str = "must lie in (0, 1]";

fn is_share(value: f64) -> bool {
    value > 0.0 && value <= 1.0
}

fn is_headroom(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

/// The first invalid one of (field, condition, whether it holds).
fn first_invalid(
    fields: &[(&'static str, &'static str, bool)],
) -> Option<(&'static str, &'static str)> {
    fields.iter().find(|(_, _, valid)| !valid).map(|(field, expected, _)| (*field, *expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTILIZATION: fn(UtilizationDetector) -> SaturationPolicy =
        SaturationPolicy::UtilizationDetector;
    const CONCURRENCY: fn(ConcurrencyDetector) -> SaturationPolicy =
        SaturationPolicy::ConcurrencyDetector;

    #[test]
    fn bad_fields_are_named() {
        let default = ContinuousSaturation::default();
        let continuous =
            |kv_limit| SaturationPolicy::Continuous(ContinuousSaturation { kv_limit, ..default });
        assert_eq!(SaturationPolicy::default().invalid(), None);
        assert_eq!(
            continuous(f64::NAN).invalid(),
            Some(("flow.saturation.kv_limit", "must lie in (0, 1]"))
        );
        let detector = UtilizationDetector::default();
        assert_eq!(UTILIZATION(detector).invalid(), None);
        let invalid = UTILIZATION(UtilizationDetector { headroom: -0.1, ..detector }).invalid();
        assert_eq!(invalid.map(|(field, _)| field), Some("flow.saturation.headroom"));
        let detector = ConcurrencyDetector::default();
        assert_eq!(CONCURRENCY(detector).invalid(), None);
        let invalid = CONCURRENCY(ConcurrencyDetector { max_concurrency: 0, ..detector }).invalid();
        assert_eq!(invalid.map(|(field, _)| field), Some("flow.saturation.max_concurrency"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn policies_have_the_names_of_the_reference() {
        let read = |text| serde_json::from_str::<SaturationPolicy>(text).ok();
        assert_eq!(read(r#"{"type": "continuous"}"#), Some(SaturationPolicy::default()));
        let utilization = read(r#"{"type": "utilization-detector"}"#);
        assert_eq!(utilization, Some(UTILIZATION(UtilizationDetector::default())));
        let hybrid = read(r#"{"type": "concurrency-detector", "concurrency_mode": "hybrid"}"#);
        let concurrency_mode = ConcurrencyMode::Hybrid;
        assert_eq!(
            hybrid,
            Some(CONCURRENCY(ConcurrencyDetector { concurrency_mode, ..Default::default() }))
        );
        assert_eq!(read(r#"{"type": "concurrency-detector", "max_queued_prefill": 1}"#), None);
    }
}
