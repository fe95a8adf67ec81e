//! How an endpoint is weighed for a request.
//!
//! | file | content |
//! |---|---|
//! | `predicted_cost` | the default profile: predicted seconds, with a lower bound |
//! | `custom_cost` | a cost function of the caller's own, without a bound |
//! | `cost_inputs` | what a profile weighs |
//! | `cost_terms` | the cost, term by term |
//! | `prices`, `tiers` | configuration: the price of each term, and the value of lower tiers |
//!
//! A new profile is a file here that implements [`Profile`]; the search in `placement` is generic
//! over it, so no call on the way to a decision is dynamic.

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/cost.md")]
mod book {}

mod cost_inputs;
mod cost_terms;
mod custom_cost;
mod predicted_cost;
mod prices;
mod tiers;

pub(crate) use cost_inputs::{CostInputs, LeastInputs};
pub use cost_terms::CostTerms;
pub(crate) use custom_cost::CustomCost;
pub(crate) use predicted_cost::PredictedCost;
pub use prices::CostPrices;
pub use tiers::TierFactors;

use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// How to weigh one endpoint for one request. Lower costs rank first.
///
/// Whether an endpoint may have the request at all is decided before, by `placement::assess`.
pub(crate) trait Profile {
    /// The kind of lower bound that the profile has; [`NoBound`] if it has none.
    type Bound: CostBound;

    /// The parts of the cost, which `explain` returns.
    fn terms(&self, inputs: &CostInputs) -> CostTerms;

    /// The cost by which endpoints are ranked. NaN and negative costs count as zero, and an
    /// infinite cost ranks last.
    fn cost(&self, endpoint: EndpointId, terms: &CostTerms) -> Seconds;

    /// The lower bound of [`cost`](Self::cost), by which the search passes over whole groups of
    /// endpoints. Without one, the search weighs every endpoint.
    fn bound(&self) -> Option<&Self::Bound>;
}

/// A lower bound of a [`Profile`]'s cost.
pub(crate) trait CostBound {
    /// A cost in seconds that is at most the cost of any endpoint whose inputs are at least these.
    fn at_least(&self, least: &LeastInputs) -> f64;

    /// By how much [`at_least`](Self::at_least) rises, or more, with each second of load: a second
    /// of wait, or its [equivalent](crate::pool::FULL_CACHE) of the KV cache.
    fn per_load(&self) -> f64;
}

/// The bound of a profile that has none: no value of it exists.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoBound {}

impl CostBound for NoBound {
    fn at_least(&self, _: &LeastInputs) -> f64 {
        match *self {}
    }

    fn per_load(&self) -> f64 {
        match *self {}
    }
}
