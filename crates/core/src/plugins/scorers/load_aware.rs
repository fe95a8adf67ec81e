//! `load-aware-scorer`: short queues, by an absolute threshold.

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;

/// `load-aware-scorer`: prefers engines with few waiting requests, by an absolute threshold.
///
/// ```text
/// score = 0.5 × (1 - min(waiting, threshold) / threshold)
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LoadAwareScorer {
    /// Waiting requests at which the score is zero; 128 by default, and if it is not positive.
    pub threshold: i64,
}

const DEFAULT_THRESHOLD: i64 = 128;

impl Default for LoadAwareScorer {
    fn default() -> Self {
        Self { threshold: DEFAULT_THRESHOLD }
    }
}

impl Scorer for LoadAwareScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let threshold = if self.threshold > 0 { self.threshold } else { DEFAULT_THRESHOLD } as f64;
        scores.set_each(|endpoint| {
            0.5 * (1.0 - (endpoint.waiting as f64).min(threshold) / threshold)
        });
    }
}
