//! The Endpoint Picker of the Gateway API Inference Extension, now `llm-d-router`: its default
//! scorers, and the newer "sticky until saturated".
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

use ::slotwise::{CacheEvictionOrder, Instant, Rng};

use super::load::OwnLoad;
use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Needs, Policy, Report};
use crate::replica::Snapshot;
use crate::trace::adapter_number;

const QUEUE_WEIGHT: f64 = 2.0;
const KV_WEIGHT: f64 = 2.0;
const PREFIX_WEIGHT: f64 = 3.0;
/// `lora-affinity-scorer`: the adapter is in the batch, could be loaded, or waits in the queue.
const ADAPTER_ACTIVE: f64 = 1.0;
const ADAPTER_ROOM: f64 = 0.8;
const ADAPTER_WAITING: f64 = 0.6;
const MAX_MATCH_TOKENS: u32 = 131_072;

/// `queue-scorer` 2, `kv-cache-utilization-scorer` 2, `prefix-cache-scorer` 3, `max-score-picker`.
pub(super) struct Weighted {
    prefixes: Prefixes,
    metrics: Vec<Snapshot>,
    adapter_weight: f64,
    rng: Rng,
}

impl Weighted {
    pub(super) fn new(fleet: &Fleet, index: Index) -> Self {
        Self {
            prefixes: Prefixes::new(fleet, index),
            metrics: vec![Snapshot::default(); fleet.replicas],
            adapter_weight: 0.0,
            rng: Rng::new(fleet.seed),
        }
    }

    /// With `lora-affinity-scorer` at this weight.
    pub(super) fn adapter_weight(self, weight: f64) -> Self {
        Self { adapter_weight: weight, ..self }
    }
}

/// The reference's score for the adapter. Room counts before waiting. A request without an adapter
/// looks for its model's name, which no endpoint lists.
fn adapter_score(metrics: &Snapshot, adapter: Option<u32>) -> f64 {
    let in_any = |adapters: &[u32]| adapter.is_some_and(|adapter| adapters.contains(&adapter));
    if in_any(&metrics.adapters) {
        ADAPTER_ACTIVE
    } else if metrics.adapters.len() + metrics.waiting_adapters.len() < metrics.adapter_slots {
        ADAPTER_ROOM
    } else if in_any(&metrics.waiting_adapters) {
        ADAPTER_WAITING
    } else {
        0.0
    }
}

impl Policy for Weighted {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let ratios = self.prefixes.ratios(request);
        let queues = || self.metrics.iter().map(|metrics| metrics.waiting);
        let (min, max) = (queues().min()?, queues().max()?);
        let adapter = request.adapter.and_then(adapter_number);
        let score = |replica: usize| {
            let metrics = &self.metrics[replica];
            let queue = if max == min {
                1.0
            } else {
                f64::from(max - metrics.waiting) / f64::from(max - min)
            };
            let kv = (1.0 - metrics.kv_usage).clamp(0.0, 1.0);
            let affinity = adapter_score(metrics, adapter);
            QUEUE_WEIGHT * queue
                + KV_WEIGHT * kv
                + PREFIX_WEIGHT * ratios[replica]
                + self.adapter_weight * affinity
        };
        let replica = min_by(self.metrics.len(), &mut self.rng, |replica| -score(replica))?;
        self.prefixes.view.assume(now, replica, request);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, _: u32) {}

    fn complete(&mut self, now: Instant, id: u32, _: Finished) {
        self.prefixes.view.complete(now, id);
    }

    fn report(&mut self, _: Instant, replica: usize, report: &Report) {
        self.metrics[replica] = report.snapshot.clone();
    }

    fn needs(&self) -> Needs {
        Needs { metrics: true, ..Needs::default() }
    }
}

const AFFINITY_THRESHOLD: f64 = 0.80;
const MAX_TTFT_PENALTY_S: f64 = 18.0;
const PEAK_PREFILL_THROUGHPUT: f64 = 15_928.0;
const TOKEN_LOAD_THRESHOLD: f64 = 4_194_304.0;

/// `prefix-cache-affinity-filter` at 0.80, then `token-load-scorer`.
pub(super) struct Sticky {
    prefixes: Prefixes,
    load: OwnLoad,
    replicas: usize,
    rng: Rng,
}

impl Sticky {
    pub(super) fn new(fleet: &Fleet, index: Index) -> Self {
        Self {
            prefixes: Prefixes::new(fleet, index),
            load: OwnLoad::new(fleet.replicas),
            replicas: fleet.replicas,
            rng: Rng::new(fleet.seed),
        }
    }

    /// The replicas with nearly the whole prompt, unless their load outweighs the match.
    fn affine(&self, ratios: &[f64]) -> Vec<usize> {
        let (sticky, others): (Vec<usize>, Vec<usize>) =
            (0..self.replicas).partition(|replica| ratios[*replica] >= AFFINITY_THRESHOLD);
        let ttft = |replica: &usize| {
            self.load.of(*replica).pending_tokens as f64 / PEAK_PREFILL_THROUGHPUT
        };
        let least = |replicas: &[usize]| replicas.iter().map(ttft).reduce(f64::min);
        match (least(&sticky), least(&others)) {
            (Some(here), Some(there)) if here - there > MAX_TTFT_PENALTY_S => {
                (0..self.replicas).collect()
            }
            (Some(_), _) => sticky,
            (None, _) => (0..self.replicas).collect(),
        }
    }
}

impl Policy for Sticky {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let ratios = self.prefixes.ratios(request);
        let uncached = |replica: usize| f64::from(request.input) * (1.0 - ratios[replica]);
        let candidates = self.affine(&ratios);
        let tokens = |at: usize| {
            let replica = candidates[at];
            let tokens = self.load.of(replica).pending_tokens as f64 + uncached(replica);
            tokens.min(TOKEN_LOAD_THRESHOLD) / TOKEN_LOAD_THRESHOLD
        };
        let replica = candidates[min_by(candidates.len(), &mut self.rng, tokens)?];
        self.prefixes.view.assume(now, replica, request);
        self.load.begin(request.id, replica, uncached(replica) as u32);
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

/// The prefix index's model of the replicas' caches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Index {
    /// The model of the reference's own index.
    Reference,
    /// The true size and order of eviction.
    Exact,
}

/// The approximate prefix index.
struct Prefixes {
    view: CacheView,
    block_tokens: u32,
}

/// Tokens in a block of the reference's index.
const INDEX_BLOCK: u32 = 64;
/// Tokens in an engine's block, by which the reference counts capacity.
const ENGINE_BLOCK: u32 = 16;

impl Prefixes {
    fn new(fleet: &Fleet, index: Index) -> Self {
        let believed = u64::from(fleet.class.kv_tokens / ENGINE_BLOCK * INDEX_BLOCK);
        let view = match index {
            Index::Reference => CacheView::new(fleet, believed, CacheEvictionOrder::HeadFirst),
            Index::Exact => CacheView::exact(fleet),
        };
        Self { view, block_tokens: fleet.block_tokens }
    }

    /// The share of the prompt's 64-token blocks that each replica is thought to have.
    fn ratios(&self, request: &Incoming<'_>) -> Vec<f64> {
        let most = request.blocks.len().min((MAX_MATCH_TOKENS / self.block_tokens) as usize);
        let matched = self.view.counts(&request.blocks[..most]);
        // A partial last block counts as a whole one.
        let total = f64::from(request.input.div_ceil(INDEX_BLOCK) * INDEX_BLOCK);
        matched.into_iter().map(|blocks| f64::from(blocks * self.block_tokens) / total).collect()
    }
}
