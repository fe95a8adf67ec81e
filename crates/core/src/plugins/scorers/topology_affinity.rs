//! `topology-affinity-scorer`: endpoints near the peer of the other stage.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;
use crate::plugins::topology_level::TopologyLevel;

/// `topology-affinity-scorer`: prefers endpoints near the peer, since the KV cache travels between
/// them.
///
/// | tightest shared level | score |
/// |---|---|
/// | host | 1.0 |
/// | rack | 0.2 |
/// | zone | 0.05 |
/// | region | 0.02 |
/// | none, or no peer | 0 |
///
/// The parameter `topologyProducerName` has no effect.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct TopologyAffinityScorer {
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    topology_producer_name: Ignored<String>,
}

impl Scorer for TopologyAffinityScorer {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let Some(peer) = &cycle.request.peer else { return };
        scores.set_each(|endpoint| match TopologyLevel::shared(peer, &endpoint.topology) {
            Some(TopologyLevel::Host) => 1.0,
            Some(TopologyLevel::Rack) => 0.2,
            Some(TopologyLevel::Zone) => 0.05,
            Some(TopologyLevel::Region) => 0.02,
            None => 0.0,
        });
    }
}
