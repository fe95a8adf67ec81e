//! `header-based-testing-filter`: the endpoints that a header names, for conformance tests.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::subset::PortMatch;

/// `header-based-testing-filter`: keeps the endpoints that the header `test-epp-endpoint-selection`
/// names, by host or by host and port, separated by commas. Without the header none is kept.
///
/// For tests: the header lets a client choose its endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct HeaderBasedTestingFilter {}

/// The header of the selection.
const HEADER: &str = "test-epp-endpoint-selection";

impl Filter for HeaderBasedTestingFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let list = cycle.request.headers.get(HEADER).map_or("", |value| value.as_str());
        candidates.retain(|endpoint| PortMatch::Exact.allows(list, endpoint.address()));
    }
}
