//! Scores relative to the other candidates.

use crate::plugins::cycle::Scores;
use crate::plugins::facts::EndpointFacts;

/// Scores the fewest with 1 and the most with 0, linearly between; 1 if all are equal.
pub(super) fn score_fewest(scores: &mut Scores<'_>, count: impl Fn(&EndpointFacts) -> u64) {
    let counts = scores.endpoints().map(&count);
    let (min, max) = counts.fold((u64::MAX, 0), |(min, max), it| (it.min(min), it.max(max)));
    if min >= max {
        return scores.set_each(|_| 1.0);
    }
    let range = (max - min) as f64;
    scores.set_each(|endpoint| (max - count(endpoint)) as f64 / range);
}
