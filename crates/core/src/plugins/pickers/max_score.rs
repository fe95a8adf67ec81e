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

/// Up to this many endpoints, selecting each takes less time than sorting all.
const FEW: usize = 4;

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
        let selected = number(self.max_num_of_endpoints);
        if selected > FEW {
            candidates.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
            return selected;
        }
        for at in 0..selected.min(candidates.len()) {
            let left = &mut candidates[at..];
            let mut best = 0;
            for (place, candidate) in left.iter().enumerate().skip(1) {
                if rank(candidate) > rank(&left[best]) {
                    best = place;
                }
            }
            // The others keep their order, as in a stable sort.
            left[..=best].rotate_right(1);
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::plugins::picker::pick;

    proptest! {
        #[test]
        fn selecting_a_few_equals_sorting_all(
            scores in prop::collection::vec(prop_oneof![(0..4u8).prop_map(f64::from), Just(f64::NAN)], 0..40),
            most in 0..5i64,
            seed: u64,
        ) {
            let all = MaxScorePicker { max_num_of_endpoints: 99 };
            let few = MaxScorePicker { max_num_of_endpoints: most };
            let sorted = pick(&all, &scores, seed);
            let first: Vec<usize> = sorted.into_iter().take(most.max(1) as usize).collect();
            prop_assert_eq!(pick(&few, &scores, seed), first);
        }
    }
}
