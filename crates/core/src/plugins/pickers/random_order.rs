//! What pickers share: random choice, the order of equal scores, and the number of endpoints.

use crate::plugins::cycle::ScoredEndpoint;
use crate::rng::Rng;

/// Up to this many endpoints, selecting each takes less time than sorting all.
const FEW: usize = 4;

/// The number of endpoints that `maxNumOfEndpoints` means: an invalid one means the default.
pub(super) fn number(max_num_of_endpoints: i64) -> usize {
    usize::try_from(max_num_of_endpoints).unwrap_or(0).max(1)
}

/// Moves `count` candidates to the front, drawn uniformly without replacement (Fisher and Yates).
pub(super) fn draw(candidates: &mut [ScoredEndpoint], count: usize, rng: &mut Rng) {
    let length = candidates.len();
    for at in 0..count.min(length) {
        candidates.swap(at, at + rng.below((length - at) as u64) as usize);
    }
}

/// The order of candidates by score, highest first, where equal scores are in uniformly random
/// order. NaN is below every number.
///
/// A candidate's rank among its equals is a random number that follows from its place. Only equal
/// scores compute it, so a choice among candidates that differ draws one number in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreOrder {
    seed: u64,
}

impl ScoreOrder {
    /// The order whose ties follow from this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Moves the first `count` candidates of the order to the front, in order. Computes in
    /// **O(count · n)** for a few and in **O(n log n)** for many.
    pub(crate) fn lead(self, candidates: &mut [ScoredEndpoint], count: usize) {
        if count > FEW {
            candidates.sort_unstable_by(|a, b| {
                let ties = || self.tie(a).cmp(&self.tie(b));
                score(b).total_cmp(&score(a)).then_with(ties)
            });
            return;
        }
        for at in 0..count.min(candidates.len()) {
            let left = &mut candidates[at..];
            let (mut first, mut highest) = (0, score(&left[0]));
            for (place, candidate) in left.iter().enumerate().skip(1) {
                let score = score(candidate);
                let leads = score > highest
                    || score >= highest && self.tie(candidate) < self.tie(&left[first]);
                if leads {
                    (first, highest) = (place, score);
                }
            }
            left.swap(0, first);
        }
    }

    /// The rank among equal scores: distinct for each place, as the generator is a bijection.
    const fn tie(self, candidate: &ScoredEndpoint) -> u64 {
        Rng::new(self.seed.wrapping_add(candidate.place() as u64)).next_u64()
    }
}

/// The score without NaN and without a negative zero, so that `>=` orders it totally.
fn score(candidate: &ScoredEndpoint) -> f64 {
    let score = candidate.score();
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}
