//! `max-score-picker`: the highest score.

use super::random_order::{number, shuffle};
use crate::plugins::cycle::ScoredEndpoint;
use crate::plugins::picker::Picker;
use crate::rng::Rng;

/// `max-score-picker`: selects the endpoints with the highest scores; equal scores are in random
/// order. NaN is below every number.
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
        /// Positive and negative zero are equal, and the order is total.
        fn rank(candidate: &ScoredEndpoint) -> f64 {
            let score = candidate.score();
            if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
        }

        shuffle(candidates, rng);
        candidates.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        number(self.max_num_of_endpoints)
    }
}
