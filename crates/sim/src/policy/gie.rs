//! The Endpoint Picker of the Gateway API Inference Extension, now `llm-d-router`: its default
//! scorers, and the newer "sticky until saturated". Both are profiles of the core's plugins; tests
//! compare their decisions with formulas that are written out.
//!
//! Its approximate prefix index is reproduced with its known properties:
//!
//! - Blocks of 64 tokens enter in prompt order, so the head of a prompt is evicted first.
//! - Capacity counts engine blocks of 16 tokens, so the index assumes four times the real cache.
//! - A match continues over a block that an endpoint lacks as long as another endpoint has it.
//! - At most 131,072 tokens are matched.
//!
//! The policies called `-exact` have the same scores over an index with the caches' true size and
//! order.

use std::cell::RefCell;

use ::slotwise::plugins::{
    EndpointFacts, KvCacheUtilizationScorer, LoraAffinityScorer, Picker, PrefixCacheAffinityFilter,
    PrefixCacheScorer, QueueScorer, RequestFacts, SchedulingProfile, ScoredEndpoint,
    TokenLoadScorer,
};
use ::slotwise::{CacheEvictionOrder, Instant, Rng};

use super::load::OwnLoad;
use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Needs, Policy, Report};
use crate::trace::adapter_name;

/// `queue-scorer` 2, `kv-cache-utilization-scorer` 2, `prefix-cache-scorer` 3, `max-score-picker`.
pub(super) struct Weighted {
    prefixes: Prefixes,
    profile: SchedulingProfile,
    endpoints: Vec<EndpointFacts>,
}

impl Weighted {
    pub(super) fn new(fleet: &Fleet, index: Index) -> Self {
        let profile = SchedulingProfile::new(Highest::new(fleet))
            .scorer(QueueScorer::default(), 2.0)
            .scorer(KvCacheUtilizationScorer::default(), 2.0)
            .scorer(PrefixCacheScorer::default(), 3.0);
        Self {
            prefixes: Prefixes::new(fleet, index),
            profile,
            endpoints: vec![EndpointFacts::default(); fleet.replicas],
        }
    }

    /// With `lora-affinity-scorer` at this weight.
    pub(super) fn adapter_weight(self, weight: f64) -> Self {
        let profile = self.profile.scorer(LoraAffinityScorer::default(), weight);
        Self { profile, ..self }
    }
}

impl Policy for Weighted {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.prefixes.matches(request, &mut self.endpoints);
        let facts =
            RequestFacts { adapter: request.adapter.map(str::to_owned), ..RequestFacts::default() };
        let replica = *self.profile.select(&facts, &self.endpoints, 0).picked.first()?;
        self.prefixes.view.assume(now, replica, request);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, _: u32) {}

    fn complete(&mut self, now: Instant, id: u32, _: Finished) {
        self.prefixes.view.complete(now, id);
    }

    fn report(&mut self, _: Instant, replica: usize, report: &Report) {
        let names = |adapters: &[u32]| adapters.iter().copied().map(adapter_name).collect();
        let metrics = &report.snapshot;
        self.endpoints[replica] = EndpointFacts {
            waiting: metrics.waiting.into(),
            kv_usage: metrics.kv_usage,
            active_adapters: names(&metrics.adapters),
            waiting_adapters: names(&metrics.waiting_adapters),
            max_adapters: metrics.adapter_slots as u64,
            ..EndpointFacts::default()
        };
    }

    fn needs(&self) -> Needs {
        Needs { metrics: true, ..Needs::default() }
    }
}

/// `prefix-cache-affinity-filter` at 0.80, then `token-load-scorer`.
pub(super) struct Sticky {
    prefixes: Prefixes,
    load: OwnLoad,
    profile: SchedulingProfile,
    endpoints: Vec<EndpointFacts>,
}

