//! A cost of the caller's own, from the terms of the default profile.

use super::cost_inputs::Facts;
use super::cost_terms::Terms;
use super::prices::CostPrices;
use super::{NoBound, Profile};
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// Prices the terms as [`PredictedCost`](super::PredictedCost) does, and has `cost` combine them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CustomCost<'a, F> {
    pub(crate) prices: &'a CostPrices,
    pub(crate) cost: F,
}

impl<F: Fn(EndpointId, &Terms) -> Seconds> Profile for CustomCost<'_, F> {
    type Bound = NoBound;

    fn terms(&self, facts: &Facts) -> Terms {
        self.prices.terms(facts)
    }

    fn cost(&self, endpoint: EndpointId, terms: &Terms) -> Seconds {
        (self.cost)(endpoint, terms)
    }

    /// The caller's cost may be anything, so every endpoint is weighed.
    fn bound(&self) -> Option<&NoBound> {
        None
    }
}
