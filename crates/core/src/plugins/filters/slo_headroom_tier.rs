//! `slo-headroom-tier-filter`: endpoints that are predicted to meet the service level.

use alloc::string::String;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;
use crate::plugins::parameters::{Ignored, checked_parameters};

/// `slo-headroom-tier-filter`: keeps the endpoints that are predicted to meet the service level.
///
/// The positive tier has no negative headroom; an endpoint without a prediction is in the negative
/// tier. With probability `epsilonExploreNeg` only the negative tier stays, so that its endpoints
/// are measured again. All candidates stay if one tier is empty.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct SloHeadroomTierFilter {
    /// The probability that the negative tier stays; 0.01 by default.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "or_default"))]
    pub epsilon_explore_neg: f64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    latency_prediction_info_producer_name: Ignored<String>,
}

impl SloHeadroomTierFilter {
    const EPSILON: f64 = 0.01;
}

impl Default for SloHeadroomTierFilter {
    fn default() -> Self {
        let producer = Ignored::default();
        let epsilon_explore_neg = Self::EPSILON;
        Self { epsilon_explore_neg, latency_prediction_info_producer_name: producer }
    }
}

/// Whether the endpoint is predicted to meet the service level.
fn is_positive(endpoint: &EndpointFacts) -> bool {
    endpoint.prediction.is_some_and(|prediction| {
        prediction.ttft_headroom >= 0.0 && prediction.tpot_headroom >= 0.0
    })
}

impl Filter for SloHeadroomTierFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let positive = candidates.iter().filter(|endpoint| is_positive(endpoint)).count();
        if positive > 0 && positive < candidates.len() {
            let explores = cycle.rng.unit() < self.epsilon_explore_neg;
            candidates.retain(|endpoint| is_positive(endpoint) != explores);
        }
    }
}

#[cfg(feature = "serde")]
impl SloHeadroomTierFilter {
    fn check(&self) -> Result<(), &'static str> {
        if (0.0..=1.0).contains(&self.epsilon_explore_neg) {
            Ok(())
        } else {
            Err("epsilonExploreNeg must be from 0 to 1")
        }
    }
}

/// Null counts as a missing probability, as in the reference.
#[cfg(feature = "serde")]
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let given = <Option<f64> as serde::Deserialize>::deserialize(from)?;
    Ok(given.unwrap_or(SloHeadroomTierFilter::EPSILON))
}

checked_parameters!(SloHeadroomTierFilter, SloHeadroomTierFilter::check);
