//! The best endpoints for one request.

use alloc::vec::Vec;

use super::assess::Assessment;
use super::ranking_key::RankingKey;
use crate::endpoint::EndpointId;

/// The best endpoints for a request, best first.
#[derive(Debug)]
pub(crate) struct Ranking {
    best: Vec<(EndpointId, Assessment)>,
    room: usize,
}

impl Ranking {
    /// Keeps the best `room` endpoints, at least one.
    pub(crate) fn new(room: usize) -> Self {
        Self { best: Vec::new(), room: room.max(1) }
    }

    pub(crate) fn offer(&mut self, id: EndpointId, assessment: Assessment) {
        let better = self.best.iter().rposition(|(_, other)| other.key <= assessment.key);
        let place = better.map_or(0, |at| at + 1);
        if place < self.room {
            self.best.truncate(self.room - 1);
            self.best.insert(place, (id, assessment));
        }
    }

    /// The key below which an endpoint enters the ranking; `None` while the ranking has room.
    pub(crate) fn bar(&self) -> Option<RankingKey> {
        self.best.get(self.room - 1).map(|(_, assessment)| assessment.key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// The best endpoint and the alternatives.
    pub(crate) fn split(
        &self,
    ) -> Option<(&(EndpointId, Assessment), impl Iterator<Item = EndpointId> + '_)> {
        let (first, rest) = self.best.split_first()?;
        Some((first, rest.iter().map(|(id, _)| *id)))
    }
}
