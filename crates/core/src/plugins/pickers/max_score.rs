//! `max-score-picker`: the highest score.

use crate::plugins::cycle::ScoredEndpoint;
use crate::plugins::picker::Picker;
use crate::rng::Rng;

/// `max-score-picker`: selects the endpoints with the highest scores; equal scores are in random
/// order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct MaxScorePicker {
    /// Most endpoints to select; below 1 counts as 1.
    pub max_num_of_endpoints: i64,
}

impl Default for MaxScorePicker {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1 }
    }
}

impl Picker for MaxScorePicker {
    fn pick(&self, candidates: &mut [ScoredEndpoint], rng: &mut Rng) -> usize {
        for left in (1..candidates.len()).rev() {
            candidates.swap(left, rng.below(left as u64 + 1) as usize);
        }
        candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
        usize::try_from(self.max_num_of_endpoints).unwrap_or(0).max(1)
    }
}
