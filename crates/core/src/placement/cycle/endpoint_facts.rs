//! What plugins read of each endpoint, kept up to date without allocation.
//!
//! Most facts change only with the endpoint, and few endpoints change between two decisions. Those
//! facts are written again only for the endpoints that the pool marks as changed. The facts that
//! depend on the request or on the clock are written for each decision.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::producers::Producers;
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::Fleet;
use crate::placement::assess::assess;
use crate::placement::latency::PredictedLatency;
use crate::placement::query::Query;
use crate::plugins::{EndpointFacts, Prediction, TierBlocks, Topology};
use crate::pool::{ProfileMarks, Slot};
use crate::prefix::{EndpointSet, Tier};
use crate::time::{Instant, Seconds};

/// The facts about the endpoint in each slot of the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct EndpointFactsTable {
    facts: Vec<EndpointFacts>,
    /// In parallel with `facts`: the slot's [`changes`](ProfileMarks::changes) that they show.
    changes: Vec<u64>,
    /// In parallel with `facts`.
    sources: Vec<Source>,
    /// The slot of the endpoint to which the last request's session is bound.
    bound: Option<u32>,
    /// The last requests had predictions.
    has_predictions: bool,
    /// The slots whose last matches are listed by tier.
    with_tiers: Vec<u32>,
    /// The slots with a cold position.
    with_position: Vec<u32>,
}

/// What the facts about the endpoint in a slot were written from.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    description: Version,
    /// When its last report was sampled.
    sampled_at: Option<Instant>,
}

/// What an endpoint's name, labels and adapters depend on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Version {
    id: Option<EndpointId>,
    revision: u32,
    adapters: u64,
}

impl EndpointFactsTable {
    /// The facts by slot.
    pub(super) fn facts(&self) -> &[EndpointFacts] {
        &self.facts
    }

    /// Updates the facts about the endpoints in the slots `kept` for this request. Computes in
    /// **O(endpoints)**.
    pub(super) fn refresh(
        &mut self,
        fleet: &Fleet,
        query: Query<'_>,
        kept: &[usize],
        producers: &Producers,
    ) {
        let slots = fleet.pool.bounds().len() as usize;
        if self.facts.len() < slots {
            self.facts.resize_with(slots, EndpointFacts::default);
            self.changes.resize(slots, 0);
            self.sources.resize(slots, Source::default());
        }
        let changes = fleet.pool.marks().map_or(&[][..], ProfileMarks::changes);
        for place in kept {
            let current = changes.get(*place).copied().unwrap_or_default();
            if self.changes[*place] != current {
                self.changes[*place] = current;
                self.update(fleet, *place);
            }
        }
        self.write_ages(query.now, kept);
        self.write_matches(fleet, query, kept);
        self.write_tiers(fleet, query, kept);
        self.write_predictions(fleet, query, kept);
        self.write_session(fleet, query, producers);
        self.write_positions(fleet, producers);
    }

    /// Writes the facts that change with the endpoint in a slot only.
    #[inline(never)]
    fn update(&mut self, fleet: &Fleet, place: usize) {
        let Some(slot) = fleet.pool.at(place as u32) else { return };
        let (facts, source) = (&mut self.facts[place], &mut self.sources[place]);
        let current = Version {
            id: Some(slot.id),
            revision: slot.revision,
            adapters: slot.adapters.changes(),
        };
        if source.description != current {
            describe(facts, slot);
            source.description = current;
        }
        if let Some(view) = &slot.engine_view {
            facts.waiting = view.waiting();
            facts.running = view.running();
            facts.kv_usage = view.kv_usage(slot.kv_cache_tokens);
            facts.in_flight_tokens = view.in_flight_tokens();
            source.sampled_at = view.sampled_at();
        }
        facts.in_flight_requests = u64::from(slot.in_flight.requests());
        facts.block_tokens = u64::from(slot.layout.block_size.get());
    }

    fn write_ages(&mut self, now: Instant, kept: &[usize]) {
        for place in kept {
            let age = |at| Seconds::from(now.saturating_since(at));
            self.facts[*place].metrics_age = self.sources[*place].sampled_at.map(age);
        }
    }

    /// Writes how much of the prompt each endpoint has cached.
    fn write_matches(&mut self, fleet: &Fleet, query: Query<'_>, kept: &[usize]) {
        let tokens = query.lookup.tokens;
        let Some(blocks) = query.lookup.only_chain(fleet) else {
            for place in kept {
                let Some(slot) = fleet.pool.at(*place as u32) else { continue };
                let (matched, total, cached) = query.lookup.matched(slot);
                let facts = &mut self.facts[*place];
                facts.match_blocks = u64::from(matched);
                facts.total_blocks = total as u64;
                facts.uncached_tokens = u64::from(tokens.saturating_sub(cached.tokens));
            }
            return;
        };
        for place in kept {
            let facts = &mut self.facts[*place];
            facts.match_blocks = 0;
            facts.total_blocks = blocks as u64;
            facts.uncached_tokens = u64::from(tokens);
        }
        self.write_levels(query);
    }

    /// Writes the matches of the endpoints that have blocks of the prompt cached: usually few.
    fn write_levels(&mut self, query: Query<'_>) {
        for (_, level) in query.lookup.levels() {
            let uncached = query.lookup.tokens.saturating_sub(level.cached.tokens);
            for slot in level.holders().into_iter().flat_map(EndpointSet::iter) {
                // The deepest level comes first, and an endpoint's level is the first with it.
                let facts = self.facts.get_mut(slot as usize);
                if let Some(facts) = facts.filter(|facts| facts.match_blocks == 0) {
                    facts.match_blocks = u64::from(level.depth());
                    facts.uncached_tokens = u64::from(uncached);
                }
            }
        }
    }

