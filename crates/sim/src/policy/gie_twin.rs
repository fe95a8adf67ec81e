//! The decisions of the reference's profiles, written out, against those of the core's plugins.

use std::time::Duration;

use ::slotwise::{Instant, KvTransferCost, Rng};

use super::gie::{Index, Prefixes, Sticky, Weighted};
use super::load::OwnLoad;
use super::registry::PolicyKind;
use super::simple::min_by;
use super::{Finished, Fleet, Incoming, Needs, Policy, Report};
use crate::clients::Clients;
use crate::fleet::{Setup, simulate};
use crate::pools::Pools;
use crate::replica::{Class, EngineConfig, Snapshot};
use crate::service_level::ServiceLevel;
use crate::trace::{Mix, Trace, adapter_number};

/// Two policies that must decide the same.
struct Pair<A, B> {
    plugins: A,
    naive: B,
}

impl<A: Policy, B: Policy> Policy for Pair<A, B> {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let picked = self.plugins.pick(now, request);
        assert_eq!(picked, self.naive.pick(now, request), "request {}", request.id);
        picked
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        self.plugins.first_token(now, id);
        self.naive.first_token(now, id);
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.plugins.complete(now, id, usage);
        self.naive.complete(now, id, usage);
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        self.plugins.report(now, replica, report);
        self.naive.report(now, replica, report);
    }

    fn needs(&self) -> Needs {
        self.plugins.needs()
    }
}

const WEIGHTED: PolicyKind = PolicyKind {
    name: "weighted",
    summary: "queue 2, KV usage 2, prefix 3, twice",
    build: |fleet| {
        let plugins = Weighted::new(fleet, Index::Reference);
        let naive = NaiveWeighted::new(fleet, Index::Reference);
        Box::new(Pair { plugins, naive })
    },
};

const WITH_ADAPTERS: PolicyKind = PolicyKind {
    name: "with adapters",
    summary: "queue 2, KV usage 2, prefix 3, adapter 4, twice",
    build: |fleet| {
        let plugins = Weighted::new(fleet, Index::Exact).adapter_weight(4.0);
        let naive = NaiveWeighted::new(fleet, Index::Exact).adapter_weight(4.0);
        Box::new(Pair { plugins, naive })
    },
};

const STICKY: PolicyKind = PolicyKind {
    name: "sticky",
    summary: "affinity 0.80, then token load, twice",
    build: |fleet| {
        let plugins = Sticky::new(fleet, Index::Reference);
        let naive = NaiveSticky::new(fleet, Index::Reference);
        Box::new(Pair { plugins, naive })
    },
};

/// Runs a workload. A decision that differs panics.
fn run(mix: Mix, kind: &PolicyKind, adapters: Option<u32>, speed: f64) {
    let mut trace = Trace::generate(mix, 3);
    trace.truncate(500);
    let mut engine = EngineConfig::new(Class::default());
    if let Some(adapters) = adapters {
        trace.assign_adapters(adapters, 1.0, 0);
        engine.adapter_slots = 4;
    }
    let setup = Setup {
        pools: Pools { prefill: 0, decode: 0, transfer: KvTransferCost::default() },
        replicas: 6,
        engine,
        mix: None,
        deadline: Duration::MAX,
        level: ServiceLevel::default(),
        slow: Some((2, 2.0)),
        scrape: Duration::from_millis(50),
        delay: Duration::from_millis(5),
        speed,
        clients: Clients::default(),
        gateways: None,
        seed: 1,
    };
    let record = simulate(&trace, &setup, kind);
    assert!(record.requests.iter().all(|request| request.replica.is_some()));
}

#[test]
fn weighted_scorers_decide_as_written_out() {
    run(Mix::Mixed, &WEIGHTED, None, 1.0);
    run(Mix::Chat, &WEIGHTED, None, 4.0);
}

#[test]
fn the_adapter_scorer_decides_as_written_out() {
    run(Mix::Mixed, &WITH_ADAPTERS, Some(20), 2.0);
}

#[test]
fn sticky_until_saturated_decides_as_written_out() {
    run(Mix::Agents, &STICKY, None, 1.0);
    run(Mix::Mixed, &STICKY, None, 4.0);
}

/// The share of the prompt's 64-token blocks that each replica is thought to have.
fn ratios(prefixes: &Prefixes, request: &Incoming<'_>) -> Vec<f64> {
    let most = request.blocks.len().min((131_072 / prefixes.block_tokens) as usize);
    let matched = prefixes.view.counts(&request.blocks[..most]);
    let total = f64::from(request.input.div_ceil(64) * 64);
    matched.into_iter().map(|blocks| f64::from(blocks * prefixes.block_tokens) / total).collect()
}

const QUEUE_WEIGHT: f64 = 2.0;
const KV_WEIGHT: f64 = 2.0;
const PREFIX_WEIGHT: f64 = 3.0;
/// `lora-affinity-scorer`: the adapter is in the batch, could be loaded, or waits in the queue.
const ADAPTER_ACTIVE: f64 = 1.0;
const ADAPTER_ROOM: f64 = 0.8;
const ADAPTER_WAITING: f64 = 0.6;

/// `queue-scorer` 2, `kv-cache-utilization-scorer` 2, `prefix-cache-scorer` 3, `max-score-picker`.
struct NaiveWeighted {
    prefixes: Prefixes,
    metrics: Vec<Snapshot>,
    adapter_weight: f64,
    rng: Rng,
}

impl NaiveWeighted {
    fn new(fleet: &Fleet, index: Index) -> Self {
        Self {
            prefixes: Prefixes::new(fleet, index),
            metrics: vec![Snapshot::default(); fleet.replicas],
            adapter_weight: 0.0,
            rng: Rng::new(fleet.seed),
        }
    }

    /// With `lora-affinity-scorer` at this weight.
    fn adapter_weight(self, weight: f64) -> Self {
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

impl Policy for NaiveWeighted {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let ratios = ratios(&self.prefixes, request);
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
struct NaiveSticky {
    prefixes: Prefixes,
    load: OwnLoad,
    replicas: usize,
    rng: Rng,
}

impl NaiveSticky {
    fn new(fleet: &Fleet, index: Index) -> Self {
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

impl Policy for NaiveSticky {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let ratios = ratios(&self.prefixes, request);
        let input = f64::from(request.input);
        let uncached = |replica: usize| (input * (1.0 - ratios[replica])) as u32;
        let candidates = self.affine(&ratios);
        let tokens = |at: usize| {
            let replica = candidates[at];
            let tokens = self.load.of(replica).pending_tokens as f64 + f64::from(uncached(replica));
            tokens.min(TOKEN_LOAD_THRESHOLD) / TOKEN_LOAD_THRESHOLD
        };
        let replica = candidates[min_by(candidates.len(), &mut self.rng, tokens)?];
        self.prefixes.view.assume(now, replica, request);
        self.load.begin(request.id, replica, uncached(replica));
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