impl Sticky {
    pub(super) fn new(fleet: &Fleet, index: Index) -> Self {
        let profile = SchedulingProfile::new(Highest::new(fleet))
            .filter(PrefixCacheAffinityFilter::default())
            .scorer(TokenLoadScorer::default(), 1.0);
        Self {
            prefixes: Prefixes::new(fleet, index),
            load: OwnLoad::new(fleet.replicas),
            profile,
            endpoints: vec![EndpointFacts::default(); fleet.replicas],
        }
    }
}

impl Policy for Sticky {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.prefixes.matches(request, &mut self.endpoints);
        for (replica, endpoint) in self.endpoints.iter_mut().enumerate() {
            endpoint.in_flight_tokens = self.load.of(replica).pending_tokens;
            endpoint.uncached_tokens = uncached_tokens(request, endpoint.match_ratio());
        }
        let request_facts = RequestFacts::default();
        let selection = self.profile.select(&request_facts, &self.endpoints, 0);
        let replica = *selection.picked.first()?;
        self.prefixes.view.assume(now, replica, request);
        self.load.begin(request.id, replica, self.endpoints[replica].uncached_tokens as u32);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, id: u32) {
        self.load.first_token(id);
    }

    fn complete(&mut self, now: Instant, id: u32, _: Finished) {
        self.load.complete(id);
        self.prefixes.view.complete(now, id);
    }
}

/// The prompt's tokens that an endpoint with this match has to compute, in whole tokens.
fn uncached_tokens(request: &Incoming<'_>, match_ratio: f64) -> u64 {
    (f64::from(request.input) * (1.0 - match_ratio)) as u64
}

/// `max-score-picker`, whose ties draw from the policy's one source of chance, so a run repeats.
#[derive(Debug)]
struct Highest {
    rng: RefCell<Rng>,
}

impl Highest {
    fn new(fleet: &Fleet) -> Self {
        Self { rng: RefCell::new(Rng::new(fleet.seed)) }
    }
}

impl Picker for Highest {
    fn pick(&self, candidates: &mut [ScoredEndpoint], _: &mut Rng) -> usize {
        let rng = &mut self.rng.borrow_mut();
        let best = min_by(candidates.len(), rng, |at| -candidates[at].score());
        best.inspect(|best| candidates.swap(0, *best)).map_or(0, |_| 1)
    }
}

/// The prefix index's model of the replicas' caches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Index {
    /// The model of the reference's own index.
    Reference,
    /// The true size and order of eviction.
    Exact,
}

/// The approximate prefix index.
pub(super) struct Prefixes {
    pub(super) view: CacheView,
    pub(super) block_tokens: u32,
}

const MAX_MATCH_TOKENS: u32 = 131_072;
/// Tokens in a block of the reference's index.
const INDEX_BLOCK: u32 = 64;
/// Tokens in an engine's block, by which the reference counts capacity.
const ENGINE_BLOCK: u32 = 16;

impl Prefixes {
    pub(super) fn new(fleet: &Fleet, index: Index) -> Self {
        let believed = u64::from(fleet.class.kv_tokens / ENGINE_BLOCK * INDEX_BLOCK);
        let view = match index {
            Index::Reference => CacheView::new(fleet, believed, CacheEvictionOrder::HeadFirst),
            Index::Exact => CacheView::exact(fleet),
        };
        Self { view, block_tokens: fleet.block_tokens }
    }

    /// Writes the match of each replica, in blocks of one token: the workload's blocks have another
    /// size than the index's.
    fn matches(&self, request: &Incoming<'_>, endpoints: &mut [EndpointFacts]) {
        let most = request.blocks.len().min((MAX_MATCH_TOKENS / self.block_tokens) as usize);
        let matched = self.view.counts(&request.blocks[..most]);
        // A partial last block counts as a whole one.
        let total = request.input.div_ceil(INDEX_BLOCK) * INDEX_BLOCK;
        for (endpoint, blocks) in endpoints.iter_mut().zip(matched) {
            endpoint.match_blocks = (blocks * self.block_tokens).into();
            endpoint.total_blocks = total.into();
            endpoint.block_tokens = 1;
        }
    }
}
