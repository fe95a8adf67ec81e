//! The trait of pickers.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::cycle::ScoredEndpoint;
use crate::rng::Rng;

/// Selects endpoints from the scored candidates: the best one, and fallbacks after it.
pub trait Picker: Debug + Send {
    /// Moves the selected candidates to the front, best first, and returns their number. A number
    /// above the length counts as the length.
    fn pick(&self, candidates: &mut [ScoredEndpoint], rng: &mut Rng) -> usize;
}

/// Applies one picker to these scores: the places of the selected endpoints, best first.
///
/// Random choices follow from `seed`. Computes in **O(n log n)** of the scores.
///
/// ```
/// use slotwise::plugins::{MaxScorePicker, pick};
///
/// let mut picker = MaxScorePicker::default();
/// picker.max_num_of_endpoints = 2;
/// assert_eq!(pick(&picker, &[0.5, 2.0, 1.0], 7), [1, 2]);
/// ```
pub fn pick(picker: &dyn Picker, scores: &[f64], seed: u64) -> Vec<usize> {
    let mut candidates: Vec<ScoredEndpoint> = scores
        .iter()
        .enumerate()
        .map(|(place, score)| ScoredEndpoint { place, score: *score })
        .collect();
    let picked = picker.pick(&mut candidates, &mut Rng::new(seed)).min(candidates.len());
    candidates[..picked].iter().map(ScoredEndpoint::place).collect()
}
