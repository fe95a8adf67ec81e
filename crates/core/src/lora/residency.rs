//! The LoRA adapters that one endpoint has loaded, from reports and own dispatches.
//!
//! Engines list the adapters of requests in flight, and omit idle ones that are still loaded. Own
//! dispatches fill the gap. An engine evicts the least recently used adapter for a new one, so the
//! same order is kept here.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::rate::Rate;
use crate::load::AdapterState;
use crate::request::Request;
use crate::sorting::sort_rarely;
use crate::time::{Instant, Seconds};

/// The adapters of one endpoint.
#[derive(Debug)]
pub(crate) struct Residency {
    slots: usize,
    /// Slots that the adapters take.
    taken: usize,
    adapters: BTreeMap<u64, Resident>,
    /// Keys of adapters without requests of this gateway, by last use.
    idle: BTreeMap<u64, u64>,
    /// Number of uses so far.
    uses: u64,
    /// Number of changes of the loaded adapters or of the slots.
    changes: u64,
}

#[derive(Debug)]
struct Resident {
    name: Box<str>,
    /// Slots that it takes.
    slots: usize,
    /// This gateway's requests that use it.
    in_flight: u32,
    /// Whether the endpoint's last report listed it.
    listed: bool,
    /// Whether it was loaded at some time, and not only requested.
    confirmed: bool,
    last_use: Instant,
    /// The number of its last use.
    used: u64,
    /// This gateway's requests that use it.
    rate: Rate,
}

/// Seconds within which a request for an evicted adapter counts as a loss.
const HORIZON: f64 = 60.0;
/// Age after which a report no longer counts.
const REPORT_LIFE: Duration = Duration::from_secs(10);
/// Limit of adapters read from a report, and of believed slots; engines have far fewer.
const MAX_SLOTS: usize = 1_024;

