//! The endpoints of a pool, and this gateway's load on each.

mod best_case;
mod block_layout;
mod bounds;
mod engine_view;
mod error;
mod evictions;
mod external_load;
mod forecast;
mod health;
mod in_flight;
mod load_classes;
mod multiset;
mod outcome;
mod peer_load;
mod peers;
mod pool_reports;
mod profile_marks;
mod renewal;
mod reservation;
mod slot;
mod timers;
mod unreported;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use smallvec::SmallVec;

use crate::endpoint::{Endpoint, EndpointId};
use crate::load::Load;
use crate::time::Instant;

pub(crate) use best_case::BestCase;
pub(crate) use block_layout::BlockLayout;
pub(crate) use bounds::{Bounds, CHUNK, Members, ones};
pub use error::{EndpointError, UnknownEndpoint};
pub(crate) use evictions::Shortfall;
pub(crate) use external_load::ExternalLoad;
use forecast::Forecast;
pub(crate) use forecast::LearnedMeans;
pub use health::{BackoffCause, HealthState};
pub(crate) use health::{BackoffPeriods, Outcome, OutcomeContext};
pub(crate) use in_flight::{AnswerWeight, InFlightLoad};
pub(crate) use load_classes::{FULL_CACHE, LoadClass, WORD};
pub use peer_load::PeerLoad;
pub(crate) use pool_reports::PoolReports;
pub(crate) use profile_marks::ProfileMarks;
pub(crate) use reservation::{Claim, Reservation};
pub(crate) use slot::Slot;

use multiset::Multiset;
use timers::Timers;

/// The endpoints of one scheduler, in slots that are used again.
#[derive(Debug)]
pub(crate) struct Pool {
    slots: Vec<Option<Slot>>,
    /// In parallel with `slots`.
    bounds: Bounds,
    /// Slots whose best cases have not followed a change yet. Few, so that one search computes few
    /// of them.
    stale: SmallVec<[u32; MOST_STALE]>,
    /// In parallel with `slots`.
    ties: Vec<Tie>,
    /// What a scheduling profile reads of all slots; `None` until a profile is set.
    marks: Option<ProfileMarks>,
    /// The generation of the next endpoint in each slot.
    generations: Vec<u32>,
    free: Vec<u32>,
    names: BTreeMap<String, EndpointId>,
    /// The number of endpoints with each block layout.
    layouts: Multiset<BlockLayout>,
    /// The number of endpoints that list each model.
    models: Multiset<String>,
    reports: PoolReports,
    /// External load that the best cases count.
    forecast: Forecast,
    /// Outcomes of all endpoints in rotation.
    outcomes: health::Window,
    suspects: health::SuspectFlows,
    /// Number of requests dispatched so far.
    dispatches: u64,
    /// Times at which endpoints closed by a timeout must be checked again.
    opens: Timers,
    /// Times at which prefill ends by the clock, since nothing reports its end.
    unreported: Timers,
    /// At least one endpoint has produced a first token, so endpoints that join have warm peers.
    at_work: bool,
    /// Number of endpoints that get no new requests.
    draining: usize,
    /// Number of endpoints that joined, left or were renamed so far.
    membership: u64,
    /// Endpoints whose load has changed; `None` while it is not shared with other gateways.
    shared: Option<BTreeSet<u32>>,
    limit: usize,
}

/// The first token and the end of a request are one update of its endpoint, and most searches
/// follow upon a few.
const MOST_STALE: usize = 8;

/// What distinguishes the endpoint in a slot from endpoints of equal cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie {
    /// The hash of its name.
    pub(crate) key: u64,
    pub(crate) layout: BlockLayout,
}

