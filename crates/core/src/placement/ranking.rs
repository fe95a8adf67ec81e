//! The best endpoints for one request.

use alloc::vec::Vec;

use super::assess::Assessment;
use super::ranking_key::RankingKey;
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// The best endpoints for a request, best first.
#[derive(Debug)]
pub(crate) struct Ranking {
    best: Vec<(EndpointId, Assessment)>,
    room: usize,
    /// The least cost of an endpoint if the adapter were loaded everywhere.
    least_beside_adapter: Option<Seconds>,
    /// Set if a scheduling profile chose.
    pub(crate) chosen: Option<ProfileChoice>,
}

/// What a scheduling profile adds to a ranking, whose only assessed endpoint is the selected one.
#[derive(Debug)]
pub(crate) struct ProfileChoice {
    /// The weighted sum of the endpoint's scores.
    pub(crate) score: f64,
    /// The alternatives.
    pub(crate) alternatives: Vec<EndpointId>,
}

impl Ranking {
    /// Keeps the best `room` endpoints, at least one.
    pub(crate) fn new(room: usize) -> Self {
        Self { best: Vec::new(), room: room.max(1), least_beside_adapter: None, chosen: None }
    }

    /// The choice of a scheduling profile.
    pub(crate) fn of_profile(id: EndpointId, best: Assessment, choice: ProfileChoice) -> Self {
        let best = alloc::vec![(id, best)];
        Self { best, room: 1, least_beside_adapter: None, chosen: Some(choice) }
    }

    /// Ranks an endpoint. A second offer of the same assessment changes nothing.
    pub(crate) fn offer(&mut self, id: EndpointId, assessment: Assessment) {
        let beside = assessment.cost - assessment.terms.adapter;
        self.least_beside_adapter =
            Some(self.least_beside_adapter.map_or(beside, |least| least.min(beside)));
        let better = self.best.iter().rposition(|(_, other)| other.key <= assessment.key);
        let known = better.is_some_and(|at| self.best[at].1.key == assessment.key);
        let place = better.map_or(0, |at| at + 1);
        if place < self.room && !known {
            if self.best.capacity() == 0 {
                self.best.reserve_exact(self.room.min(FEW));
            }
            self.best.truncate(self.room - 1);
            self.best.insert(place, (id, assessment));
        }
    }

    /// The key below which an endpoint enters the ranking; `None` while the ranking has room.
    pub(crate) fn bar(&self) -> Option<RankingKey> {
        self.best.get(self.room - 1).map(|(_, assessment)| assessment.key)
    }

    /// What the best endpoint costs more than the best one would if the adapter were loaded
    /// everywhere. Exact, although the search skips endpoints: its bound leaves the adapter out.
    pub(crate) fn loss(&self) -> Seconds {
        let best = self.best.first().map(|(_, assessment)| assessment.cost);
        best.zip(self.least_beside_adapter).map_or(Seconds::ZERO, |(best, least)| best - least)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// The best endpoint and the alternatives.
    pub(crate) fn split(
        &self,
    ) -> Option<(&(EndpointId, Assessment), impl Iterator<Item = EndpointId> + '_)> {
        let (first, rest) = self.best.split_first()?;
        let chosen = self.chosen.iter().flat_map(|choice| &choice.alternatives);
        Some((first, rest.iter().map(|(id, _)| id).chain(chosen).copied()))
    }
}

/// Up to this many endpoints have their memory allocated at once.
const FEW: usize = 8;
