//! The choice by weighted scores, as the reference's multi-cluster plugins have it.
//!
//! ```text
//! queue      (longest - own) / (longest - shortest)   of mean queues; 1 without a difference
//! KV cache   1 - utilisation
//! prefix     cached share of the prompt
//! ```
//!
//! Each score lies in [0, 1]. A cluster without a report of a metric has the score 0.

use super::choice::{Candidate, Reason};

/// The weights of the reference's multi-cluster scorers.
///
/// The healthy cluster with the highest weighted sum serves, of equal ones the nearest. Distances,
/// targets and ramps have no part in it.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ClusterScorers {
    /// The weight of `multicluster-queue-scorer`.
    pub queue: f64,
    /// The weight of `multicluster-kv-cache-utilization-scorer`.
    pub kv_cache: f64,
    /// The weight of `multicluster-prefix-cache-scorer`.
    pub prefix_cache: f64,
}

/// What scorers read about a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scored {
    /// Mean requests that wait at an endpoint.
    pub(super) queue: Option<f64>,
    /// Mean KV utilisation.
    pub(super) kv_cache: Option<f64>,
    /// The cached share of the prompt.
    pub(super) prefix: f64,
}

impl ClusterScorers {
    /// The first field that is no weight.
    pub(super) fn invalid(&self) -> Option<&'static str> {
        let weights = [
            ("queue", self.queue),
            ("kv_cache", self.kv_cache),
            ("prefix_cache", self.prefix_cache),
        ];
        let invalid = weights.into_iter().find(|(_, it)| !(it.is_finite() && *it >= 0.0));
        invalid.map(|(field, _)| field)
    }

    /// The healthy candidate with the highest score, the first of equal ones. Computes in
    /// **O(n)**.
    pub(super) fn choose(&self, candidates: &[Candidate]) -> Option<(usize, Reason)> {
        let open = candidates.iter().enumerate().filter(|(_, it)| it.is_open());
        let queues = open.clone().filter_map(|(_, it)| it.scored.queue);
        let shortest = queues.clone().fold(f64::INFINITY, f64::min);
        let range = (shortest, queues.fold(0.0, f64::max));
        let scores = open.map(|(at, it)| (at, self.score(&it.scored, range)));
        let best = scores.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(at, _)| (at, Reason::Score))
    }

    fn score(&self, scored: &Scored, (shortest, longest): (f64, f64)) -> f64 {
        let queue = scored.queue.map_or(0.0, |own| {
            if longest > shortest { (longest - own) / (longest - shortest) } else { 1.0 }
        });
        let kv_cache = scored.kv_cache.map_or(0.0, |utilization| 1.0 - utilization);
        self.queue * queue + self.kv_cache * kv_cache + self.prefix_cache * scored.prefix
    }
}