impl Residency {
    /// No adapter is loaded, and `slots` adapters fit.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: slots.min(MAX_SLOTS),
            taken: 0,
            adapters: BTreeMap::new(),
            idle: BTreeMap::new(),
            uses: 0,
            changes: 0,
        }
    }

    /// How long a request waits for its adapter, which takes `slots`: zero, its load time, or its
    /// load time after a slot becomes free. A slot becomes free after a fraction of the requests'
    /// residence time.
    pub(crate) fn delay(
        &self,
        key: u64,
        slots: usize,
        now: Instant,
        load: Seconds,
        residence: Seconds,
    ) -> Seconds {
        if self.is_resident(key) {
            return Seconds::ZERO;
        }
        let idle: usize = self.victims(slots, now).map(|(_, adapter)| adapter.slots).sum();
        if idle >= self.missing(slots) {
            load
        } else {
            load + residence * (1.0 / self.slots.max(1) as f64)
        }
    }

    /// The cost to other requests of loading the adapter: the `load` time of each evicted adapter,
    /// times the probability that it is requested here again. A slot that no idle adapter yields
    /// costs the adapter's own load time.
    pub(crate) fn displacement(
        &self,
        key: u64,
        slots: usize,
        now: Instant,
        load: impl Fn(u64) -> Seconds,
    ) -> Seconds {
        if self.is_resident(key) {
            return Seconds::ZERO;
        }
        let (mut missing, mut cost) = (self.missing(slots), Seconds::ZERO);
        for (victim, adapter) in self.victims(slots, now) {
            let requests = adapter.rate.per_second(now) * HORIZON;
            cost += load(victim) * (requests / (1.0 + requests));
            missing = missing.saturating_sub(adapter.slots);
        }
        if missing > 0 { cost + load(key) } else { cost }
    }

    /// Whether the adapter is presumed loaded.
    pub(crate) fn is_resident(&self, key: u64) -> bool {
        self.adapters.contains_key(&key)
    }

    /// The adapters presumed loaded.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.adapters.keys().copied()
    }

    /// Records a dispatched request with the adapter, which takes `slots` once loaded. Returns
    /// whether it loads the adapter.
    pub(crate) fn begin(&mut self, key: u64, name: &str, slots: usize, now: Instant) -> bool {
        let loads = !self.is_resident(key);
        let adapter = self.used(key, name, slots, now);
        adapter.in_flight += 1;
        adapter.rate.observe(now);
        let used = adapter.used;
        self.idle.remove(&used);
        self.make_room(now);
        loads
    }

    /// Records an answer, which proves that the adapter is loaded.
    pub(crate) fn confirm(&mut self, key: u64) {
        if let Some(adapter) = self.adapters.get_mut(&key) {
            adapter.confirmed = true;
        }
    }

    /// Records the end of a request with the adapter. If no request for a load was ever answered,
    /// the adapter is not loaded.
    pub(crate) fn end(&mut self, key: u64, now: Instant) {
        self.uses += 1;
        let used = self.uses;
        if let Some(adapter) = self.adapters.get_mut(&key) {
            adapter.in_flight = adapter.in_flight.saturating_sub(1);
            adapter.last_use = now.max(adapter.last_use);
            self.idle.remove(&adapter.used);
            adapter.used = used;
            if adapter.in_flight == 0 && adapter.confirmed {
                self.idle.insert(used, key);
            } else if adapter.in_flight == 0 {
                self.remove(key);
            }
        }
        self.make_room(now);
    }

    /// Records a report of the endpoint; `key` maps each name to its key, and `slots` each key to
    /// the slots that the adapter takes.
    pub(crate) fn report(
        &mut self,
        state: &AdapterState<'_>,
        now: Instant,
        key: impl Fn(&str) -> u64,
        slots: impl Fn(u64) -> usize,
    ) {
        if let Some(slots) = state.slots {
            self.slots = (slots.get() as usize).min(MAX_SLOTS);
            self.changes += 1;
        }
        for adapter in self.adapters.values_mut() {
            adapter.listed = false;
        }
        // Engines accept no longer names than requests do.
        let names = state.active.iter().filter(|name| name.len() <= Request::MAX_NAME_BYTES);
        for name in names.take(MAX_SLOTS) {
            let key = key(name);
            let adapter = self.used(key, name, slots(key), now);
            adapter.listed = true;
            adapter.confirmed = true;
        }
        self.make_room(now);
    }

    /// Sets the number of adapters that fit.
    pub(crate) fn set_slots(&mut self, slots: usize, now: Instant) {
        self.slots = slots.min(MAX_SLOTS);
        self.changes += 1;
        self.make_room(now);
    }

    /// Number of adapters that fit.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// A number that changes with the loaded adapters and with the slots.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Names of the adapters presumed loaded, in the order of their keys.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &str> {
        self.adapters.values().map(|adapter| &*adapter.name)
    }

    /// Names of the adapters presumed loaded, least recently used first. Computes in **O(n log
    /// n)**.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut by_use: Vec<&Resident> = self.adapters.values().collect();
        sort_rarely(&mut by_use, |one, other| one.used.cmp(&other.used));
        by_use.into_iter().map(|adapter| &*adapter.name)
    }

    /// Makes the adapter the most recently used.
    fn used(&mut self, key: u64, name: &str, slots: usize, now: Instant) -> &mut Resident {
        self.uses += 1;
        let slots = self.clamp(slots);
        let adapter = self.adapters.entry(key).or_insert_with(|| {
            self.changes += 1;
            self.taken += slots;
            Resident {
                name: name.into(),
                slots,
                in_flight: 0,
                listed: false,
                confirmed: false,
                last_use: now,
                used: self.uses,
                rate: Rate::new(now),
            }
        });
        self.idle.remove(&adapter.used);
        (adapter.used, adapter.last_use) = (self.uses, now);
        if adapter.in_flight == 0 {
            self.idle.insert(self.uses, key);
        }
        adapter
    }

    /// Evicts the least recently used adapters without requests, until the rest fits.
    fn make_room(&mut self, now: Instant) {
        while self.taken > self.slots {
            let Some((key, _)) = self.evictable(now).next() else { return };
            self.remove(key);
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some(adapter) = self.adapters.remove(&key) {
            self.changes += 1;
            self.taken -= adapter.slots;
            self.idle.remove(&adapter.used);
        }
    }

    /// Whether an adapter that takes `slots` may be loaded: `yields` is whether an adapter that it
    /// displaces may leave.
    pub(crate) fn admits(&self, slots: usize, now: Instant, yields: impl Fn(u64) -> bool) -> bool {
        let mut missing = self.missing(slots);
        for (victim, adapter) in self.victims(slots, now) {
            if !yields(victim) {
                return false;
            }
            missing = missing.saturating_sub(adapter.slots);
        }
        missing == 0
    }

    /// Slots that must become free before an adapter that takes `slots` is loaded. Adapters in
    /// flight may take more slots than there are: their requests wait in the engine.
    fn missing(&self, slots: usize) -> usize {
        let slots = self.clamp(slots);
        (self.taken + slots).saturating_sub(self.slots).min(slots)
    }

    /// An adapter never takes more than the endpoint has.
    fn clamp(&self, slots: usize) -> usize {
        slots.clamp(1, self.slots.max(1))
    }

    /// The adapters that the engine evicts to load one that takes `slots`, or all that it can.
    /// Computes in **O(listed + slots)**.
    fn victims(&self, slots: usize, now: Instant) -> impl Iterator<Item = (u64, &Resident)> {
        let mut missing = self.missing(slots);
        self.evictable(now).take_while(move |(_, adapter)| {
            let needed = missing > 0;
            missing = missing.saturating_sub(adapter.slots);
            needed
        })
    }

    /// The adapters that the engine may evict: those without requests, least recently used first.
    /// Computes in **O(listed)**, where reports list at most [`MAX_SLOTS`]. Adapters in flight,
    /// whose number clients choose, are not scanned.
    fn evictable(&self, now: Instant) -> impl Iterator<Item = (u64, &Resident)> {
        let resident = |key: &u64| self.adapters.get(key).map(|adapter| (*key, adapter));
        self.idle.values().filter_map(resident).filter(move |(_, adapter)| !adapter.is_pinned(now))
    }
}

