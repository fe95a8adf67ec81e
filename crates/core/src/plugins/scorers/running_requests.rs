//! `running-requests-size-scorer`: few running requests in engines.

use super::relative::score_fewest;
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;

/// `running-requests-size-scorer`: prefers engines with few running requests.
///
/// ```text
/// score = (max - running) / (max - min), and 1 if all are equal
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RunningRequestsSizeScorer {}

impl Scorer for RunningRequestsSizeScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        score_fewest(scores, |endpoint| endpoint.running);
    }
}
