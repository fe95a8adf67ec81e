//! What counts as the load of an export, and its target.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// What counts as load: utilisation by metrics, or requests in flight. The two exclude each other.
///
/// Empty, the balancing of the pool applies, and without one the KV cache with a target of 60 %.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Balancing {
    /// The metrics. Of several that are not in dry run, the largest in relation to its target is
    /// the load.
    pub metrics: Vec<BalancingMetric>,
    /// The target of requests in flight for each ready endpoint. Metrics may stand beside it in dry
    /// run.
    pub max_in_flight_per_endpoint: Option<u32>,
}

impl Balancing {
    /// Balances by requests in flight.
    pub fn in_flight(per_endpoint: u32) -> Self {
        Self { metrics: Vec::new(), max_in_flight_per_endpoint: Some(per_endpoint) }
    }

    /// This balancing, else that of the pool, else the KV cache; each metric with its names.
    pub(super) fn resolved(&self, of_pool: &Self) -> Self {
        let chosen = if self.is_empty() { of_pool } else { self };
        let mut resolved = chosen.clone();
        if resolved.is_empty() {
            resolved.metrics.push(BalancingMetric::default());
        }
        for metric in &mut resolved.metrics {
            if metric.reported_as.is_empty() {
                metric.reported_as = reported_names(&metric.name);
            }
        }
        resolved
    }

    fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.max_in_flight_per_endpoint.is_none()
    }
}

/// A utilisation that is reported, and its target.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct BalancingMetric {
    /// The name of the signal; `kv_cache` by default.
    pub name: String,
    /// The names in reports, which differ by engine and version. The first one that a report has
    /// counts. Empty, these are the engines' names of the KV cache for `kv`, `kv_cache` and
    /// `kv-cache`, and the signal's own name otherwise.
    pub reported_as: Vec<String>,
    /// The target, as a share in (0, 1]; 0.6 by default.
    pub max_utilization: f64,
    /// Whether the metric only reports what it would have decided.
    pub dry_run: bool,
}

impl BalancingMetric {
    /// A metric with a target, reported under its own name.
    pub fn new(name: impl Into<String>, max_utilization: f64) -> Self {
        Self { name: name.into(), max_utilization, ..Self::default() }
    }
}

impl Default for BalancingMetric {
    fn default() -> Self {
        Self {
            name: "kv_cache".to_owned(),
            reported_as: Vec::new(),
            max_utilization: 0.6,
            dry_run: false,
        }
    }
}

fn reported_names(signal: &str) -> Vec<String> {
    match signal {
        "kv" | "kv_cache" | "kv-cache" => KV_CACHE.map(ToOwned::to_owned).into(),
        signal => Vec::from([signal.to_owned()]),
    }
}

/// The KV utilisation of vLLM, of its older versions, of SGLang, and of the reference's pools.
pub(super) const KV_CACHE: [&str; 4] = [
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "llm_d_epp_average_kv_cache_utilization",
];
