//! `prefix-cache-affinity-filter`: endpoints that have the prompt cached, unless they are too slow.

use alloc::string::String;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;
use crate::plugins::parameters::{Ignored, checked_parameters};

/// `prefix-cache-affinity-filter`: keeps the endpoints that have most of the prompt cached.
///
/// ```text
/// sticky = endpoints with match / total >= affinityThreshold
/// all stay if no endpoint is sticky, with probability explorationProbability,
///     or if min TTFT(sticky) - min TTFT(others) > maxTTFTPenaltyMs > 0
/// TTFT   = tokens in flight / peakPrefillThroughput · 1000, or the predicted one
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct PrefixCacheAffinityFilter {
    /// The share of the prompt that a sticky endpoint has cached; 0 keeps all endpoints.
    pub affinity_threshold: f64,
    /// The probability that all candidates stay.
    pub exploration_probability: f64,
    /// By how much longer the best sticky endpoint may take than the best other one, in
    /// milliseconds; 0 means without limit.
    #[cfg_attr(feature = "serde", serde(rename = "maxTTFTPenaltyMs"))]
    pub max_ttft_penalty_ms: f64,
    /// Where the times to first token come from.
    pub ttft_source: TtftSource,
    /// Tokens that an endpoint prefills in a second.
    pub peak_prefill_throughput: f64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    pub(super) prefix_match_info_producer_name: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    pub(super) latency_prediction_info_producer_name: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    pub(super) in_flight_load_producer_name: Ignored<String>,
}

/// Where times to first token come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase")
)]
#[non_exhaustive]
pub enum TtftSource {
    /// From tokens in flight and the prefill throughput.
    #[default]
    PrefillThroughput,
    /// From the predicted latency; an endpoint without one counts as infinitely slow.
    LatencyPredictor,
}

impl Default for PrefixCacheAffinityFilter {
    fn default() -> Self {
        Self {
            affinity_threshold: 0.8,
            exploration_probability: 0.0,
            max_ttft_penalty_ms: 18_000.0,
            ttft_source: TtftSource::PrefillThroughput,
            peak_prefill_throughput: 15_928.0,
            prefix_match_info_producer_name: Ignored::default(),
            latency_prediction_info_producer_name: Ignored::default(),
            in_flight_load_producer_name: Ignored::default(),
        }
    }
}

impl PrefixCacheAffinityFilter {
    /// Whether the endpoint has enough of the prompt cached.
    fn is_sticky(&self, endpoint: &EndpointFacts) -> bool {
        endpoint.match_ratio() >= self.affinity_threshold
    }

    /// The shortest time to first token of the sticky or of the other endpoints, in milliseconds.
    fn best_ttft(&self, candidates: &Candidates<'_>, sticky: bool) -> f64 {
        let group = candidates.iter().filter(|endpoint| self.is_sticky(endpoint) == sticky);
        group.fold(f64::MAX, |best, endpoint| {
            let ttft = match self.ttft_source {
                TtftSource::PrefillThroughput => {
                    endpoint.in_flight_tokens as f64 / self.peak_prefill_throughput * 1000.0
                }
                TtftSource::LatencyPredictor => {
                    endpoint.prediction.map_or(f64::MAX, |prediction| prediction.ttft)
                }
            };
            // A comparison with NaN is false.
            if ttft < best { ttft } else { best }
        })
    }
}

impl Filter for PrefixCacheAffinityFilter {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        if candidates.len() <= 1 || self.affinity_threshold <= 0.0 {
            return;
        }
        if cycle.rng.unit() < self.exploration_probability {
            return;
        }
        if self.max_ttft_penalty_ms > 0.0 {
            // An empty group is infinitely slow: without sticky endpoints all stay, and without
            // others the sticky ones do.
            let penalty = self.best_ttft(candidates, true) - self.best_ttft(candidates, false);
            if penalty > self.max_ttft_penalty_ms {
                return;
            }
        }
        candidates.retain_if_any(|endpoint| self.is_sticky(endpoint));
    }
}

#[cfg(feature = "serde")]
impl PrefixCacheAffinityFilter {
    fn check(&self) -> Result<(), &'static str> {
        let estimates = self.ttft_source == TtftSource::PrefillThroughput;
        let limits = estimates && self.max_ttft_penalty_ms > 0.0;
        let throughput = self.peak_prefill_throughput;
        if self.affinity_threshold > 1.0 {
            Err("affinityThreshold must be at most 1")
        } else if !(0.0..=1.0).contains(&self.exploration_probability) {
            Err("explorationProbability must be from 0 to 1")
        } else if self.max_ttft_penalty_ms < 0.0 {
            Err("maxTTFTPenaltyMs must be at least 0")
        } else if throughput < 0.0 || limits && throughput <= 0.0 {
            Err("peakPrefillThroughput must be above 0")
        } else {
            Ok(())
        }
    }
}

checked_parameters!(PrefixCacheAffinityFilter, PrefixCacheAffinityFilter::check);
