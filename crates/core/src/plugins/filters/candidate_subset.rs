//! `candidate-subset-filter`: endpoints that the request may use.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::subset::PortMatch;

/// `candidate-subset-filter`: keeps the endpoints that the request may use. Without a subset, all
/// candidates stay; with an empty one, none does.
///
/// The subset is [`RequestFacts::subset`](crate::plugins::RequestFacts::subset), or else the header
/// `x-gateway-destination-endpoint-subset`: addresses, separated by commas. The reference applies
/// it outside its plugins, so this name is not one of the reference.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct CandidateSubsetFilter {
    /// How ports are compared; ignored by default, as in the reference.
    pub ports: PortMatch,
}

impl Default for CandidateSubsetFilter {
    fn default() -> Self {
        Self { ports: PortMatch::Ignored }
    }
}

/// The header of the subset.
const HEADER: &str = "x-gateway-destination-endpoint-subset";

impl Filter for CandidateSubsetFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let request = cycle.request;
        if let Some(subset) = &request.subset {
            candidates.retain(|endpoint| {
                subset.iter().any(|allowed| self.ports.allows(allowed, endpoint.address()))
            });
        } else if let Some(list) = request.headers.get(HEADER) {
            candidates.retain(|endpoint| self.ports.allows(list, endpoint.address()));
        }
    }
}
