//! Cancelled requests on engines that ignore disconnects. They stay booked until their predicted
//! end.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::time::Duration;

use super::Scheduler;
use super::in_flight::InFlight;
use crate::time::{Instant, Seconds};

/// Cancelled requests that are still booked, by the end of the booking.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    requests: BTreeMap<(Instant, u64), Box<InFlight>>,
    next: u64,
}

/// The longest booking after a cancellation.
const LONGEST: Duration = Duration::from_secs(60);

impl Lingering {
    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.requests.values().map(|request| &**request)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.requests.keys().next().map(|(at, _)| *at)
    }
}

impl Scheduler {
    /// Keeps the booking of a cancelled request until its predicted end. Returns the request if the
    /// engine stops it at once.
    pub(super) fn linger(&mut self, now: Instant, request: Box<InFlight>) -> Option<Box<InFlight>> {
        let Ok(slot) = self.fleet.pool.get(request.reservation.endpoint()) else {
            return Some(request);
        };
        let (dispatched, predicted) = (request.dispatched, request.predicted.to_duration());
        let answer = Seconds::new(slot.answer_time.get()).to_duration();
        let end = match request.started {
            Some(started) => started + answer,
            // Without a reported first token, the answer may have begun after the predicted
            // prefill.
            None if now > dispatched + predicted => dispatched + predicted + answer,
            None => dispatched + predicted,
        };
        let end = end.min(now + LONGEST);
        let room = self.lingering.requests.len() < self.fleet.config.max_in_flight;
        if slot.endpoint.notices_disconnect || end <= now || !room {
            return Some(request);
        }
        self.lingering.requests.insert((end, self.lingering.next), request);
        self.lingering.next += 1;
        None
    }

    /// Releases the bookings that have ended by now.
    pub(super) fn end_lingering(&mut self, now: Instant) {
        while let Some(at) = self.lingering.requests.first_key_value().map(|(at, _)| *at) {
            if at.0 > now {
                return;
            }
            let Some(request) = self.lingering.requests.remove(&at) else { return };
            let endpoint = request.reservation.endpoint();
            self.leave_blocks(now, request);
            self.queueing.endpoint_changed(&self.fleet, endpoint);
        }
    }
}
