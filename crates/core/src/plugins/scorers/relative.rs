//! Scores relative to the other candidates.

use crate::plugins::cycle::Scores;
use crate::plugins::facts::EndpointFacts;

/// Scores the fewest with 1 and the most with 0, linearly between; 1 if all are equal.
pub(super) fn score_fewest(scores: &mut Scores<'_>, count: impl Fn(&EndpointFacts) -> u64) {
    let (Some(min), Some(max)) =
        (scores.endpoints().map(&count).min(), scores.endpoints().map(&count).max())
    else {
        return;
    };
    let range = (max - min) as f64;
    scores.set_each(
        |endpoint| {
            if max == min { 1.0 } else { (max - count(endpoint)) as f64 / range }
        },
    );
}
