//! `slo-headroom-tier-filter`: endpoints that are predicted to meet the service level.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;
#[cfg(feature = "serde")]
use crate::plugins::parameters::Ignored;

/// `slo-headroom-tier-filter`: keeps the endpoints that are predicted to meet the service level.
///
/// The positive tier has no negative headroom; an endpoint without a prediction is in the negative
/// tier. With probability `epsilonExploreNeg` only the negative tier stays, so that its endpoints
/// are measured again. All candidates stay if one tier is empty.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", try_from = "Parameters")
)]
#[non_exhaustive]
pub struct SloHeadroomTierFilter {
    /// The probability that the negative tier stays.
    pub epsilon_explore_neg: f64,
}

impl Default for SloHeadroomTierFilter {
    fn default() -> Self {
        Self { epsilon_explore_neg: 0.01 }
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

/// The parameters before their validation.
#[cfg(feature = "serde")]
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    epsilon_explore_neg: Option<f64>,
    latency_prediction_info_producer_name: Ignored<alloc::string::String>,
}

#[cfg(feature = "serde")]
impl TryFrom<Parameters> for SloHeadroomTierFilter {
    type Error = &'static str;

    fn try_from(parameters: Parameters) -> Result<Self, Self::Error> {
        let default = Self::default().epsilon_explore_neg;
        let epsilon_explore_neg = parameters.epsilon_explore_neg.unwrap_or(default);
        if !(0.0..=1.0).contains(&epsilon_explore_neg) {
            return Err("epsilonExploreNeg must be from 0 to 1");
        }
        Ok(Self { epsilon_explore_neg })
    }
}
