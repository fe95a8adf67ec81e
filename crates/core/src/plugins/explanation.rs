//! Why a scheduling profile selected an endpoint.

use alloc::vec::Vec;

/// One cycle of a [`SchedulingProfile`](super::SchedulingProfile), endpoint by endpoint.
///
/// Names are those of the reference's plugins; a plugin of the host has the name of its type.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ProfileExplanation {
    /// Every endpoint, in the order of the pool.
    pub endpoints: Vec<EndpointExplanation>,
    /// The picker.
    pub picker: &'static str,
    /// The places of the selected endpoints, best first.
    pub picked: Vec<usize>,
    /// The best endpoint that did not win; `None` without a second candidate.
    pub runner_up: Option<ProfileRunnerUp>,
}

/// What filters and scorers made of one endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointExplanation {
    /// The filter that removed the endpoint; `None` if it is a candidate.
    pub dropped_by: Option<&'static str>,
    /// The scores, in the order of the scorers; empty if a filter removed the endpoint.
    pub scores: Vec<ScoreExplanation>,
    /// The sum of the weighted scores.
    pub total: f64,
    /// One more than the number of candidates with a higher total; `None` if a filter removed the
    /// endpoint.
    pub rank: Option<usize>,
}

/// The score of one scorer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ScoreExplanation {
    /// The scorer.
    pub scorer: &'static str,
    /// The factor of its scores.
    pub weight: f64,
    /// The score as the scorer returned it.
    pub raw: f64,
    /// The score, clamped to 0 to 1, times the weight.
    pub weighted: f64,
}

/// What the best endpoint that did not win lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ProfileRunnerUp {
    /// Its place in the pool.
    pub place: usize,
    /// The winner's total minus its own: with more than that, it has the higher total. Zero means
    /// that chance decided; negative means that the picker selected a lower total.
    pub behind: f64,
    /// The scorer in which it lost most to the winner; `None` if it lost in none.
    pub lost_most_in: Option<&'static str>,
    /// The difference of the weighted scores of that scorer.
    pub lost: f64,
}
