//! `probabilistic-admitter`: sheds sheddable requests with a probability that rises with load.

use super::power::power;
use crate::plugins::facts::{EndpointFacts, RequestFacts};
use crate::rng::Rng;

/// `probabilistic-admitter`: sheds requests of negative priority with a probability that rises with
/// the pool's saturation.
///
/// ```text
/// saturation  = mean of max(waiting / queueDepthThreshold, kv usage / kvCacheUtilThreshold);
///               an endpoint without metrics counts as 1
/// probability = min(saturation ^ power · k, 1), and 0 for priority >= 0 or an empty pool
/// ```
///
/// With the defaults, all sheddable requests are shed from a saturation of `(1 / 300)^(1/5)`, or
/// 0.320. The age of metrics does not count, in contrast to `utilization-detector`.
///
/// ```
/// use slotwise::plugins::{EndpointFacts, ProbabilisticAdmitter};
///
/// let admitter = ProbabilisticAdmitter::default();
/// let pool = [EndpointFacts { waiting: 1, ..EndpointFacts::default() }];
/// assert_eq!(admitter.saturation(&pool), 0.2);
/// assert!((admitter.shed_probability(-1, 0.2) - 0.096).abs() < 1e-12);
/// assert_eq!(admitter.shed_probability(0, 9.0), 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct ProbabilisticAdmitter {
    /// Waiting requests at which an endpoint is full.
    pub queue_depth_threshold: u32,
    /// Share of the KV cache at which an endpoint is full.
    pub kv_cache_util_threshold: f64,
    /// The exponent of the saturation.
    pub power: f64,
    /// The factor of the power.
    pub k: f64,
}

impl Default for ProbabilisticAdmitter {
    fn default() -> Self {
        Self { queue_depth_threshold: 5, kv_cache_util_threshold: 0.8, power: 5.0, k: 300.0 }
    }
}

impl ProbabilisticAdmitter {
    /// Whether the request is admitted to a pool of these endpoints. Draws once if the request is
    /// sheddable. Computes in **O(endpoints)**.
    pub fn admits(
        &self,
        request: &RequestFacts,
        endpoints: &[EndpointFacts],
        rng: &mut Rng,
    ) -> bool {
        request.priority >= 0
            || endpoints.is_empty()
            || rng.unit() >= self.shed_probability(request.priority, self.saturation(endpoints))
    }

    /// The probability that a request of this priority is shed at this saturation.
    pub fn shed_probability(&self, priority: i32, saturation: f64) -> f64 {
        if priority >= 0 {
            return 0.0;
        }
        let probability = power(saturation, self.power) * self.k;
        if probability < 1.0 { probability.max(0.0) } else { 1.0 }
    }

    /// The saturation of the pool; 1 if it is empty. Computes in **O(endpoints)**.
    pub fn saturation(&self, endpoints: &[EndpointFacts]) -> f64 {
        if endpoints.is_empty() {
            return 1.0;
        }
        let sum: f64 = endpoints.iter().map(|endpoint| self.of(endpoint)).sum();
        sum / endpoints.len() as f64
    }

    fn of(&self, endpoint: &EndpointFacts) -> f64 {
        if endpoint.metrics_age.is_none() {
            return 1.0;
        }
        let waiting = f64::from(self.queue_depth_threshold);
        endpoint.reported_utilization(waiting, self.kv_cache_util_threshold)
    }
}

/// The probability with which `probabilistic-admitter` sheds a request of this priority at this
/// saturation of the pool, with its default parameters: `min(saturation^5 · 300, 1)` for negative
/// priorities, and 0 for others.
///
/// ```
/// use slotwise::plugins::shed_probability;
///
/// assert_eq!(shed_probability(-1, 0.4), 1.0);
/// assert_eq!(shed_probability(0, 0.4), 0.0);
/// ```
pub fn shed_probability(priority: i32, saturation: f64) -> f64 {
    ProbabilisticAdmitter::default().shed_probability(priority, saturation)
}
