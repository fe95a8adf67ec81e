//! A profile whose cost is the caller's own function of the default terms.

use super::cost_inputs::CostInputs;
use super::cost_terms::CostTerms;
use super::prices::CostPrices;
use super::{NoBound, Profile};
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// Prices the terms as [`PredictedCost`](super::PredictedCost) does, and combines them by `cost`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CustomCost<F> {
    pub(crate) prices: CostPrices,
    pub(crate) cost: F,
}

impl<F: Fn(EndpointId, &CostTerms) -> Seconds> Profile for CustomCost<F> {
    type Bound = NoBound;

    fn terms(&self, inputs: &CostInputs) -> CostTerms {
        self.prices.terms(inputs)
    }

    fn cost(&self, endpoint: EndpointId, terms: &CostTerms) -> Seconds {
        (self.cost)(endpoint, terms)
    }

    /// The caller's cost may be anything, so every endpoint is weighed.
    fn bound(&self) -> Option<&NoBound> {
        None
    }
}
