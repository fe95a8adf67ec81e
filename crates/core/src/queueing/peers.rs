//! What the queues of several gateways owe each other: service of flows, and the order of
//! priorities.
//!
//! A queued request leaves the room of an endpoint to peers' requests that wait for it, for [some
//! time](super::yielding): to those of a higher priority; and to those of its own, if a flow that
//! waits at a peer has received less.

use super::Queueing;
use super::queued_request::FlowCharge;
use crate::fleet::Fleet;
use crate::flow::FlowElsewhere;
use crate::pool::Slot;
use crate::time::{Instant, Seconds};

impl Queueing {
    /// Follows what peers should receive, from now on.
    pub(crate) fn share(&mut self) {
        self.waiting.follow();
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

    /// The next flow, by priority and id, whose requests have begun or ceased to wait.
    pub(crate) fn poll_flow(&mut self) -> Option<(i32, u64)> {
        self.waiting.poll_flow()
    }

    /// Whether requests of a flow wait, and its weight.
    pub(crate) fn waits_here(&self, priority: i32, flow: u64) -> (bool, f64) {
        self.waiting.waits_here(priority, flow)
    }

    /// Charges a flow for requests that a peer has dispatched.
    pub(crate) fn serve_elsewhere(
        &mut self,
        now: Instant,
        flow: FlowElsewhere,
        requests: u32,
        service: Seconds,
    ) {
        self.waiting.serve_elsewhere(now, flow, requests, service);
        self.yielding.accounts_changed();
    }

    /// Sets whether requests of a flow wait at peers.
    pub(crate) fn wait_elsewhere(&mut self, now: Instant, flow: FlowElsewhere) {
        self.waiting.wait_elsewhere(now, flow);
        self.yielding.accounts_changed();
    }

    /// Attempts requests again that have left room to peers, if the accounts of flows have changed.
    pub(super) fn open_yielded(&mut self) {
        while let Some(slot) = self.yielding.poll_retry() {
            self.waiting.open(slot);
        }
    }

    /// Until when a request leaves the room of an endpoint to peers; `None` if it takes the room.
    pub(super) fn yields_until(
        &mut self,
        fleet: &Fleet,
        slot: &Slot,
        charge: FlowCharge,
    ) -> Option<Instant> {
        if !self.comes_after_peers(slot, charge) {
            return None;
        }
        let peers = slot.reports.peers();
        let until = self.yielding.until(fleet.now, slot.id.slot, peers.booked)?;
        if peers.waiting == Some(charge.priority.0) {
            self.yielding.left_to_flows(slot.id.slot);
        }
        Some(until)
    }

    /// Whether a request should look for another endpoint than one that peers have a claim to.
    pub(super) fn is_left_to_peers(&self, now: Instant, slot: &Slot, charge: FlowCharge) -> bool {
        self.comes_after_peers(slot, charge) && !self.yielding.is_ignored(now, slot.id.slot)
    }

    /// Whether requests of peers that wait for an endpoint come before this one.
    fn comes_after_peers(&self, slot: &Slot, charge: FlowCharge) -> bool {
        let FlowCharge { priority, flow, service, .. } = charge;
        slot.reports.peers().waiting.is_some_and(|waiting| {
            waiting > priority.0
                || waiting == priority.0
                    && self.waiting.is_ahead_of_others(priority.0, flow, service)
        })
    }

    /// The prefill of peers has gone on at an endpoint: they make use of its room.
    pub(crate) fn peers_went_on(&mut self, now: Instant, slot: &Slot) {
        self.yielding.went_on(now, slot.id.slot, slot.reports.peers().booked);
    }
}
