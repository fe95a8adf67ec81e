//! `candidate-subset-filter`: endpoints that the request may use.

use crate::plugins::address;
use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::RequestFacts;
use crate::plugins::filter::Filter;

/// `candidate-subset-filter`: keeps the endpoints that the request may use. Without a subset, all
/// candidates stay; with an empty one, none does.
///
/// The subset is [`RequestFacts::subset`], or else the header
/// `x-gateway-destination-endpoint-subset`: addresses, separated by commas. The reference applies
/// it outside its plugins, so this name is not one of the reference.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct CandidateSubsetFilter {
    /// Whether ports are compared.
    pub ports: SubsetPorts,
}

/// Whether the ports of a subset are compared with those of endpoints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum SubsetPorts {
    /// As in the reference: only hosts are compared.
    #[default]
    Ignored,
    /// An address with a port means the endpoint with that port; one without means all ports.
    Exact,
}

/// The header of the subset.
const HEADER: &str = "x-gateway-destination-endpoint-subset";

impl SubsetPorts {
    /// Whether `allowed`, an address of a subset, means the endpoint of this address.
    ///
    /// ```
    /// use slotwise::plugins::SubsetPorts;
    ///
    /// assert!(SubsetPorts::Ignored.allow("10.0.0.1:80", "10.0.0.1:8000"));
    /// assert!(!SubsetPorts::Exact.allow("10.0.0.1:80", "10.0.0.1:8000"));
    /// assert!(SubsetPorts::Exact.allow("10.0.0.1", "10.0.0.1:8000"));
    /// ```
    pub fn allow(self, allowed: &str, endpoint: &str) -> bool {
        let (host, port) = address::split(allowed);
        let (own_host, own_port) = address::split(endpoint);
        host == own_host && (self == Self::Ignored || port.is_none() || port == own_port)
    }
}

/// Whether the request may use the endpoint of this address.
fn is_allowed(request: &RequestFacts, ports: SubsetPorts, endpoint: &str) -> bool {
    let allows = |allowed: &str| ports.allow(allowed.trim(), endpoint);
    if let Some(subset) = &request.subset {
        return subset.iter().any(|allowed| allows(allowed));
    }
    let header = request.headers.get(HEADER);
    header.is_none_or(|subset| {
        subset.split(',').filter(|allowed| !allowed.trim().is_empty()).any(allows)
    })
}

impl Filter for CandidateSubsetFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|endpoint| is_allowed(cycle.request, self.ports, endpoint.address()));
    }
}
