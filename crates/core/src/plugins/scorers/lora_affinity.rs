//! `lora-affinity-scorer`: loaded adapters.

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::scorer::Scorer;

/// `lora-affinity-scorer`: prefers engines that have the request's adapter loaded.
///
/// | the adapter | score |
/// |---|---|
/// | is active | 1.0 |
/// | has room: active and waiting adapters are fewer than the most | 0.8 |
/// | is waiting to be loaded | 0.6 |
/// | else | 0.0 |
///
/// The room is compared before waiting, so an engine with room scores 0.8 even if the adapter waits
/// there. A request for the base model scores like an adapter that is not loaded.
///
/// Engines report the adapters of requests in flight only. The default profile remembers which
/// adapters it has sent where.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LoraAffinityScorer {}

impl Scorer for LoraAffinityScorer {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let adapter = cycle.request.adapter();
        scores.set_each(|endpoint| affinity(adapter, endpoint));
    }
}

fn affinity(adapter: &str, endpoint: &EndpointFacts) -> f64 {
    let EndpointFacts { active_adapters, waiting_adapters, max_adapters, .. } = endpoint;
    let used = (active_adapters.len() + waiting_adapters.len()) as u64;
    if active_adapters.iter().any(|each| each == adapter) {
        1.0
    } else if used < *max_adapters {
        0.8
    } else if waiting_adapters.iter().any(|each| each == adapter) {
        0.6
    } else {
        0.0
    }
}
