//! How requests are balanced over the clusters that export a pool.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// How requests are balanced over the clusters that export a pool: by metrics with a target, or by
/// requests in flight. Each excludes the other.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Balancing {
    /// The metrics, each with its target.
    pub metrics: Vec<BalancingMetric>,
    /// Most requests in flight on each endpoint. The endpoints of the file whose description has no
    /// limit get this one.
    pub max_in_flight_per_endpoint: Option<NonZeroU32>,
}

/// A metric and its target.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a metric is a name, a target and its use")]
pub struct BalancingMetric {
    /// The name of the signal, such as `kv-cache`.
    pub name: String,
    /// The share at which a cluster is full, from 0 to 1.
    pub max_utilization: f64,
    /// Whether the metric is only reported.
    pub dry_run: bool,
}

impl Default for BalancingMetric {
    fn default() -> Self {
        Self { name: String::new(), max_utilization: 0.6, dry_run: false }
    }
}

/// The engines' metrics by the name of their signal. Engines of different versions may have
/// different names for one signal; the first one that a page has counts.
pub type Signals = BTreeMap<String, Vec<String>>;

impl Balancing {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if !self.metrics.is_empty() && self.max_in_flight_per_endpoint.is_some() {
            return Err(Problem::new(
                "must have `metrics` or `max_in_flight_per_endpoint`, which exclude each other; \
                 remove one",
            ));
        }
        for (at, metric) in self.metrics.iter().enumerate() {
            let problem = |field, message| {
                Err(Problem::new(message).in_field(field).in_item(at).in_field("metrics"))
            };
            if metric.name.is_empty() {
                return problem("name", "must not be empty");
            }
            if !(metric.max_utilization > 0.0 && metric.max_utilization <= 1.0) {
                return problem("max_utilization", "must lie in (0, 1]");
            }
        }
        Ok(())
    }
}
