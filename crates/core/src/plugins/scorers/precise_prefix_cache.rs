//! `precise-prefix-cache-scorer`: the older name of `prefix-cache-scorer`.

use super::prefix_cache::PrefixCacheScorer;
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;

/// `precise-prefix-cache-scorer`: [`PrefixCacheScorer`] with its defaults, by its older name.
///
/// The parameters configure the index of blocks, not the score. They are accepted without a check
/// and have no effect: the facts state what the index has found.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct PrecisePrefixCacheScorer {}

impl Scorer for PrecisePrefixCacheScorer {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        PrefixCacheScorer::default().score(cycle, scores);
    }
}
