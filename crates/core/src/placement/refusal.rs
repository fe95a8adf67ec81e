//! Why no endpoint can have a request, and when that may change.

use super::exclusion::Exclusion;
use crate::decision::{NO_ENDPOINTS_RETRY, RejectReason, Rejected};
use crate::time::Seconds;

/// Why no endpoint can have the request: the reason most likely to clear, and the earliest time at
/// which it may.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    best: Option<(Exclusion, Option<Seconds>)>,
    lifts: [Option<Relaxation>; 2],
}

/// Exclusions for health that are waived because no other endpoint can have the request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Relaxation {
    None,
    /// Endpoints at their limit while they ramp up.
    Ramping,
    /// Also endpoints that are backed off.
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

    /// The next step of waivers after `relaxation`, if it would add endpoints.
    pub(crate) fn next_relaxation(&self, relaxation: Relaxation) -> Option<Relaxation> {
        self.lifts.into_iter().flatten().filter(|next| *next > relaxation).min()
    }

    /// Whether a full endpoint will have room for the request later.
    pub(crate) fn will_have_room(&self) -> bool {
        matches!(self.best, Some((Exclusion::Full | Exclusion::SessionLimit, _)))
    }

    pub(crate) fn rejected(&self) -> Rejected {
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
