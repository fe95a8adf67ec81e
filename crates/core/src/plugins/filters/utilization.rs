//! `utilization-filter`: endpoints below limits of their load.

use alloc::string::String;
use alloc::vec::Vec;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;
use crate::plugins::parameters::{Ignored, checked_parameters};

/// `utilization-filter`: keeps endpoints that meet all conditions.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct UtilizationFilter {
    /// The conditions.
    pub conditions: Vec<UtilizationCondition>,
    /// Whether all candidates stay if none meets the conditions.
    pub fallback_on_empty: bool,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    pub(super) in_flight_load_producer_name: Ignored<String>,
}

/// A limit of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "camelCase")
)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct UtilizationCondition {
    /// The metric.
    pub metric: UtilizationMetric,
    /// The highest value that is allowed.
    pub max_value: f64,
}

/// A metric of an endpoint's load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum UtilizationMetric {
    /// Requests in flight, as the gateway counts them.
    ActiveRequests,
    /// Requests that run in the engine.
    RunningRequests,
    /// Requests that wait in the engine.
    WaitingQueue,
    /// Share of the KV cache in use.
    #[cfg_attr(feature = "serde", serde(rename = "kv-cache-utilization"))]
    KvCacheUtilization,
}

impl UtilizationMetric {
    /// The value of the metric.
    fn of(self, endpoint: &EndpointFacts) -> f64 {
        match self {
            Self::ActiveRequests => endpoint.in_flight_requests as f64,
            Self::RunningRequests => endpoint.running as f64,
            Self::WaitingQueue => endpoint.waiting as f64,
            Self::KvCacheUtilization => endpoint.kv_usage,
        }
    }
}

impl Filter for UtilizationFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain_or_fall_back(self.fallback_on_empty, |endpoint| {
            // As in the reference, a NaN exceeds no limit.
            !self.conditions.iter().any(|each| each.metric.of(endpoint) > each.max_value)
        });
    }
}

#[cfg(feature = "serde")]
impl UtilizationFilter {
    fn check(&self) -> Result<(), &'static str> {
        if self.conditions.is_empty() {
            return Err("conditions must not be empty");
        }
        for UtilizationCondition { metric, max_value } in &self.conditions {
            if *max_value < 0.0 {
                return Err("maxValue must be at least 0");
            }
            if *metric == UtilizationMetric::KvCacheUtilization && *max_value > 1.0 {
                return Err("maxValue of kv-cache-utilization must be at most 1");
            }
        }
        Ok(())
    }
}

checked_parameters!(UtilizationFilter, UtilizationFilter::check);
