//! `prefix-cache-scorer`: cached prompts.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::parameters::{Ignored, checked_parameters};
use crate::plugins::scorer::Scorer;

/// `prefix-cache-scorer`: prefers endpoints that have much of the prompt cached.
///
/// ```text
/// ratio  = match_blocks / total_blocks
/// length = min(1, match_blocks × block_tokens / matchLengthScaleTokens)
/// score  = matchLengthWeight × length² + (1 - matchLengthWeight) × ratio
/// ```
///
/// The score is zero if the prefix is not known. The length prefers an endpoint with much cached
/// even if the prompt is longer still.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct PrefixCacheScorer {
    /// The weight of the length, from 0 to 1; 0 by default.
    pub match_length_weight: f64,
    /// Tokens at which the length counts as 1; 8,192 by default.
    pub match_length_scale_tokens: i64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_match_info_producer_name: Ignored<String>,
}

impl Default for PrefixCacheScorer {
    fn default() -> Self {
        Self {
            match_length_weight: 0.0,
            match_length_scale_tokens: 8192,
            prefix_match_info_producer_name: Ignored::default(),
        }
    }
}

impl Scorer for PrefixCacheScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        scores.set_each(|endpoint| {
            if endpoint.total_blocks == 0 {
                return 0.0;
            }
            let weight = self.match_length_weight;
            let length = if weight > 0.0 { self.length(endpoint) } else { 0.0 };
            weight * (length * length) + (1.0 - weight) * endpoint.match_ratio()
        });
    }
}

impl PrefixCacheScorer {
    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        let weight = self.match_length_weight;
        if !(0.0..=1.0).contains(&weight) {
            Err("matchLengthWeight must be from 0 to 1")
        } else if weight > 0.0 && self.match_length_scale_tokens <= 0 {
            Err("matchLengthScaleTokens must be above 0")
        } else {
            Ok(())
        }
    }

    /// The matched tokens as a share of the scale, at most 1.
    fn length(&self, endpoint: &EndpointFacts) -> f64 {
        let tokens = endpoint.match_blocks as f64 * endpoint.block_tokens as f64;
        (tokens / self.match_length_scale_tokens as f64).min(1.0)
    }
}

checked_parameters!(PrefixCacheScorer, PrefixCacheScorer::check);
