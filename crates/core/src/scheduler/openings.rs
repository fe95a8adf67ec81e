//! When those who wait may try: what closes endpoints and bands, and what opens them again.

use super::Scheduler;
use super::submit::TICK;
use crate::endpoint::EndpointId;
use crate::flow::{EndpointLoad, Position};
use crate::pool::{ExternalLoad, Slot};
use crate::time::Instant;

impl Scheduler {
    /// Something has changed on an endpoint: whoever waits for it, or for any, may try again; and so may the first of those who wait
    /// for others, since it may be the best for them now, and they more important.
    pub(super) fn reopen(&mut self, now: Instant, endpoint: EndpointId) {
        if self.waiting.sum().requests == 0 {
            return;
        }
        self.open_kinds();
        let Ok(slot) = self.fleet.pool.get(endpoint) else { return };
        if !self.holds(now, slot) {
            self.waiting.open(endpoint.slot);
            self.open_others();
        }
    }

    /// Endpoints that were backed off may be tried by now: so may requests that wait.
    pub(super) fn open_recovered(&mut self, now: Instant) {
        while let Some(number) = self.fleet.pool.open_due(now) {
            if self.waiting.sum().requests > 0 {
                self.open_kinds();
                self.waiting.open(number);
                self.open_others();
            }
        }
    }

    /// Opens some of the endpoints that requests may be parked for, others each time. Each lets its first one try, and closes again if
    /// that one still waits for it.
    fn open_others(&mut self) {
        let slots = self.fleet.pool.bounds().len();
        for _ in 0..slots.min(OTHERS) {
            self.next_other = if self.next_other + 1 < slots { self.next_other + 1 } else { 0 };
            self.waiting.open(self.next_other);
        }
    }

    pub(super) fn open_kinds(&mut self) {
        self.kinds.iter().for_each(|kind| self.waiting.open(*kind));
    }

    /// The pool has changed: whoever waits may find something better than what it waits for.
    pub(super) fn reopen_all(&mut self) {
        if self.waiting.sum().requests > 0 {
            (0..self.fleet.pool.bounds().len()).for_each(|slot| self.waiting.release(slot));
            self.open_kinds();
        }
    }

