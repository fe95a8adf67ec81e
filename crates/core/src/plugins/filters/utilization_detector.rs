//! `utilization-detector` as a filter: endpoints whose engine is not full.

use core::time::Duration;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::parameters::checked_parameters;
use crate::time::Seconds;

/// `utilization-detector` as a filter: keeps endpoints whose reported load is within the limits.
///
/// ```text
/// kept = waiting  <= queueDepthThreshold · (1 + headroom)
///    and kv usage <= kvCacheUtilThreshold · (1 + headroom)
///    and metrics age <= metricsStalenessThreshold
/// ```
///
/// All candidates stay if none is kept.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct UtilizationDetectorFilter {
    /// Requests waiting in the engine at which an endpoint is full.
    pub queue_depth_threshold: u64,
    /// Share of the KV cache at which an endpoint is full.
    pub kv_cache_util_threshold: f64,
    /// Age above which metrics do not count.
    #[cfg_attr(feature = "serde", serde(with = "crate::plugins::go_duration::as_text"))]
    pub metrics_staleness_threshold: Duration,
    /// Share by which an endpoint may exceed the thresholds.
    pub headroom: f64,
}

impl Default for UtilizationDetectorFilter {
    fn default() -> Self {
        Self {
            queue_depth_threshold: 5,
            kv_cache_util_threshold: 0.8,
            metrics_staleness_threshold: Duration::from_millis(200),
            headroom: 0.0,
        }
    }
}

impl Filter for UtilizationDetectorFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let most_waiting = self.queue_depth_threshold as f64 * (1.0 + self.headroom);
        let most_usage = self.kv_cache_util_threshold * (1.0 + self.headroom);
        let oldest = Seconds::from(self.metrics_staleness_threshold);
        candidates.retain_if_any(|endpoint| {
            endpoint.waiting as f64 <= most_waiting
                && endpoint.kv_usage <= most_usage
                && endpoint.metrics_age.is_some_and(|age| age <= oldest)
        });
    }
}

#[cfg(feature = "serde")]
impl UtilizationDetectorFilter {
    fn check(&self) -> Result<(), &'static str> {
        if self.queue_depth_threshold == 0 {
            Err("queueDepthThreshold must be above 0")
        } else if self.kv_cache_util_threshold <= 0.0 || self.kv_cache_util_threshold > 1.0 {
            Err("kvCacheUtilThreshold must be above 0 and at most 1")
        } else if self.metrics_staleness_threshold.is_zero() {
            Err("metricsStalenessThreshold must be above 0")
        } else if self.headroom < 0.0 {
            Err("headroom must be at least 0")
        } else {
            Ok(())
        }
    }
}

checked_parameters!(UtilizationDetectorFilter, UtilizationDetectorFilter::check);