    /// Writes in which tiers the matched blocks are, as far as engines publish it. Entries without
    /// blocks stay, so that the next request finds their names.
    fn write_tiers(&mut self, fleet: &Fleet, query: Query<'_>, kept: &[usize]) {
        for slot in self.with_tiers.drain(..) {
            self.facts[slot as usize].match_tiers.iter_mut().for_each(|tier| tier.blocks = 0);
        }
        for place in kept {
            let facts = &mut self.facts[*place];
            let depth = facts.match_blocks as u32;
            let slot = fleet.pool.at(*place as u32).filter(|_| depth > 0);
            let Some(slot) = slot else { continue };
            match query.lookup.tiers(slot, depth, &fleet.prefixes) {
                Some(tiers) => {
                    list_tiers(&mut facts.match_tiers, tiers);
                    self.with_tiers.push(*place as u32);
                }
                None => facts.match_tiers.clear(),
            }
        }
    }

    /// Whether none of the endpoints in the slots `kept` has a block of the prompt cached.
    pub(super) fn is_cold(&self, kept: &[usize]) -> bool {
        kept.iter().all(|place| self.facts[*place].match_blocks == 0)
    }

    /// Writes the predicted latency of a request with a service level.
    fn write_predictions(&mut self, fleet: &Fleet, query: Query<'_>, kept: &[usize]) {
        let has_slo = query.request.slo_ttft.is_some() || query.request.slo_tpot.is_some();
        if has_slo {
            for place in kept {
                let slot = fleet.pool.at(*place as u32);
                self.facts[*place].prediction = slot.map(|slot| predict(fleet, query, slot));
            }
        } else if self.has_predictions {
            self.facts.iter_mut().for_each(|facts| facts.prediction = None);
        }
        self.has_predictions = has_slo;
    }

    fn write_session(&mut self, fleet: &Fleet, query: Query<'_>, producers: &Producers) {
        if let Some(slot) = self.bound.take() {
            self.facts[slot as usize].session_bound = false;
        }
        let bound = query.cycle.session.and_then(|it| producers.sessions.endpoint(query.now, it));
        if let Some(id) = bound.filter(|id| fleet.pool.get(*id).is_ok()) {
            self.facts[id.slot as usize].session_bound = true;
            self.bound = Some(id.slot);
        }
    }

    fn write_positions(&mut self, fleet: &Fleet, producers: &Producers) {
        for slot in self.with_position.drain(..) {
            self.facts[slot as usize].cold_position = None;
        }
        let endpoints = producers.cold.iter().filter(|id| fleet.pool.get(*id).is_ok());
        for (position, id) in (0..).zip(endpoints) {
            self.facts[id.slot as usize].cold_position = Some(position);
            self.with_position.push(id.slot);
        }
    }
}

/// The names of the tiers for plugins, in the order of [`Tier::ALL`].
const TIER_NAMES: [&str; Tier::ALL.len()] = ["gpu", "cpu", "disk"];

/// Writes the number of blocks in each tier, nearest first.
fn list_tiers(list: &mut Vec<TierBlocks>, tiers: [u32; Tier::ALL.len()]) {
    if list.is_empty() {
        list.extend(TIER_NAMES.map(|tier| TierBlocks { tier: tier.into(), blocks: 0 }));
    }
    for (entry, blocks) in list.iter_mut().zip(tiers) {
        entry.blocks = u64::from(blocks);
    }
}

/// Copies what changes with an endpoint's description or its adapters.
fn describe(facts: &mut EndpointFacts, slot: &Slot) {
    let endpoint = &slot.endpoint;
    facts.name.clone_from(&endpoint.name);
    facts.address = address(&endpoint.name);
    facts.labels.clone_from(&endpoint.labels);
    facts.topology = topology(endpoint);
    facts.max_adapters = slot.adapters.slots() as u64;
    facts.active_adapters.clear();
    facts.active_adapters.extend(slot.adapters.loaded().map(String::from));
}

/// Where the endpoint runs, according to its labels.
pub(super) fn topology(endpoint: &Endpoint) -> Topology {
    let label = |key: &str| endpoint.labels.get(key).cloned().unwrap_or_default();
    Topology {
        host: label("kubernetes.io/hostname"),
        rack: label("topology.kubernetes.io/rack"),
        zone: label("topology.kubernetes.io/zone"),
        region: label("topology.kubernetes.io/region"),
    }
}

/// The predicted latency in milliseconds, and its distance from the service levels. A missing one
/// of the two is zero.
fn predict(fleet: &Fleet, query: Query<'_>, slot: &Slot) -> Prediction {
    let (now, lookup, request) = (query.now, query.lookup, query.request);
    let assessment =
        assess(fleet, query, slot, lookup.cached(slot), &fleet.profile(query.lookup.model));
    let latency = PredictedLatency::of(fleet, now, query.work, lookup.tokens, slot, &assessment);
    let milliseconds = |seconds: Seconds| seconds.get() * 1e3;
    let level = |slo: Option<Duration>| milliseconds(Seconds::from(slo.unwrap_or_default()));
    let (ttft, tpot) = (milliseconds(latency.ttft), milliseconds(latency.tpot));
    Prediction {
        ttft,
        tpot,
        ttft_headroom: level(request.slo_ttft) - ttft,
        tpot_headroom: level(request.slo_tpot) - tpot,
        dispatched_requests: u64::from(slot.in_flight.requests()),
    }
}

/// Host and port of a name; empty if the name is no address.
fn address(name: &str) -> String {
    use alloc::string::ToString;
    crate::address::Address::of(name).map(|address| address.to_string()).unwrap_or_default()
}
