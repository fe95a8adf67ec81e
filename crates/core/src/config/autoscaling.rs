//! The service level for which the desired number of replicas is computed.

use core::time::Duration;

/// The service level and the start-up time for which
/// [`PoolStats::desired_replicas`](crate::PoolStats::desired_replicas) is computed.
///
/// ```
/// use core::time::Duration;
/// use slotwise::{AutoscalingConfig, Config, Scheduler};
///
/// let mut config = Config::default();
/// config.autoscaling.ttft = Duration::from_secs(5);
/// config.autoscaling.start_up = Duration::from_secs(300);
/// assert!(Scheduler::new(config.clone()).is_ok());
/// config.autoscaling.kv_utilization = 1.5;
/// assert!(Scheduler::new(config).is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct AutoscalingConfig {
    /// Time in which 95 % of the first tokens should arrive. It must not be zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub ttft: Duration,
    /// Time per output token that an answer should keep. It must not be zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub tpot: Duration,
    /// Share of the pool's KV cache that live requests should use at most, in `(0, 1]`.
    pub kv_utilization: f64,
    /// Time from the start of a replica to its first request. A rising load is extrapolated over
    /// it, up to twice the current load. It must not be zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub start_up: Duration,
}

impl Default for AutoscalingConfig {
    fn default() -> Self {
        Self {
            ttft: Duration::from_secs(2),
            tpot: Duration::from_millis(100),
            kv_utilization: 0.8,
            start_up: Duration::from_secs(120),
        }
    }
}

impl AutoscalingConfig {
    /// The first invalid field, and the values that it accepts.
    pub(super) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let lengths = [
            ("autoscaling.ttft", self.ttft),
            ("autoscaling.tpot", self.tpot),
            ("autoscaling.start_up", self.start_up),
        ];
        match lengths.into_iter().find(|(_, length)| length.is_zero()) {
            Some((field, _)) => Some((field, "must not be zero")),
            None if !(self.kv_utilization > 0.0 && self.kv_utilization <= 1.0) => {
                Some(("autoscaling.kv_utilization", "must lie in (0, 1]"))
            }
            None => None,
        }
    }
}
