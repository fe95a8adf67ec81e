//! The order of endpoints for one request, and the reason when none is left.

use alloc::vec::Vec;

use super::decision::{RejectReason, Rejected};
use super::explain::Exclusion;
use super::pick::Assessment;
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// The order of endpoints: cost, then requests in flight, then chance that is the same for equal prompts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    /// In nanoseconds: an integer has one order, and no rounding noise.
    pub(super) cost: u64,
    pub(super) in_flight: u32,
    pub(super) rendezvous: u64,
}

/// The best endpoints for a request, best first.
#[derive(Debug)]
pub(super) struct Ranking {
    best: Vec<(EndpointId, Assessment)>,
    room: usize,
    /// Endpoints that cannot be among the best need not be offered.
    selective: bool,
}

impl Ranking {
    /// Keeps the best `room` endpoints, at least one, and wants to see all.
    pub(super) fn of_all(room: usize) -> Self {
        Self { best: Vec::new(), room: room.max(1), selective: false }
    }

    /// Keeps the best `room` endpoints, at least one, and wants to see those that may be among them.
    pub(super) fn of_promising(room: usize) -> Self {
        Self { selective: true, ..Self::of_all(room) }
    }

    pub(super) fn offer(&mut self, id: EndpointId, assessment: Assessment) {
        let better = self.best.iter().rposition(|(_, other)| other.key <= assessment.key);
        let place = better.map_or(0, |at| at + 1);
        if place < self.room {
            self.best.truncate(self.room - 1);
            self.best.insert(place, (id, assessment));
        }
    }

    /// The key that an endpoint must be below to be worth a look, if that is known by now.
    pub(super) fn bar(&self) -> Option<Key> {
        let last = self.best.get(self.room - 1).filter(|_| self.selective);
        last.map(|(_, assessment)| assessment.key)
    }

    /// The best endpoint, and the others that were kept.
    pub(super) fn split(&self) -> Option<(&(EndpointId, Assessment), impl Iterator<Item = EndpointId> + '_)> {
        let (first, rest) = self.best.split_first()?;
        Some((first, rest.iter().map(|(id, _)| *id)))
    }
}

/// Why no endpoint can have the request: the most hopeful reason, and the soonest that it may be different.
#[derive(Debug, Default)]
pub(super) struct Refusal(Option<(Exclusion, Option<Seconds>)>);

impl Refusal {
    pub(super) fn note(&mut self, why: Exclusion, after: Option<Seconds>) {
        match &mut self.0 {
            Some((before, _)) if *before > why => {}
            Some((before, soonest)) if *before == why => {
                *soonest = match (*soonest, after) {
                    (Some(soonest), Some(after)) => Some(soonest.min(after)),
                    (soonest, after) => soonest.or(after),
                };
            }
            other => *other = Some((why, after)),
        }
    }

    pub(super) fn into_rejected(self) -> Rejected {
        match self.0 {
            Some((why, after)) => {
                Rejected { reason: why.into(), retry_after: after.map(Seconds::to_duration) }
            }
            None => Rejected { reason: RejectReason::NoEndpoints, retry_after: None },
        }
    }
}
