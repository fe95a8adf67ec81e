use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::plugins::picker::pick;

/// Draws for each statistic.
const DRAWS: u64 = 20_000;

/// Whether a count is plausible: within five standard deviations of the binomial mean.
#[track_caller]
fn assert_binomial(count: u64, probability: f64) {
    let mean = DRAWS as f64 * probability;
    let deviation = (mean * (1.0 - probability)).sqrt();
    assert!(
        (count as f64 - mean).abs() <= 5.0 * deviation,
        "{count} of {DRAWS} draws, expected {mean} ± {deviation}"
    );
}

/// How often each pair of endpoints is selected first and second.
fn pairs(picker: &dyn Picker, scores: &[f64]) -> Vec<Vec<u64>> {
    let mut counts = alloc::vec![alloc::vec![0; scores.len()]; scores.len()];
    for seed in 0..DRAWS {
        let picked = pick(picker, scores, seed);
        counts[picked[0]][picked[1]] += 1;
    }
    counts
}

fn all() -> [PickerPlugin; 3] {
    [
        PickerPlugin::MaxScore(MaxScorePicker { max_num_of_endpoints: 2 }),
        PickerPlugin::Random(RandomPicker { max_num_of_endpoints: 2 }),
        PickerPlugin::WeightedRandom(WeightedRandomPicker { max_num_of_endpoints: 2 }),
    ]
}

#[test]
fn equal_scores_are_equally_likely_with_every_picker() {
    for picker in all() {
        for (first, row) in pairs(picker.as_plugin(), &[1.0; 4]).into_iter().enumerate() {
            for (second, count) in row.into_iter().enumerate() {
                let expected = if first == second { 0.0 } else { 1.0 / 12.0 };
                assert_binomial(count, expected);
            }
        }
    }
}

#[test]
fn weighted_random_draws_without_replacement_in_proportion() {
    let scores = [0.5, 1.0, 2.5, 0.0, 1e-3];
    let total: f64 = scores.iter().sum();
    let picker = WeightedRandomPicker { max_num_of_endpoints: 2 };
    for (first, row) in pairs(&picker, &scores).into_iter().enumerate() {
        for (second, count) in row.into_iter().enumerate() {
            let rest = total - scores[first];
            let expected = scores[first] / total * scores[second] / rest;
            assert_binomial(count, if first == second { 0.0 } else { expected });
        }
    }
}

#[test]
fn tiny_and_huge_scores_keep_their_proportion() {
    for scale in [5e-324, f64::MIN_POSITIVE, 1e-9, 1e9, 1e307] {
        let scores = [scale, 3.0 * scale];
        let picker = WeightedRandomPicker::default();
        let first = |seed: &u64| pick(&picker, &scores, *seed) == [1];
        assert_binomial((0..DRAWS).filter(first).count() as u64, 0.75);
    }
}

#[test]
fn weighted_random_excludes_what_has_no_score() {
    let picker = WeightedRandomPicker { max_num_of_endpoints: 9 };
    let scores = [0.0, 2.0, -1.0, f64::NAN, 1.0, -0.0, f64::NEG_INFINITY];
    for seed in 0..100 {
        let mut picked = pick(&picker, &scores, seed);
        picked.sort_unstable();
        assert_eq!(picked, [1, 4]);
    }
}

#[test]
fn without_scores_weighted_random_is_uniform() {
    let picker = WeightedRandomPicker { max_num_of_endpoints: 2 };
    for scores in [[0.0; 3], [-1.0, 0.0, -0.0], [f64::NAN, -2.0, 0.0]] {
        for (first, row) in pairs(&picker, &scores).into_iter().enumerate() {
            for (second, count) in row.into_iter().enumerate() {
                assert_binomial(count, if first == second { 0.0 } else { 1.0 / 6.0 });
            }
        }
    }
}

#[test]
fn max_score_orders_every_number() {
    let picker = MaxScorePicker { max_num_of_endpoints: 9 };
    let scores = [-1.0, f64::NAN, f64::INFINITY, 0.5, 1e-9];
    for seed in 0..100 {
        assert_eq!(pick(&picker, &scores, seed), [2, 3, 4, 0, 1]);
    }
    let both_zeros_first =
        (0..100).filter(|seed| pick(&picker, &[0.0, -0.0], *seed) == [0, 1]).count();
    assert!((20..80).contains(&both_zeros_first), "{both_zeros_first}");
}

#[test]
fn an_invalid_number_of_endpoints_is_one() {
    for number in [0, -1, i64::MIN] {
        for picker in [
            PickerPlugin::MaxScore(MaxScorePicker { max_num_of_endpoints: number }),
            PickerPlugin::Random(RandomPicker { max_num_of_endpoints: number }),
            PickerPlugin::WeightedRandom(WeightedRandomPicker { max_num_of_endpoints: number }),
        ] {
            assert_eq!(pick(picker.as_plugin(), &[1.0, 2.0], 0).len(), 1);
            assert!(pick(picker.as_plugin(), &[], 0).is_empty());
        }
    }
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![3 => 0.0..4.0, 1 => prop::num::f64::ANY, 1 => Just(0.0)]
}

proptest! {
    #[test]
    fn no_picker_repeats_or_invents(
        scores in prop::collection::vec(score(), 0..40),
        number: i64,
        seed: u64,
    ) {
        for picker in [
            PickerPlugin::MaxScore(MaxScorePicker { max_num_of_endpoints: number }),
            PickerPlugin::Random(RandomPicker { max_num_of_endpoints: number }),
            PickerPlugin::WeightedRandom(WeightedRandomPicker { max_num_of_endpoints: number }),
        ] {
            let picked = pick(picker.as_plugin(), &scores, seed);
            let distinct: BTreeSet<_> = picked.iter().copied().collect();
            prop_assert_eq!(distinct.len(), picked.len());
            prop_assert!(picked.iter().all(|place| *place < scores.len()));
            let most = usize::try_from(number).unwrap_or(0).max(1).min(scores.len());
            if let PickerPlugin::WeightedRandom(_) = picker {
                let eligible = scores.iter().filter(|score| **score > 0.0).count();
                let pool = if eligible == 0 { scores.len() } else { eligible };
                prop_assert_eq!(picked.len(), most.min(pool));
            } else {
                prop_assert_eq!(picked.len(), most);
            }
            prop_assert_eq!(pick(picker.as_plugin(), &scores, seed), picked);
        }
    }

    /// The picker equals its naive twin: sort by score, and nothing above is left out.
    #[test]
    fn max_score_leaves_nothing_better(
        scores in prop::collection::vec(-1.0..4.0_f64, 1..40),
        number in 1..50_i64,
        seed: u64,
    ) {
        let picker = MaxScorePicker { max_num_of_endpoints: number };
        let picked = pick(&picker, &scores, seed);
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let expected = &sorted[..picked.len()];
        let found: Vec<f64> = picked.iter().map(|place| scores[*place]).collect();
        prop_assert_eq!(found.as_slice(), expected);
    }
}
