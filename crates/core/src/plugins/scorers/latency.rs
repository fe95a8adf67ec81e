//! `latency-scorer`: predicted latency against service levels.

use alloc::string::String;

use super::headroom::{HeadroomStrategy, score_bucket};
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::facts::{EndpointFacts, Prediction};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;

/// `latency-scorer`: prefers endpoints by the headroom of the predicted latency, which is the
/// service level minus the prediction.
///
/// Only one group of endpoints has scores, the first of these that is not empty; others have zero:
///
/// 1. endpoints without a missed service level, and those without a prediction;
/// 2. endpoints without dispatched requests;
/// 3. endpoints that miss the time per output token only;
/// 4. endpoints that miss the time to first token only;
/// 5. endpoints that miss both.
///
/// ```text
/// n(h)     = (|h| - min|h|) / (max|h| - min|h|) in the group, 0.5 if all are equal
/// combined = (ttftWeight × n(ttft) + tpotWeight × n(tpot)) / (ttftWeight + tpotWeight)
///            n of the other one if all values of one are equal
/// score    = (floor(100 × (1 - combined)) + 1) / 100    strategy least, and groups 2 to 5
///            (floor(100 × combined) + 1) / 100          strategy most
/// ```
///
/// The highest score is 1.01, which the profile clamps. If no endpoint has a prediction:
///
/// ```text
/// score = round(100 × mean of (1 - kv_usage), (max_waiting - waiting) / max_waiting and
///               match_blocks / total_blocks, by the composite weights) / 100
/// ```
///
/// The parameters `latencyPredictionInfoProducerName` and `prefixMatchInfoProducerName` have no
/// effect.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct LatencyScorer {
    /// The weight of the time to first token; 0.8 by default.
    pub ttft_weight: f64,
    /// The weight of the time per output token; 0.2 by default.
    pub tpot_weight: f64,
    /// Which headroom is preferred.
    pub headroom_selection_strategy: HeadroomStrategy,
    /// Without predictions: the weight of free KV cache; 1 by default.
    #[cfg_attr(feature = "serde", serde(rename = "compositeKVWeight"))]
    pub composite_kv_weight: f64,
    /// Without predictions: the weight of short queues; 1 by default.
    pub composite_queue_weight: f64,
    /// Without predictions: the weight of the cached share of the prompt; 1 by default.
    pub composite_prefix_weight: f64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    latency_prediction_info_producer_name: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_match_info_producer_name: Ignored<String>,
}

impl Default for LatencyScorer {
    fn default() -> Self {
        Self {
            ttft_weight: 0.8,
            tpot_weight: 0.2,
            headroom_selection_strategy: HeadroomStrategy::Least,
            composite_kv_weight: 1.0,
            composite_queue_weight: 1.0,
            composite_prefix_weight: 1.0,
            latency_prediction_info_producer_name: Ignored::default(),
            prefix_match_info_producer_name: Ignored::default(),
        }
    }
}

impl Scorer for LatencyScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        if scores.endpoints().all(|endpoint| endpoint.prediction.is_none()) {
            return self.score_without_predictions(scores);
        }
        let best = scores.endpoints().map(group).min();
        let strategy = match best {
            Some(Group::Met) => self.headroom_selection_strategy,
            // The least deficit is best, whatever headroom is preferred.
            _ => HeadroomStrategy::Least,
        };
        let weights = (self.ttft_weight, self.tpot_weight);
        score_bucket(scores, weights, strategy, |endpoint| {
            let prediction = endpoint.prediction.unwrap_or_default();
            (Some(group(endpoint)) == best)
                .then_some((prediction.ttft_headroom, prediction.tpot_headroom))
        });
    }
}

impl LatencyScorer {
    fn score_without_predictions(&self, scores: &mut Scores<'_>) {
        let weights =
            [self.composite_kv_weight, self.composite_queue_weight, self.composite_prefix_weight];
        let sum: f64 = weights.iter().sum();
        let [kv, queue, prefix] =
            if sum <= 0.0 { [1.0, 0.0, 0.0] } else { weights.map(|weight| weight / sum) };
        let longest = scores.endpoints().map(|endpoint| endpoint.waiting).max().unwrap_or(0);
        scores.set_each(|endpoint| {
            let free = 1.0 - endpoint.kv_usage;
            let short = match longest {
                0 => 1.0,
                _ => (longest - endpoint.waiting) as f64 / longest as f64,
            };
            round(100.0 * (kv * free + queue * short + prefix * endpoint.match_ratio())) / 100.0
        });
    }
}

/// Groups of endpoints, the preferred ones first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Group {
    Met,
    Idle,
    TpotMissed,
    TtftMissed,
    BothMissed,
}

fn group(endpoint: &EndpointFacts) -> Group {
    let Some(prediction) = endpoint.prediction else { return Group::Met };
    let Prediction { ttft_headroom, tpot_headroom, dispatched_requests, .. } = prediction;
    match (ttft_headroom < 0.0, tpot_headroom < 0.0) {
        (false, false) => Group::Met,
        _ if dispatched_requests == 0 => Group::Idle,
        (false, true) => Group::TpotMissed,
        (true, false) => Group::TtftMissed,
        (true, true) => Group::BothMissed,
    }
}

/// The nearest whole number; halves go away from zero.
fn round(value: f64) -> f64 {
    let whole = value as i64 as f64;
    match value - whole {
        rest if rest >= 0.5 => whole + 1.0,
        rest if rest <= -0.5 => whole - 1.0,
        _ => whole,
    }
}
