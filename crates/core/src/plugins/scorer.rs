//! The trait of scorers.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::cycle::{Cycle, Scores};
use super::facts::{EndpointFacts, RequestFacts};

/// Scores the candidates of a request; higher is better.
///
/// A profile clamps each score to 0 to 1 before it applies the weight.
///
/// ```
/// use slotwise::plugins::{Cycle, EndpointFacts, RequestFacts, Scorer, Scores, score};
///
/// /// Prefers idle engines.
/// #[derive(Debug)]
/// struct Idle;
///
/// impl Scorer for Idle {
///     fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
///         scores.set_each(|endpoint| if endpoint.running == 0 { 1.0 } else { 0.0 });
///     }
/// }
///
/// let endpoints = [EndpointFacts { running: 3, ..EndpointFacts::default() }];
/// assert_eq!(score(&Idle, &RequestFacts::default(), &endpoints), [0.0]);
/// ```
pub trait Scorer: Debug + Send {
    /// Scores the candidates; those without a score have zero.
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>);
}

/// Applies one scorer to a whole pool: the raw scores, in the order of the endpoints.
///
/// Computes in **O(endpoints)** for each scorer of this crate.
pub fn score(scorer: &dyn Scorer, request: &RequestFacts, endpoints: &[EndpointFacts]) -> Vec<f64> {
    let kept: Vec<usize> = (0..endpoints.len()).collect();
    let mut values = Vec::new();
    let mut scores = Scores::new(endpoints, &kept, &mut values);
    scorer.score(&mut Cycle::new(request, 0), &mut scores);
    values
}
