//! `token-load-scorer`: few tokens in flight.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;

/// `token-load-scorer`: prefers endpoints with few tokens in flight, after this request.
///
/// ```text
/// tokens = in_flight_tokens + uncached_tokens
/// score  = 1 - min(tokens, queueThresholdTokens) / queueThresholdTokens
/// ```
///
/// The parameter `inFlightLoadProducerName` has no effect.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct TokenLoadScorer {
    /// Tokens at which the score is zero; 4,194,304 by default, and if it is not positive.
    pub queue_threshold_tokens: i64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    in_flight_load_producer_name: Ignored<String>,
}

/// 128 requests of 32,768 tokens.
const DEFAULT_THRESHOLD: i64 = 128 * 32_768;

impl Default for TokenLoadScorer {
    fn default() -> Self {
        Self {
            queue_threshold_tokens: DEFAULT_THRESHOLD,
            in_flight_load_producer_name: Ignored::default(),
        }
    }
}

impl Scorer for TokenLoadScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let threshold = match self.queue_threshold_tokens {
            tokens @ 1.. => tokens as f64,
            _ => DEFAULT_THRESHOLD as f64,
        };
        scores.set_each(|endpoint| {
            let tokens = endpoint.in_flight_tokens.saturating_add(endpoint.uncached_tokens);
            1.0 - (tokens as f64).min(threshold) / threshold
        });
    }
}