    /// Opens the endpoints that have room by now although nothing was heard of them.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.waiting.sum().requests == 0 {
            self.wakes.clear();
            self.kinds.clear();
        }
        while let Some((at, number)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, number));
            let Some(slot) = self.fleet.pool.at(number) else { continue };
            if self.holds(now, slot) {
                self.wake_later(now, number);
            } else {
                self.waiting.open(number);
                self.open_others();
            }
        }
    }

    /// Somebody waits for an endpoint: looks again when it should have room, or when its load report is too old to say that it has
    /// none, if nothing is heard of it before.
    pub(super) fn wake_later(&mut self, now: Instant, number: u32) {
        let Some(slot) = self.fleet.pool.at(number) else { return };
        let falls = slot.in_flight.falls_to(self.fleet.config.flow.hold, now);
        let wakes = [Some(falls), self.stale_at(slot)].into_iter().flatten().filter(|at| *at > now);
        self.wakes.extend(wakes.map(|at| (at, number)));
    }

    /// When the next load report is too old to keep the pool closed.
    pub(super) fn next_stale(&self) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || self.fleet.config.flow.never_closes() {
            return None;
        }
        let stale = self.fleet.pool.iter().filter_map(|slot| self.stale_at(slot));
        stale.filter(|at| *at > self.fleet.now).min()
    }

    /// When a closed band opens by the clock alone, as booked prefill runs down. Computes in
    /// **O(endpoints · log microseconds)** where saturation counts, by halving the time until nothing runs down any more.
    pub(super) fn next_opening(&self) -> Option<Instant> {
        if self.waiting.sum().requests == 0 || self.fleet.config.flow.never_closes() {
            return None;
        }
        let runs_down = self.fleet.pool.iter().map(|slot| slot.in_flight.runs_down_at());
        let (mut closed, mut opened) = (self.fleet.now, runs_down.max().filter(|at| *at > self.fleet.now)?);
        let bands = self.waiting.active_bands(self.fleet.now);
        // As if in the first round: whoever only takes turns counts as closed.
        let open = |saturation, band| {
            self.fleet.config.flow.ceiling.is_open(saturation, Position::among(&bands, band), 1)
        };
        let open_at = |at| {
            let (saturation, waiting) = (self.saturation(at), self.waiting.bands());
            waiting.filter(|(band, sum, _)| sum.requests > 0 && open(saturation, *band)).count()
        };
        let open_now = open_at(self.fleet.now);
        if open_at(opened) <= open_now {
            return None;
        }
        while closed + TICK < opened {
            let middle = closed + opened.saturating_since(closed) / 2;
            *(if open_at(middle) > open_now { &mut opened } else { &mut closed }) = middle;
        }
        Some(opened)
    }

    /// Whether an endpoint has so much to do that whoever is not there yet had better wait here. What we have there will say when that
    /// is over: its next first token, or its next end.
    pub(super) fn holds(&self, now: Instant, slot: &Slot) -> bool {
        let flow = &self.fleet.config.flow;
        let booked = slot.in_flight.falls_to(flow.hold, now) > now;
        let is_full = || !flow.saturation.has_room(&self.endpoint_load(now, slot));
        booked || slot.in_flight.requests() > 0 && is_full()
    }

    pub(super) fn saturation(&self, now: Instant) -> f64 {
        let takes_requests = self.fleet.pool.iter().filter(|slot| !slot.draining);
        self.fleet.config.flow.saturation.of_pool(takes_requests.map(|slot| self.endpoint_load(now, slot)))
    }

    fn endpoint_load(&self, now: Instant, slot: &Slot) -> EndpointLoad {
        let external = self.external_while_fresh(now, slot);
        EndpointLoad {
            booked: slot.wait(now, external, self.fleet.mean_work.get()),
            in_flight: slot.in_flight.requests(),
            tokens_in_flight: slot.in_flight.kv_tokens(),
            kv_tokens: slot.in_flight.kv_tokens() as f64 + external.kv_tokens,
            kv_capacity: f64::from(slot.kv_capacity),
            waiting: external.waiting + f64::from(slot.in_flight.pending()),
        }
    }

    /// What may keep an endpoint closed that is not ours: only what it has said itself, and not long ago. Costs rank endpoints, so that
    /// those that are silent can be taken to be like their peers; but for a wait there must be something that ends it.
    fn external_while_fresh(&self, now: Instant, slot: &Slot) -> ExternalLoad {
        if self.stale_at(slot).is_none_or(|at| at <= now) {
            return ExternalLoad::default();
        }
        let (reports, lifetime) = (&slot.reports, self.fleet.config.report_lifetime);
        reports.spoken_of(reports.estimate(now, self.fleet.pool.reports(), slot.kv_capacity, lifetime))
    }

    /// From when on an endpoint's last load report says nothing about whether it is full.
    fn stale_at(&self, slot: &Slot) -> Option<Instant> {
        let staleness = self.fleet.config.flow.saturation.staleness(self.fleet.config.report_lifetime)?;
        Some(slot.reports.sampled_at()? + staleness + TICK)
    }
}

/// Endpoints that are opened beside one that has nothing to do.
const OTHERS: u32 = 64;

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::request::Request;

    #[test]
    fn models_that_no_endpoint_names_are_one_kind() {
        let (mut scheduler, now) = (Scheduler::default(), Instant::ORIGIN);
        let endpoint = Endpoint::new("any").max_in_flight(1);
        scheduler.add_endpoint(now, endpoint.clone()).expect("room");
        let named = scheduler.add_endpoint(now, Endpoint { name: "named".into(), ..endpoint.model("m") });
        let submit = |scheduler: &mut Scheduler, model: &str| {
            scheduler.submit(now, &Request::new(model).tokens(&[1; 64])).expect("room");
            while scheduler.poll_decision(now).is_some() {}
        };
        (0..2_000).for_each(|number| submit(&mut scheduler, &format!("model {number}")));
        assert_eq!(scheduler.kinds.len(), 1);
        (0..2).for_each(|_| submit(&mut scheduler, "m"));
        assert_eq!(scheduler.kinds.len(), 2);
        // What kind a request is, is seen when it is tried: the pool may have changed since it came.
        scheduler.remove_endpoint(now, named.expect("room")).expect("there");
        while scheduler.poll_decision(now).is_some() {}
        assert_eq!(scheduler.waiting.sum().requests, 2_000);
    }
}
