//! When those who wait may try: what closes endpoints and bands, and what opens them again.

use super::{Queueing, TICK, capacity};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::Position;
use crate::time::Instant;

impl Queueing {
    /// Something has changed on an endpoint: whoever waits for it, or for any, may try again; and so may the first of those who wait
    /// for others, since it may be the best for them now, and they more important.
    pub(crate) fn endpoint_changed(&mut self, fleet: &Fleet, endpoint: EndpointId) {
        if self.waiting.sum().requests == 0 {
            return;
        }
        self.open_classes();
        let Ok(slot) = fleet.pool.get(endpoint) else { return };
        if capacity::has_room(fleet, slot) {
            self.waiting.open(endpoint.slot);
            self.open_others(fleet);
        }
    }

    /// The backoff of the endpoint in a slot has ended: queued requests may try it.
    pub(crate) fn endpoint_recovered(&mut self, fleet: &Fleet, slot: u32) {
        if self.waiting.sum().requests > 0 {
            self.open_classes();
            self.waiting.open(slot);
            self.open_others(fleet);
        }
    }

    /// Opens some of the endpoints that requests may be parked for, others each time. Each lets its first one try, and closes again if
    /// that one still waits for it.
    fn open_others(&mut self, fleet: &Fleet) {
        let slots = fleet.pool.bounds().len();
        for _ in 0..slots.min(OTHERS) {
            self.next_other = if self.next_other + 1 < slots { self.next_other + 1 } else { 0 };
            self.waiting.open(self.next_other);
        }
    }

    pub(super) fn open_classes(&mut self) {
        self.classes.iter().for_each(|class| self.waiting.open(*class));
    }

    /// The pool has changed: whoever waits may find something better than what it waits for.
    pub(crate) fn pool_changed(&mut self, fleet: &Fleet) {
        if self.waiting.sum().requests > 0 {
            (0..fleet.pool.bounds().len()).for_each(|slot| self.waiting.release(slot));
            self.open_classes();
        }
    }

    /// Opens the endpoints that have room by now although nothing was heard of them.
    pub(super) fn wake(&mut self, fleet: &Fleet) {
        if self.waiting.sum().requests == 0 {
            self.wakeups.clear();
            self.classes.clear();
        }
        while let Some((at, number)) =
            self.wakeups.first().copied().filter(|(at, _)| *at <= fleet.now)
        {
            self.wakeups.remove(&(at, number));
            let Some(slot) = fleet.pool.at(number) else { continue };
            if capacity::has_room(fleet, slot) {
                self.waiting.open(number);
                self.open_others(fleet);
            } else {
                self.wake_later(fleet, number);
            }
        }
    }

    /// Somebody waits for an endpoint: looks again when it should have room, or when its load report is too old to say that it has
    /// none, if nothing is heard of it before.
    pub(super) fn wake_later(&mut self, fleet: &Fleet, number: u32) {
        let Some(slot) = fleet.pool.at(number) else { return };
        let falls = slot.in_flight.falls_to(fleet.config.flow.max_queued_prefill, fleet.now);
        let wakes = [Some(falls), capacity::stale_at(fleet, slot)]
            .into_iter()
            .flatten()
            .filter(|at| *at > fleet.now);
        self.wakeups.extend(wakes.map(|at| (at, number)));
    }

    /// When the next load report is too old to keep the pool closed.
    pub(super) fn next_stale(&self, fleet: &Fleet) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || fleet.config.flow.never_closes() {
            return None;
        }
        let stale = fleet.pool.iter().filter_map(|slot| capacity::stale_at(fleet, slot));
        stale.filter(|at| *at > fleet.now).min()
    }

    /// When a closed band opens by the clock alone, as booked prefill runs down. Computes in
    /// **O(endpoints · log microseconds)** where saturation counts, by halving the time until nothing runs down any more.
    pub(super) fn next_opening(&self, fleet: &Fleet) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || fleet.config.flow.never_closes() {
            return None;
        }
        let runs_down = fleet.pool.iter().map(|slot| slot.in_flight.runs_down_at());
        let (mut closed, mut opened) = (fleet.now, runs_down.max().filter(|at| *at > fleet.now)?);
        let bands = self.waiting.active_bands(fleet.now);
        // As if in the first round: whoever only takes turns counts as closed.
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

/// Endpoints that are opened beside one that has nothing to do.
const OTHERS: u32 = 64;
