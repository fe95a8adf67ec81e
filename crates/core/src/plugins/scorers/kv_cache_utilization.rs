//! `kv-cache-utilization-scorer`: free KV cache.

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;

/// `kv-cache-utilization-scorer`: prefers engines with free KV cache.
///
/// ```text
/// score = 1 - usage
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct KvCacheUtilizationScorer {}

impl Scorer for KvCacheUtilizationScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        scores.set_each(|endpoint| 1.0 - endpoint.kv_usage);
    }
}
