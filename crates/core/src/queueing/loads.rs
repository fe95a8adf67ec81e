//! Requests that wait until their adapter is loaded, while adapters outnumber slots.
//!
//! Each load stops an engine and displaces an adapter. So the window's endpoints load one adapter
//! after the other, and one load serves all requests that have gathered for it. Next is the adapter
//! whose requests have waited longest in sum. This is max-weight scheduling (Tassiulas and
//! Ephremides, 1992): it serves as many requests as any order, and none starves, since the sum of a
//! single request grows too.

use super::Queueing;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::Ticket;
use crate::placement::Query;
use crate::pool::Slot;
use crate::time::Seconds;

impl Queueing {
    /// The adapter, if the request has to wait until that is loaded.
    pub(super) fn awaits_load(
        &self,
        fleet: &Fleet,
        query: Query<'_>,
        best: EndpointId,
    ) -> Option<u64> {
        let (adapter, slot) = (query.lookup.adapter?, fleet.pool.get(best).ok()?);
        let goes = slot.adapters.is_resident(adapter)
            || !fleet.is_crowded()
            || fleet.may_displace(slot, adapter, fleet.now)
            || self.loads.next == Some(adapter) && self.has_room(fleet, slot);
        (!goes).then_some(adapter)
    }

    /// Parks a request until this adapter is loaded.
    pub(super) fn park_for_load(&mut self, ticket: Ticket, adapter: u64) {
        if let Some(queued) = self.waiting.get_mut(ticket) {
            self.loads.insert(queued, adapter);
        }
        self.waiting.park(ticket, place(adapter), Seconds::ZERO);
    }

    /// Records that a request waits for something else than a load.
    pub(super) fn leave_loads(&mut self, ticket: Ticket) {
        if let Some(queued) = self.waiting.get_mut(ticket) {
            self.loads.remove(queued);
        }
    }

    /// Gives the next adapter in line its turn, if there is one. Called when no other request can
    /// go: those of loaded adapters come first.
    pub(super) fn open_next_load(&mut self, fleet: &Fleet) -> bool {
        let Some(adapter) = self.loads.advance(fleet.now) else { return false };
        self.waiting.open(place(adapter));
        true
    }

    /// Opens the requests of the adapters that the endpoint has loaded.
    pub(super) fn open_loaded(&mut self, slot: &Slot) {
        self.loads.retry();
        if !self.loads.is_empty() {
            slot.adapters.keys().for_each(|adapter| self.waiting.open(place(adapter)));
        }
    }

    /// Opens the requests of all adapters.
    pub(super) fn open_loads(&mut self) {
        self.loads.retry();
        self.loads.adapters().for_each(|adapter| self.waiting.open(place(adapter)));
    }
}

/// Where requests of the adapter are parked.
const fn place(adapter: u64) -> u32 {
    FIRST + (adapter % PLACES as u64) as u32
}

/// Parking places for adapters lie between those for slots and those for classes. Adapters may
/// share one.
const PLACES: u32 = 1_024;
const FIRST: u32 = u32::MAX - 1_024 - PLACES;
