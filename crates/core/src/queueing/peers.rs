//! What the queues of several gateways owe each other: service of flows, and the order of
//! priorities.
//!
//! A queued request leaves the room of an endpoint to a peer's request that waits for it with a
//! higher priority. The peer may not know of the room yet: it learns of it within the interval of
//! their messages. While the prefill of peers goes on there, the request waits for up to
//! [`LONGEST`]. A claim that nothing follows delays it by [`YIELD`] and what peers have booked, at
//! most [`MOST_BOOKED`]. No claim about the endpoint counts for [`IGNORED`] then, unless peers go
//! on there.

use core::time::Duration;

use super::Queueing;
use crate::fleet::Fleet;
use crate::pool::Slot;
use crate::request::Priority;
use crate::time::{Instant, Seconds};

impl Queueing {
    /// Follows what peers should receive, from now on.
    pub(crate) fn share(&mut self) {
        self.waiting.follow_parked();
        if let Some(admission) = &mut self.session_admission {
            admission.share();
        }
    }

    /// The next slot for which requests of other priorities wait than before.
    pub(crate) fn poll_parked(&mut self) -> Option<u32> {
        self.waiting.poll_parked()
    }

    /// The highest priority of the requests that wait for an endpoint.
    pub(crate) fn highest_parked(&self, slot: u32) -> Option<i32> {
        self.waiting.highest_parked(slot)
    }

    /// Charges a flow for requests that a peer has dispatched.
    pub(crate) fn serve_elsewhere(
        &mut self,
        now: Instant,
        priority: Priority,
        flow: u64,
        requests: u32,
        service: Seconds,
    ) {
        self.waiting.serve_elsewhere(now, priority.0, flow, requests, service);
    }

    /// Until when a request leaves the room of an endpoint to peers; `None` if it takes the room.
    pub(super) fn yields_until(
        &mut self,
        fleet: &Fleet,
        slot: &Slot,
        priority: Priority,
    ) -> Option<Instant> {
        let (now, peers) = (fleet.now, slot.reports.peers());
        peers.waiting.filter(|waiting| *waiting > priority.0)?;
        let step = YIELD + peers.booked.min(MOST_BOOKED);
        let new = Yielding { until: now + step, longest: now + LONGEST };
        let yielding = self.yielding.entry(slot.id.slot).or_insert(new);
        if now >= yielding.until + IGNORED {
            *yielding = new;
        }
        (now < yielding.until).then_some(yielding.until)
    }

    /// Whether a request should look for another endpoint than one that peers have a claim to.
    pub(super) fn is_left_to_peers(&self, now: Instant, slot: &Slot, priority: Priority) -> bool {
        let is_claimed = slot.reports.peers().waiting.is_some_and(|it| it > priority.0);
        let ignored = |it: &Yielding| now >= it.until && now < it.until + IGNORED;
        is_claimed && !self.yielding.get(&slot.id.slot).is_some_and(ignored)
    }

    /// The prefill of peers has gone on at an endpoint: they make use of its room.
    pub(crate) fn peers_went_on(&mut self, now: Instant, slot: &Slot) {
        let number = slot.id.slot;
        match self.yielding.get_mut(&number) {
            Some(yielding) if now < yielding.until => {
                let step = YIELD + slot.reports.peers().booked.min(MOST_BOOKED);
                yielding.until = yielding.longest.min(now + step);
            }
            Some(_) => {
                self.yielding.remove(&number);
            }
            None => {}
        }
    }

    /// An endpoint has no room any more, or this gateway has used it: the next room is another.
    pub(super) fn room_was_used(&mut self, now: Instant, slot: u32) {
        if self.yielding.get(&slot).is_some_and(|yielding| now < yielding.until) {
            self.yielding.remove(&slot);
        }
    }
}

/// For how long the room of an endpoint is left to peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yielding {
    until: Instant,
    /// The limit of that, however much they make use of it.
    longest: Instant,
}

/// The time in which a peer learns of room. Messages take 0.2 s by default.
const YIELD: Duration = Duration::from_millis(500);
const MOST_BOOKED: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
const IGNORED: Duration = Duration::from_secs(5);
