//! Why no endpoint can have a request, and when that may change.

use super::exclusion::Exclusion;
use crate::decision::{NO_ENDPOINTS_RETRY, RejectReason, Rejected};
use crate::time::Seconds;

/// Why no endpoint can have the request: the most hopeful reason, and the soonest that it may be different.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    best: Option<(Exclusion, Option<Seconds>)>,
    lifts: [Option<Relaxation>; 2],
}

/// Endpoints that are held off and considered all the same, as no other can have the request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Relaxation {
    None,
    /// Those that ramp up and have as many requests as they may.
    Ramping,
    /// And those that are backed off.
    BackedOff,
}

impl Refusal {
    pub(crate) fn note(&mut self, why: Exclusion, after: Option<Seconds>) {
        match why {
            Exclusion::Ramping => self.lifts[0] = Some(Relaxation::Ramping),
            Exclusion::BackedOff => self.lifts[1] = Some(Relaxation::BackedOff),
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
    pub(crate) fn next_relaxation(&self, relaxation: Relaxation) -> Option<Relaxation> {
        self.lifts.into_iter().flatten().filter(|next| *next > relaxation).min()
    }

    /// Whether one that is full, or has no room for a session, will have it sooner or later.
    pub(crate) fn will_have_room(&self) -> bool {
        matches!(self.best, Some((Exclusion::Full | Exclusion::SessionLimit, _)))
    }

    pub(crate) fn into_rejected(self) -> Rejected {
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