impl Pool {
    /// Creates a pool of at most `limit` endpoints.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            bounds: Bounds::default(),
            stale: SmallVec::new(),
            ties: Vec::new(),
            marks: None,
            generations: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            layouts: Multiset::new(),
            models: Multiset::new(),
            reports: PoolReports::default(),
            forecast: Forecast::new(),
            outcomes: health::Window::default(),
            suspects: health::SuspectFlows::default(),
            dispatches: 0,
            opens: Timers::default(),
            unreported: Timers::default(),
            at_work: false,
            draining: 0,
            membership: 0,
            shared: None,
            limit,
        }
    }

    /// Adds an endpoint; `slot` creates its state from its id.
    pub(crate) fn add(
        &mut self,
        name: &str,
        slot: impl FnOnce(EndpointId) -> Slot,
    ) -> Result<EndpointId, EndpointError> {
        if let Some(id) = self.names.get(name) {
            return Err(EndpointError::DuplicateName(*id));
        }
        if self.names.len() >= self.limit {
            return Err(EndpointError::PoolFull { limit: self.limit });
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.bounds.push();
            let layout =
                BlockLayout { block_size: NonZeroU32::MIN, any_model: false, lookahead: 0 };
            self.ties.push(Tie { key: 0, layout });
            self.generations.push(0);
            (self.slots.len() - 1) as u32
        });
        let id = EndpointId { slot: at, generation: self.generations[at as usize] };
        self.names.insert(name.into(), id);
        self.membership += 1;
        let mut slot = slot(id);
        if self.at_work {
            slot.health.ramp();
        }
        self.layouts.add(slot.layout);
        slot.endpoint.models.iter().for_each(|model| self.models.add(model.clone()));
        self.slots[at as usize] = Some(slot);
        if let Some(marks) = &mut self.marks {
            marks.ensure(at);
            marks.change(at);
        }
        self.refresh_bounds(id);
        Ok(id)
    }

    /// Removes an endpoint. Its reservations stay valid and release nothing.
    pub(crate) fn remove(&mut self, id: EndpointId) -> Result<Slot, UnknownEndpoint> {
        self.get(id)?;
        let at = id.slot as usize;
        let slot = self.slots[at].take().ok_or(UnknownEndpoint(id))?;
        self.bounds.set(id.slot, BestCase::CLOSED);
        self.unreported.replace(id.slot, slot.prefill_ends, None);
        if let Some(marks) = &mut self.marks {
            marks.set_open_capacity(id.slot, 0);
        }
        self.generations[at] = (self.generations[at] + 1) % EndpointId::GENERATIONS;
        self.free.push(id.slot);
        self.names.remove(&slot.endpoint.name);
        self.membership += 1;
        self.layouts.remove(&slot.layout);
        slot.endpoint.models.iter().for_each(|model| self.models.remove(model));
        self.suspects.leave(id.slot);
        self.reports.replace(slot.reports.sample(), pool_reports::Sample::default());
        self.draining -= usize::from(slot.draining);
        self.at_work &= !self.names.is_empty();
        Ok(slot)
    }

    /// Replaces an endpoint's description; `change` updates the rest of its state.
    pub(crate) fn update(
        &mut self,
        id: EndpointId,
        endpoint: Endpoint,
        change: impl FnOnce(&mut Slot),
    ) -> Result<(), EndpointError> {
        self.get(id)?;
        match self.names.get(&endpoint.name) {
            Some(holder) if *holder != id => return Err(EndpointError::DuplicateName(*holder)),
            Some(_) => {}
            None => {
                self.names.retain(|_, holder| *holder != id);
                self.names.insert(endpoint.name.clone(), id);
                self.membership += 1;
            }
        }
        endpoint.models.iter().for_each(|model| self.models.add(model.clone()));
        let slot = self.get_mut(id)?;
        let mut layout = slot.layout;
        if endpoint.block_size != slot.endpoint.block_size {
            (layout.block_size, layout.lookahead) = (endpoint.block_size, 0);
        }
        layout.any_model &= endpoint.models.len() != 1;
        let before = core::mem::replace(&mut slot.endpoint, endpoint);
        slot.revision = slot.revision.wrapping_add(1);
        change(slot);
        before.models.iter().for_each(|model| self.models.remove(model));
        self.set_layout(id, layout)?;
        Ok(())
    }

    /// Sets the block layout for which prompts of the endpoint's requests are hashed.
    pub(crate) fn set_layout(
        &mut self,
        id: EndpointId,
        layout: BlockLayout,
    ) -> Result<(), UnknownEndpoint> {
        let before = core::mem::replace(&mut self.get_mut(id)?.layout, layout);
        self.layouts.remove(&before);
        self.layouts.add(layout);
        self.refresh_bounds(id);
        Ok(())
    }

    /// Sets whether the endpoint gets no new requests.
    pub(crate) fn drain(&mut self, id: EndpointId, draining: bool) -> Result<(), UnknownEndpoint> {
        let at_work = self.at_work;
        let slot = self.get_mut(id)?;
        let before = core::mem::replace(&mut slot.draining, draining);
        if before && !draining && at_work {
            slot.health.ramp();
        }
        self.draining = self.draining - usize::from(before) + usize::from(draining);
        self.refresh_bounds(id);
        Ok(())
    }

    /// Number of endpoints that joined, left or were renamed so far.
    pub(crate) const fn membership(&self) -> u64 {
        self.membership
    }

    /// Number of endpoints that get new requests.
    pub(crate) fn accepting(&self) -> usize {
        self.names.len() - self.draining
    }

    pub(crate) fn get(&self, id: EndpointId) -> Result<&Slot, UnknownEndpoint> {
        self.at(id.slot).filter(|slot| slot.id == id).ok_or(UnknownEndpoint(id))
    }

    pub(crate) fn get_mut(&mut self, id: EndpointId) -> Result<&mut Slot, UnknownEndpoint> {
        self.at_mut(id.slot).filter(|slot| slot.id == id).ok_or(UnknownEndpoint(id))
    }

    /// The endpoint in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The endpoint in a slot, which counts as changed.
    fn at_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        if let Some(marks) = &mut self.marks {
            marks.change(slot);
        }
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Keeps what a scheduling profile reads of all slots, from now on. Every slot counts as
    /// changed. Computes in **O(endpoints)**.
    pub(crate) fn keep_marks(&mut self) {
        let marks = self.marks.get_or_insert_default();
        for (at, slot) in (0..).zip(&self.slots) {
            marks.ensure(at);
            marks.change(at);
            marks.set_open_capacity(at, slot.as_ref().map_or(0, Slot::open_capacity));
        }
    }

    /// What a scheduling profile reads of all slots; `None` until [`keep_marks`](Self::keep_marks).
    pub(crate) const fn marks(&self) -> Option<&ProfileMarks> {
        self.marks.as_ref()
    }

    pub(crate) fn named(&self, name: &str) -> Option<EndpointId> {
        self.names.get(name).copied()
    }

    /// All endpoints, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// The best cases of all endpoints, for the search's lower bounds.
    pub(crate) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What distinguishes the endpoint in a slot from its equals; the slot must be occupied.
    pub(crate) fn tie(&self, slot: u32) -> Tie {
        self.ties[slot as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The block layouts of the endpoints, each once.
    pub(crate) fn layouts(&self) -> impl Iterator<Item = BlockLayout> + '_ {
        self.layouts.keys().copied()
    }

    /// Whether an endpoint lists this model.
    pub(crate) fn names_model(&self, model: &str) -> bool {
        self.models.contains(model)
    }

    /// Sums of the endpoints' last reports.
    pub(crate) const fn reports(&self) -> &PoolReports {
        &self.reports
    }

    /// Records an endpoint's load report.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        id: EndpointId,
        load: &Load,
        expected_output_tokens: f64,
    ) -> Result<(), UnknownEndpoint> {
        let slot = self.get_mut(id)?;
        let before = slot.reports.sample();
        slot.reports.report(
            now,
            load,
            slot.kv_cache_tokens,
            &slot.in_flight,
            expected_output_tokens,
        );
        let after = slot.reports.sample();
        if let Some(view) = &mut slot.engine_view {
            view.report(now, load);
        }
        self.reports.replace(before, after);
        // The best case depends on the external load, and on whether the engine sleeps.
        self.refresh_bounds(id);
        Ok(())
    }

    /// Number of adapters that fit on all endpoints which get new requests.
    pub(crate) fn adapter_slots(&self) -> usize {
        self.iter().filter(|slot| !slot.draining).map(|slot| slot.adapters.slots()).sum()
    }

    /// Makes `count` of the endpoints which get new requests the window for unpopular adapters.
    /// Their names decide, so that all gateways choose the same. Computes in **O(endpoints · log
    /// endpoints)**.
    pub(crate) fn set_adapter_window(&mut self, count: usize) {
        let accepting = self.iter().filter(|slot| !slot.draining);
        let mut keys: Vec<(u64, u32)> = accepting.map(|slot| (slot.key, slot.id.slot)).collect();
        keys.sort_unstable();
        let last = keys.iter().take(count).next_back().copied();
        for slot in self.slots.iter_mut().flatten() {
            slot.is_window = last.is_some_and(|last| (slot.key, slot.id.slot) <= last);
        }
    }

    /// Changes what endpoints have by default.
    pub(crate) fn update_all(&mut self, mut change: impl FnMut(&mut Slot)) {
        for number in 0..self.slots.len() as u32 {
            let Some(slot) = self.at_mut(number) else { continue };
            change(slot);
            let id = slot.id;
            self.refresh_bounds(id);
        }
    }

    /// Follows a change of an endpoint's load or description.
    fn refresh_bounds(&mut self, id: EndpointId) {
        if let Some(shared) = &mut self.shared {
            shared.insert(id.slot);
        }
        self.rebound(id);
    }

    /// Has an endpoint's best case computed anew before the next search.
    fn rebound(&mut self, id: EndpointId) {
        let Ok(slot) = self.get(id) else { return };
        let reschedules = slot.in_flight.unreported_end() != slot.prefill_ends;
        let capacity = self.marks.is_some().then(|| slot.open_capacity());
        if let Some((marks, capacity)) = self.marks.as_mut().zip(capacity) {
            marks.set_open_capacity(id.slot, capacity);
        }
        if reschedules {
            self.reschedule_prefill(id);
        }
        if !self.stale.contains(&id.slot) {
            if self.stale.len() == MOST_STALE {
                self.renew_stale();
            }
            self.stale.push(id.slot);
        }
    }
}
