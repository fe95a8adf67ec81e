//! Scores by headroom within a group of endpoints.

use crate::plugins::cycle::Scores;
use crate::plugins::facts::EndpointFacts;

/// Which headroom `latency-scorer` prefers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum HeadroomStrategy {
    /// The most: endpoints with the largest safety margin.
    Most,
    /// The least: endpoints that just meet the service level, so others stay free.
    ///
    /// Names that are no strategy mean this one, as in the reference.
    #[default]
    #[cfg_attr(feature = "serde", serde(other))]
    Least,
}

/// Differences below this count as none.
const EPSILON: f64 = 1e-9;

/// Scores the endpoints for which `headrooms` returns that of the time to first token and that of
/// the time per output token; others have zero.
pub(super) fn score_bucket(
    scores: &mut Scores<'_>,
    weights: (f64, f64),
    strategy: HeadroomStrategy,
    headrooms: impl Fn(&EndpointFacts) -> Option<(f64, f64)>,
) {
    let mut ttft = Range::EMPTY;
    let mut tpot = Range::EMPTY;
    for (of_ttft, of_tpot) in scores.endpoints().filter_map(&headrooms) {
        ttft.include(of_ttft.abs());
        tpot.include(of_tpot.abs());
    }
    let (ttft_weight, tpot_weight) = match (ttft.is_point(), tpot.is_point()) {
        (true, false) => (0.0, 1.0),
        (false, true) => (1.0, 0.0),
        _ => shares(weights),
    };
    scores.set_each(|endpoint| {
        let Some((of_ttft, of_tpot)) = headrooms(endpoint) else { return 0.0 };
        let combined =
            ttft_weight * ttft.share(of_ttft.abs()) + tpot_weight * tpot.share(of_tpot.abs());
        let preferred = match strategy {
            HeadroomStrategy::Least => 1.0 - combined,
            HeadroomStrategy::Most => combined,
        };
        ((preferred * 100.0) as i64 + 1) as f64 / 100.0
    });
}

/// Both weights divided by their sum; the first only if the sum is not positive.
fn shares((a, b): (f64, f64)) -> (f64, f64) {
    let sum = a + b;
    if sum <= 0.0 { (1.0, 0.0) } else { (a / sum, b / sum) }
}

/// The range of the absolute headrooms of a group.
struct Range {
    min: f64,
    max: f64,
}

impl Range {
    const EMPTY: Self = Self { min: f64::MAX, max: -f64::MAX };

    const fn include(&mut self, value: f64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    const fn is_point(&self) -> bool {
        self.max - self.min <= EPSILON
    }

    /// Where in the range the value lies; the middle of a point.
    fn share(&self, value: f64) -> f64 {
        if self.is_point() { 0.5 } else { (value - self.min) / (self.max - self.min) }
    }
}
