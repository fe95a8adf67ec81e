//! `queue-scorer`: short queues in engines.

use super::relative::score_fewest;
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;

/// `queue-scorer`: prefers engines with few waiting requests.
///
/// ```text
/// score = (max - waiting) / (max - min), and 1 if all queues are equal
/// ```
///
/// The score is relative: one request more scores the same as a thousand more.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct QueueScorer {}

impl Scorer for QueueScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        score_fewest(scores, |endpoint| endpoint.waiting);
    }
}
