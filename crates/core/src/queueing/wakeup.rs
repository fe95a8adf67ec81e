//! When parked requests are attempted again: changes of endpoints and of the pool, and the clock.

use super::{Queueing, TICK, capacity};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::Position;
use crate::time::Instant;

impl Queueing {
    /// Handles a change on an endpoint. Requests parked for it or for any endpoint are attempted
    /// again. So are the first requests parked for some other endpoints: this one may suit them
    /// now, and they may have a higher priority.
    pub(crate) fn endpoint_changed(&mut self, fleet: &Fleet, endpoint: EndpointId) {
        if self.waiting.sum().requests == 0 {
            return;
        }
        self.open_classes();
        let Ok(slot) = fleet.pool.get(endpoint) else { return };
        self.open_loaded(slot);
        if self.has_room(fleet, slot) {
            self.waiting.open(endpoint.slot);
            self.open_others(fleet);
        } else {
            self.yielding.room_was_used(fleet.now, endpoint.slot);
        }
    }

    /// Handles the end of a backoff: queued requests may be dispatched to the endpoint in this
    /// slot.
    pub(crate) fn endpoint_recovered(&mut self, fleet: &Fleet, slot: u32) {
        if self.waiting.sum().requests > 0 {
            self.open_classes();
            self.waiting.open(slot);
            self.open_others(fleet);
        }
    }

    /// Opens the next few slots for which requests may be parked, in turn. The first request of
    /// each is attempted; the slot closes again if the request is parked for it again.
    fn open_others(&mut self, fleet: &Fleet) {
        self.settling.retry();
        let slots = fleet.pool.bounds().len();
        for _ in 0..slots.min(OTHERS) {
            self.next_other = if self.next_other + 1 < slots { self.next_other + 1 } else { 0 };
            self.waiting.open(self.next_other);
        }
    }

    pub(super) fn open_classes(&mut self) {
        self.classes.iter().for_each(|class| self.waiting.open(*class));
    }

    /// Handles a change of the pool: every parked request may have a better endpoint now.
    pub(crate) fn pool_changed(&mut self, fleet: &Fleet) {
        if self.waiting.sum().requests > 0 {
            self.settling.retry();
            (0..fleet.pool.bounds().len()).for_each(|slot| self.waiting.release(slot));
            self.open_classes();
            self.open_loads();
        }
    }

    /// Opens the endpoints that have gained room by the clock alone.
    pub(super) fn wake(&mut self, fleet: &Fleet) {
        if self.waiting.sum().requests == 0 {
            self.wakeups.clear();
            self.classes.clear();
        }
        while let Some((at, number)) =
            self.wakeups.first().copied().filter(|(at, _)| *at <= fleet.now)
        {
            self.wakeups.remove(&(at, number));
            self.loads.retry();
            let Some(slot) = fleet.pool.at(number) else { continue };
            if self.has_room(fleet, slot) {
                self.waiting.open(number);
                self.open_others(fleet);
            } else {
                self.wake_later(fleet, number);
            }
        }
    }

    /// Schedules a check of an endpoint for which a request is parked: when its booked prefill has
    /// run down, and when its load report has become stale.
    pub(super) fn wake_later(&mut self, fleet: &Fleet, number: u32) {
        let Some(slot) = fleet.pool.at(number) else { return };
        let falls = slot.falls_to(fleet.config.flow.max_queued_prefill, fleet.now);
        let wakes = [Some(falls), capacity::stale_at(fleet, slot)]
            .into_iter()
            .flatten()
            .filter(|at| *at > fleet.now);
        self.wakeups.extend(wakes.map(|at| (at, number)));
    }

    /// When the next load report becomes too old to keep the pool closed.
    pub(super) fn next_stale(&self, fleet: &Fleet) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || fleet.config.flow.never_closes() {
            return None;
        }
        let stale = fleet.pool.iter().filter_map(|slot| capacity::stale_at(fleet, slot));
        stale.filter(|at| *at > fleet.now).min()
    }

    /// When a closed band opens by the clock alone, because booked prefill runs down. A bisection
    /// of the time until all of it has run down, in **O(endpoints · log microseconds)**.
    pub(super) fn next_opening(&self, fleet: &Fleet) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || fleet.config.flow.never_closes() {
            return None;
        }
        let runs_down = fleet.pool.iter().map(|slot| slot.in_flight.runs_down_at());
        let (mut closed, mut opened) = (fleet.now, runs_down.max().filter(|at| *at > fleet.now)?);
        let bands = self.waiting.active_bands(fleet.now);
        // Computed for the first round: a band that only takes turns counts as closed.
        let open = |saturation, band| {
            fleet.config.flow.usage_limit.is_open(saturation, Position::among(&bands, band), 1)
        };
        let open_at = |at| {
            let (saturation, waiting) = (capacity::saturation(fleet, at), self.waiting.bands());
            waiting.filter(|(band, sum, _)| sum.requests > 0 && open(saturation, *band)).count()
        };
        let open_now = open_at(fleet.now);
        if open_at(opened) <= open_now {
            return None;
        }
        while closed + TICK < opened {
            let middle = closed + opened.saturating_since(closed) / 2;
            *(if open_at(middle) > open_now { &mut opened } else { &mut closed }) = middle;
        }
        Some(opened)
    }
}

/// Number of other slots opened beside a changed endpoint.
const OTHERS: u32 = 64;
