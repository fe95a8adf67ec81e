//! `topology-affinity-filter`: endpoints close to the endpoint of the peer stage.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
#[cfg(feature = "serde")]
use crate::plugins::parameters::Ignored;
use crate::plugins::topology_level::TopologyLevel;

/// `topology-affinity-filter`: keeps endpoints that share a level with the endpoint of the peer
/// stage. All candidates stay if there is no peer, or no candidate is that close.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", from = "Parameters")
)]
#[non_exhaustive]
pub struct TopologyAffinityFilter {
    /// The loosest level that is close enough.
    pub min_affinity: TopologyLevel,
}

impl Default for TopologyAffinityFilter {
    fn default() -> Self {
        Self { min_affinity: TopologyLevel::Host }
    }
}

impl Filter for TopologyAffinityFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let Some(peer) = &cycle.request.peer else { return };
        candidates.retain_if_any(|endpoint| {
            TopologyLevel::shared(peer, &endpoint.topology)
                .is_some_and(|level| level <= self.min_affinity)
        });
    }
}

/// The parameters as the reference has them.
#[cfg(feature = "serde")]
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    min_affinity: Option<TopologyLevel>,
    topology_producer_name: Ignored<alloc::string::String>,
}

#[cfg(feature = "serde")]
impl From<Parameters> for TopologyAffinityFilter {
    fn from(parameters: Parameters) -> Self {
        Self { min_affinity: parameters.min_affinity.unwrap_or(TopologyLevel::Host) }
    }
}
