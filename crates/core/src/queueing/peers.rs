//! What the queues of several gateways owe each other: service of flows, and the order of
//! priorities.
//!
//! A queued request leaves the room of an endpoint to a peer's request that waits for it with a
//! higher priority, for [some time](super::yielding).

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
        let peers = slot.reports.peers();
        peers.waiting.filter(|waiting| *waiting > priority.0)?;
        self.yielding.until(fleet.now, slot.id.slot, peers.booked)
    }

    /// Whether a request should look for another endpoint than one that peers have a claim to.
    pub(super) fn is_left_to_peers(&self, now: Instant, slot: &Slot, priority: Priority) -> bool {
        let is_claimed = slot.reports.peers().waiting.is_some_and(|it| it > priority.0);
        is_claimed && !self.yielding.is_ignored(now, slot.id.slot)
    }

    /// The prefill of peers has gone on at an endpoint: they make use of its room.
    pub(crate) fn peers_went_on(&mut self, now: Instant, slot: &Slot) {
        self.yielding.went_on(now, slot.id.slot, slot.reports.peers().booked);
    }
}