impl Resident {
    fn is_pinned(&self, now: Instant) -> bool {
        self.in_flight > 0 || self.listed && now.saturating_since(self.last_use) < REPORT_LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn key(name: &str) -> u64 {
        name.bytes().fold(7, |key: u64, byte| key.wrapping_mul(257) ^ u64::from(byte))
    }

    fn cost(residency: &Residency, name: &str, now: u64) -> f64 {
        let (load, residence) = (Seconds::new(2.0), Seconds::new(6.0));
        let delay = residency.delay(key(name), 1, at(now), load, residence);
        (delay + residency.displacement(key(name), 1, at(now), |_| load)).get()
    }

    #[test]
    fn idle_adapters_stay_resident_although_reports_forget_them() {
        let mut residency = Residency::new(2);
        assert!(residency.begin(key("a"), "a", 1, at(0)));
        residency.confirm(key("a"));
        residency.end(key("a"), at(1));
        residency.report(&AdapterState::active(&[]), at(2), key, |_| 1);
        assert!(cost(&residency, "a", 2).abs() < f64::EPSILON);
        assert!(!residency.begin(key("a"), "a", 1, at(3)));
    }

    #[test]
    fn a_free_slot_costs_a_load_and_a_full_endpoint_more() {
        let mut residency = Residency::new(2);
        assert!((cost(&residency, "c", 0) - 2.0).abs() < 1e-9);
        residency.begin(key("a"), "a", 1, at(0));
        residency.begin(key("b"), "b", 1, at(0));
        residency.confirm(key("a"));
        assert!(
            (cost(&residency, "c", 0) - (2.0 * 2.0 + 6.0 / 2.0)).abs() < 1e-9,
            "all slots in use"
        );
        residency.end(key("a"), at(1));
        assert!((cost(&residency, "c", 1) - 3.0).abs() < 0.1, "one request in 60 s");
        assert!(
            (cost(&residency, "c", 1_000) - 2.0).abs() < 1e-3,
            "the evicted adapter is not requested again"
        );
    }

    #[test]
    fn the_least_recently_used_idle_adapter_goes() {
        let mut residency = Residency::new(2);
        for (second, name) in (0..).zip(["a", "b", "a", "c"]) {
            residency.begin(key(name), name, 1, at(second));
            residency.confirm(key(name));
            residency.end(key(name), at(second));
        }
        assert!(residency.names().eq(["a", "c"]));
    }

    #[test]
    fn the_end_of_a_request_is_a_use() {
        let mut residency = Residency::new(2);
        residency.begin(key("a"), "a", 1, at(0));
        residency.begin(key("b"), "b", 1, at(1));
        for (second, name) in [(2, "b"), (100, "a")] {
            residency.confirm(key(name));
            residency.end(key(name), at(second));
        }
        residency.begin(key("c"), "c", 1, at(101));
        assert!(residency.names().eq(["a", "c"]));
    }

    #[test]
    fn an_adapter_that_was_only_asked_for_is_not_loaded() {
        let mut residency = Residency::new(2);
        residency.begin(key("a"), "a", 1, at(0));
        residency.begin(key("a"), "a", 1, at(0));
        residency.end(key("a"), at(1));
        assert!(residency.is_resident(key("a")), "the other request may still load it");
        residency.end(key("a"), at(1));
        assert!(!residency.is_resident(key("a")));
    }

    #[test]
    fn a_large_adapter_displaces_several() {
        let mut residency = Residency::new(4);
        for (second, name) in (0..).zip(["a", "b", "c", "d"]) {
            residency.begin(key(name), name, 1, at(second));
            residency.confirm(key(name));
            residency.end(key(name), at(second));
        }
        assert!(residency.admits(2, at(4), |victim| victim != key("c")));
        assert!(!residency.admits(2, at(4), |victim| victim != key("b")));
        let cost = |slots| {
            let load = Seconds::new(2.0);
            residency.displacement(key("large"), slots, at(4), |_| load).get()
        };
        assert!((cost(3) - 3.0 * cost(1)).abs() < 0.2, "{} {}", cost(3), cost(1));
        residency.begin(key("large"), "large", 2, at(4));
        assert!(residency.names().eq(["c", "d", "large"]));
        residency.begin(key("huge"), "huge", 99, at(5));
        assert!(residency.names().eq(["large", "huge"]), "it takes all four slots");
        let load = Seconds::new(2.0);
        let delay = residency.delay(key("a"), 1, at(5), load, Seconds::new(6.0));
        assert!((delay.get() - 3.5).abs() < 1e-9, "all slots are in use");
    }

    #[test]
    fn reports_name_adapters_that_others_use() {
        let mut residency = Residency::new(8);
        residency.report(&AdapterState::active(&["x", "y"]).slots(2), at(0), key, |_| 1);
        assert!(residency.names().eq(["x", "y"]));
        assert!(cost(&residency, "z", 1) > 4.0, "both are in use");
        assert!(cost(&residency, "z", 60) < 2.1, "the report is old");
        let many: Vec<_> = (0..5_000).map(|i| alloc::format!("adapter-{i}")).collect();
        let many: Vec<_> = many.iter().map(|name| &**name).collect();
        residency.report(&AdapterState::active(&many), at(61), key, |_| 1);
        assert!(residency.names().count() <= MAX_SLOTS + 2);
    }
}
