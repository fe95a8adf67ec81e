//! `precise-prefix-cache-scorer`: cached prompts, with a weight for each device tier.

use alloc::string::String;
use alloc::vec::Vec;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::facts::{EndpointFacts, TierBlocks};
use crate::plugins::scorer::Scorer;

/// `precise-prefix-cache-scorer`: prefers endpoints that have much of the prompt cached in a fast
/// device tier.
///
/// ```text
/// match = trunc(Σ over the matched blocks of the weight of their tier)
/// score = match / total_blocks
/// ```
///
/// A tier without a weight counts as 1, and so do blocks whose tier is not known. Weights are added
/// block by block, as in the reference: ten blocks of weight 0.8 are 7.999… and so count as 7.
///
/// The other parameters of the reference configure the index of blocks, not the score. They are
/// accepted without a check and have no effect: the facts state what the index has found.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct PrecisePrefixCacheScorer {
    /// The part of the index's configuration that the score depends on.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "or_default"))]
    pub indexer_config: TierWeights,
}

/// The weights of the device tiers of a [`PrecisePrefixCacheScorer`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct TierWeights {
    /// The tiers with a weight; `gpu` 1 and `cpu` 0.8 by default. Of equal names, the last counts.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "or_defaults"))]
    pub kv_cache_backend_configs: Vec<TierWeight>,
}

/// The weight of blocks in a device tier.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct TierWeight {
    /// The tier.
    pub name: String,
    /// The weight of a block.
    pub weight: f64,
}

impl Default for TierWeights {
    fn default() -> Self {
        let tier = |name: &str, weight| TierWeight { name: name.into(), weight };
        Self { kv_cache_backend_configs: Vec::from([tier("gpu", 1.0), tier("cpu", 0.8)]) }
    }
}

impl TierWeights {
    fn of(&self, tier: &str) -> f64 {
        let found = self.kv_cache_backend_configs.iter().rfind(|it| it.name == tier);
        found.map_or(1.0, |it| it.weight)
    }

    /// The weights of the matched blocks.
    fn of_match(&self, endpoint: &EndpointFacts) -> f64 {
        if endpoint.match_tiers.is_empty() {
            return endpoint.match_blocks as f64;
        }
        let mut sum = 0.0;
        for TierBlocks { tier, blocks } in &endpoint.match_tiers {
            let weight = self.of(tier);
            let one_by_one = (*blocks).min(MOST_ADDITIONS);
            (0..one_by_one).for_each(|_| sum += weight);
            sum += (blocks - one_by_one) as f64 * weight;
        }
        // Whole blocks, as in the reference.
        (sum as i64) as f64
    }
}

/// The blocks of a stretch whose weights are added one by one; the others are multiplied.
const MOST_ADDITIONS: u64 = 1 << 16;

impl Scorer for PrecisePrefixCacheScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        scores.set_each(|endpoint| match endpoint.total_blocks {
            0 => 0.0,
            total => self.indexer_config.of_match(endpoint) / total as f64,
        });
    }
}

/// Null counts as a missing parameter.
#[cfg(feature = "serde")]
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<TierWeights, D::Error> {
    <Option<TierWeights> as serde::Deserialize>::deserialize(from).map(Option::unwrap_or_default)
}

/// Null counts as a missing list.
#[cfg(feature = "serde")]
fn or_defaults<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<TierWeight>, D::Error> {
    let given = <Option<Vec<TierWeight>> as serde::Deserialize>::deserialize(from)?;
    Ok(given.unwrap_or_else(|| TierWeights::default().kv_cache_backend_configs))
}
