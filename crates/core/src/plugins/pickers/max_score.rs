//! `max-score-picker`: the highest score.

use super::random_order::{ScoreOrder, number};
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
        let selected = number(self.max_num_of_endpoints);
        ScoreOrder::new(rng.next_u64()).lead(candidates, selected);
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
