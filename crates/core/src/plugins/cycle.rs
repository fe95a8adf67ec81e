//! One scheduling cycle: its candidates, their scores, and its random numbers.
//!
//! The framework owns these buffers, and plugins work on them by methods that cannot break them: a
//! filter can only narrow, a scorer cannot return a wrong length or a NaN, and a picker cannot
//! select an endpoint that is no candidate.

use alloc::vec::Vec;

use super::facts::{EndpointFacts, RequestFacts};
use crate::rng::Rng;

/// What all plugins of one cycle share: the request, and a source of chance.
#[derive(Debug)]
#[non_exhaustive]
pub struct Cycle<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// Random numbers of this cycle: equal seeds give equal cycles.
    pub rng: Rng,
}

impl<'a> Cycle<'a> {
    /// A cycle for this request, whose random choices follow from `seed`.
    pub const fn new(request: &'a RequestFacts, seed: u64) -> Self {
        Self { request, rng: Rng::new(seed) }
    }
}

/// The endpoints that the filters have kept so far, in the order of the pool.
#[derive(Debug)]
pub struct Candidates<'a> {
    endpoints: &'a [EndpointFacts],
    kept: &'a mut Vec<usize>,
}

impl<'a> Candidates<'a> {
    /// The endpoints at the places `kept` of the pool.
    pub(super) const fn new(endpoints: &'a [EndpointFacts], kept: &'a mut Vec<usize>) -> Self {
        Self { endpoints, kept }
    }

    /// The number of candidates.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no candidate is left.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The candidates.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &EndpointFacts> {
        self.kept.iter().map(|place| &self.endpoints[*place])
    }

    /// Removes the candidates for which `keep` returns false, in **O(candidates)**.
    pub fn retain(&mut self, mut keep: impl FnMut(&EndpointFacts) -> bool) {
        let endpoints = self.endpoints;
        self.kept.retain(|place| keep(&endpoints[*place]));
    }

    /// [`retain`](Self::retain), unless it would remove all candidates: then it removes none.
    pub fn retain_if_any(&mut self, mut keep: impl FnMut(&EndpointFacts) -> bool) {
        if self.iter().any(&mut keep) {
            self.retain(keep);
        }
    }

    /// [`retain_if_any`](Self::retain_if_any) with `falls_back`, or else [`retain`](Self::retain).
    pub fn retain_or_fall_back(
        &mut self,
        falls_back: bool,
        keep: impl FnMut(&EndpointFacts) -> bool,
    ) {
        if falls_back { self.retain_if_any(keep) } else { self.retain(keep) }
    }
}

/// The scores of one scorer, one for each candidate; zero until set.
#[derive(Debug)]
pub struct Scores<'a> {
    endpoints: &'a [EndpointFacts],
    kept: &'a [usize],
    values: &'a mut Vec<f64>,
}

impl<'a> Scores<'a> {
    /// Zero scores for the endpoints at the places `kept` of the pool.
    pub(super) fn new(
        endpoints: &'a [EndpointFacts],
        kept: &'a [usize],
        values: &'a mut Vec<f64>,
    ) -> Self {
        values.clear();
        values.resize(kept.len(), 0.0);
        Self { endpoints, kept, values }
    }

    /// The candidates, in the order of the scores.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &'a EndpointFacts> + Clone + use<'a> {
        let endpoints = self.endpoints;
        self.kept.iter().map(move |place| &endpoints[*place])
    }

    /// Sets the score of each candidate, in their order. NaN counts as zero.
    pub fn set_each(&mut self, mut score: impl FnMut(&EndpointFacts) -> f64) {
        for (value, place) in self.values.iter_mut().zip(self.kept) {
            let score = score(&self.endpoints[*place]);
            *value = if score.is_nan() { 0.0 } else { score };
        }
    }
}

/// A candidate with its total score.
///
/// Pickers receive a slice of these and reorder it. The type has no constructor and is not `Clone`,
/// so a picker can select each candidate at most once, and nothing else.
#[derive(Debug)]
pub struct ScoredEndpoint {
    pub(super) place: usize,
    pub(super) score: f64,
}

impl ScoredEndpoint {
    /// The endpoint's place in the pool.
    pub const fn place(&self) -> usize {
        self.place
    }

    /// The weighted sum of its scores.
    pub const fn score(&self) -> f64 {
        self.score
    }
}
