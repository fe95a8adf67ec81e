//! What plugins read of each endpoint, kept up to date without allocation.
//!
//! Names, labels and adapters are copied when they change. Numbers are written for each decision.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::producers::Producers;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::placement::assess::assess;
use crate::placement::latency::PredictedLatency;
use crate::placement::query::Query;
use crate::plugins::{EndpointFacts, Prediction, Topology};
use crate::pool::Slot;
use crate::prefix::EndpointSet;
use crate::time::Seconds;

/// The facts about the endpoint in each slot of the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct EndpointFactsTable {
    facts: Vec<EndpointFacts>,
    /// In parallel with `facts`: which state of the slot they describe.
    versions: Vec<Version>,
    /// The slots with a cold position.
    with_position: Vec<u32>,
}

/// What the copied facts of a slot depend on.
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
            self.versions.resize(slots, Version::default());
        }
        let only_chain = query.lookup.only_chain(fleet);
        let has_slo = query.request.slo_ttft.is_some() || query.request.slo_tpot.is_some();
        let bound = query.cycle.session.and_then(|it| producers.sessions.endpoint(query.now, it));
        for place in kept {
            let Some(slot) = fleet.pool.at(*place as u32) else { continue };
            let (facts, version) = (&mut self.facts[*place], &mut self.versions[*place]);
            let current = Version {
                id: Some(slot.id),
                revision: slot.revision,
                adapters: slot.adapters.changes(),
            };
            if *version != current {
                describe(facts, slot);
                *version = current;
            }
            write_numbers(facts, query, slot);
            match only_chain {
                Some(blocks) => write_no_match(facts, query, blocks),
                None => write_match(facts, query, slot),
            }
            facts.session_bound = bound == Some(slot.id);
            facts.prediction = has_slo.then(|| predict(fleet, query, slot));
        }
        if only_chain.is_some() {
            self.write_levels(query);
        }
        self.write_positions(fleet, producers);
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

    /// Whether none of the endpoints in the slots `kept` has a block of the prompt cached.
    pub(super) fn is_cold(&self, kept: &[usize]) -> bool {
        kept.iter().all(|place| self.facts[*place].match_blocks == 0)
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

/// Copies what changes with an endpoint's description or its adapters.
fn describe(facts: &mut EndpointFacts, slot: &Slot) {
    let endpoint = &slot.endpoint;
    facts.name.clone_from(&endpoint.name);
    facts.address = address(&endpoint.name);
    facts.labels.clone_from(&endpoint.labels);
    let label = |key: &str| endpoint.labels.get(key).cloned().unwrap_or_default();
    facts.topology = Topology {
        host: label("kubernetes.io/hostname"),
        rack: label("topology.kubernetes.io/rack"),
        zone: label("topology.kubernetes.io/zone"),
        region: label("topology.kubernetes.io/region"),
    };
    facts.max_adapters = slot.adapters.slots() as u64;
    facts.active_adapters.clear();
    facts.active_adapters.extend(slot.adapters.loaded().map(String::from));
}

/// The predicted latency in milliseconds, and its distance from the service levels. A missing one
/// of the two is zero.
fn predict(fleet: &Fleet, query: Query<'_>, slot: &Slot) -> Prediction {
    let (now, lookup, request) = (query.now, query.lookup, query.request);
    let assessment = assess(fleet, query, slot, lookup.cached(slot), &fleet.profile());
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

/// Writes what changes with every decision.
#[inline]
fn write_numbers(facts: &mut EndpointFacts, query: Query<'_>, slot: &Slot) {
    if let Some(view) = &slot.engine_view {
        facts.waiting = view.waiting();
        facts.running = view.running();
        facts.kv_usage = view.kv_usage(slot.kv_cache_tokens);
        facts.in_flight_tokens = view.in_flight_tokens();
        facts.metrics_age =
            view.sampled_at().map(|at| Seconds::from(query.now.saturating_since(at)));
    }
    facts.in_flight_requests = u64::from(slot.in_flight.requests());
    facts.block_tokens = u64::from(slot.layout.block_size.get());
}

/// Writes that nothing of a prompt of so many blocks is cached.
#[inline]
fn write_no_match(facts: &mut EndpointFacts, query: Query<'_>, blocks: usize) {
    facts.match_blocks = 0;
    facts.total_blocks = blocks as u64;
    facts.uncached_tokens = u64::from(query.lookup.tokens);
}

/// Writes how much of the prompt the endpoint has cached.
fn write_match(facts: &mut EndpointFacts, query: Query<'_>, slot: &Slot) {
    let (matched, total, cached) = query.lookup.matched(slot);
    facts.match_blocks = u64::from(matched);
    facts.total_blocks = total as u64;
    facts.uncached_tokens = u64::from(query.lookup.tokens.saturating_sub(cached.tokens));
}
