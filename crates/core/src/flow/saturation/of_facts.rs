//! The reference's saturation of a pool, from plain facts about its endpoints.

use super::config::{ConcurrencyDetector, ConcurrencyMode, SaturationPolicy, UtilizationDetector};
use crate::plugins::{EndpointFacts, used_share};

/// The saturation of a pool: 0 is idle, 1 is full, and the detectors exceed 1. A pool without
/// endpoints is full.
///
/// ```text
/// utilization-detector  mean of max(waiting / queueDepthThreshold,
///                                   kv usage / kvCacheUtilThreshold);
///                       an endpoint whose metrics are missing or stale counts as 1
/// concurrency-detector  requests: sum of in flight / (endpoints · maxConcurrency)
///                       tokens:   the same of tokens and maxTokenConcurrency
///                       hybrid:   mean of the larger of the two shares
///                       1 without capacity
/// continuous            mean of min(1, kv usage / kv_limit); facts have no predicted seconds
/// ```
///
/// `DIFFERENCE`: a [`Scheduler`](crate::Scheduler) counts an endpoint without fresh metrics with
/// the load that it has sent there. This function counts it as full, as the reference does.
/// Computes in **O(endpoints)**.
///
/// ```
/// use slotwise::plugins::EndpointFacts;
/// use slotwise::{SaturationPolicy, UtilizationDetector, saturation};
///
/// let policy = SaturationPolicy::UtilizationDetector(UtilizationDetector::default());
/// let busy = EndpointFacts { waiting: 5, ..EndpointFacts::default() };
/// let silent = EndpointFacts { metrics_age: None, ..EndpointFacts::default() };
/// assert_eq!(saturation(&policy, &[busy.clone(), EndpointFacts::default()]), 0.5);
/// assert_eq!(saturation(&policy, &[busy, silent]), 1.0);
/// ```
pub fn saturation(policy: &SaturationPolicy, endpoints: &[EndpointFacts]) -> f64 {
    if endpoints.is_empty() {
        return 1.0;
    }
    let mean = |of: &dyn Fn(&EndpointFacts) -> f64| {
        endpoints.iter().map(of).sum::<f64>() / endpoints.len() as f64
    };
    match policy {
        SaturationPolicy::Continuous(policy) => {
            mean(&|endpoint| used_share(endpoint.kv_usage, policy.kv_limit).clamp(0.0, 1.0))
        }
        SaturationPolicy::UtilizationDetector(detector) => mean(&|facts| detector.of_facts(facts)),
        SaturationPolicy::ConcurrencyDetector(detector) => match detector.concurrency_mode {
            ConcurrencyMode::Hybrid => mean(&|endpoint| detector.fuller(endpoint)),
            ConcurrencyMode::Requests => {
                let in_flight = endpoints.iter().map(|endpoint| endpoint.in_flight_requests);
                detector.requests(sum(in_flight), endpoints.len())
            }
            ConcurrencyMode::Tokens => {
                let in_flight = endpoints.iter().map(|endpoint| endpoint.in_flight_tokens);
                detector.tokens(sum(in_flight), endpoints.len())
            }
        },
    }
}

impl UtilizationDetector {
    /// The saturation of one endpoint. Metrics as old as the threshold are fresh.
    fn of_facts(&self, endpoint: &EndpointFacts) -> f64 {
        let threshold = self.metrics_staleness_threshold.as_secs_f64();
        if endpoint.metrics_age.is_none_or(|age| age.get() > threshold) {
            return 1.0;
        }
        let waiting = f64::from(self.queue_depth_threshold);
        endpoint.reported_utilization(waiting, self.kv_cache_util_threshold)
    }
}

impl ConcurrencyDetector {
    fn fuller(&self, endpoint: &EndpointFacts) -> f64 {
        let requests = self.requests(endpoint.in_flight_requests as f64, 1);
        requests.max(self.tokens(endpoint.in_flight_tokens as f64, 1))
    }

    fn requests(&self, in_flight: f64, endpoints: usize) -> f64 {
        used_share(in_flight, f64::from(self.max_concurrency) * endpoints as f64)
    }

    fn tokens(&self, in_flight: f64, endpoints: usize) -> f64 {
        used_share(in_flight, self.max_token_concurrency as f64 * endpoints as f64)
    }
}

/// The exact sum, rounded once.
fn sum(counts: impl Iterator<Item = u64>) -> f64 {
    counts.map(u128::from).sum::<u128>() as f64
}
