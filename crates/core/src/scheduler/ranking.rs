//! The order of endpoints for one request, and the reason when none is left.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::explain::Exclusion;
use super::pick::Assessment;
use super::rendezvous::Rendezvous;
use crate::decision::{NO_ENDPOINTS_RETRY, RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// The order of endpoints: cost, then requests in flight, then chance that is the same for equal prompts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key {
    /// In nanoseconds: an integer has one order, and no rounding noise.
    pub(super) cost: u64,
    pub(super) in_flight: u32,
    pub(super) rendezvous: Rendezvous,
    /// Only to have an order in any case.
    pub(super) slot: u32,
}

impl Ord for Key {
    /// Field by field. The derived one takes twice as long where most are equal, as on an idle pool.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self.cost != other.cost {
            return self.cost.cmp(&other.cost);
        }
        if self.in_flight != other.in_flight {
            return self.in_flight.cmp(&other.in_flight);
        }
        if self.rendezvous != other.rendezvous {
            return self.rendezvous.cmp(&other.rendezvous);
        }
        self.slot.cmp(&other.slot)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best endpoints for a request, best first.
#[derive(Debug)]
pub(super) struct Ranking {
    best: Vec<(EndpointId, Assessment)>,
    room: usize,
}

impl Ranking {
    /// Keeps the best `room` endpoints, at least one.
    pub(super) fn new(room: usize) -> Self {
        Self { best: Vec::new(), room: room.max(1) }
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
        self.best.get(self.room - 1).map(|(_, assessment)| assessment.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// The best endpoint, and the others that were kept.
    pub(super) fn split(&self) -> Option<(&(EndpointId, Assessment), impl Iterator<Item = EndpointId> + '_)> {
        let (first, rest) = self.best.split_first()?;
        Some((first, rest.iter().map(|(id, _)| *id)))
    }
}

/// Why no endpoint can have the request: the most hopeful reason, and the soonest that it may be different.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    best: Option<(Exclusion, Option<Seconds>)>,
    lifts: [Option<Lift>; 2],
}

/// Endpoints that are held off and considered all the same, as no other can have the request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Lift {
    Nothing,
    /// Those that ramp up and have as many requests as they may.
    Ramping,
    /// And those that are backed off.
    BackedOff,
}

impl Refusal {
    pub(super) fn note(&mut self, why: Exclusion, after: Option<Seconds>) {
        match why {
            Exclusion::Ramping => self.lifts[0] = Some(Lift::Ramping),
            Exclusion::BackedOff => self.lifts[1] = Some(Lift::BackedOff),
            _ => {}
        }
        match &mut self.best {
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

    /// Which endpoints should be considered after all, since no other can have the request.
    pub(super) fn next_lift(&self, lift: Lift) -> Option<Lift> {
        self.lifts.into_iter().flatten().filter(|next| *next > lift).min()
    }

    /// Whether one that is full, or has no room for a session, will have it sooner or later.
    pub(super) fn will_have_room(&self) -> bool {
        matches!(self.best, Some((Exclusion::Full | Exclusion::NoSession, _)))
    }

    pub(super) fn into_rejected(self) -> Rejected {
        match self.best {
            Some((why, after)) => {
                let reason = RejectReason::from(why);
                let unknown = (reason == RejectReason::NoEndpoints).then_some(NO_ENDPOINTS_RETRY);
                Rejected { reason, retry_after: after.map(Seconds::to_duration).or(unknown) }
            }
            None => Rejected::NO_ENDPOINTS,
        }
    }
}
