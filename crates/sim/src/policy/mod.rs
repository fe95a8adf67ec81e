//! Routing policies: ours, as shipped, and the ones that gateways use today, each as its source has it.

mod affinity;
mod chwbl;
mod dynamo;
mod gie;
mod lmetric;
mod load;
mod mooncake;
mod preble;
mod simple;
mod slotwise;
mod view;

use std::time::Duration;

use ::slotwise::{BlockHash, Instant};

use crate::replica::{Class, KvChange, Snapshot};

pub use self::slotwise::Variant;

/// A policy at a gateway: it sees requests, and what comes back of them, and reports that are as old as they are.
pub trait Policy {
    /// Chooses a replica for a request, or none to reject it.
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize>;

    /// The first token of a request came.
    fn first_token(&mut self, now: Instant, id: u32);

    /// A request was answered in full; `cached` prompt tokens had been found in the cache, of `completion` tokens.
    fn complete(&mut self, now: Instant, id: u32, usage: Finished);

    /// A replica's metrics arrived.
    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        let _ = (now, replica, report);
    }

    /// A replica's KV events arrived.
    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        let _ = (now, replica, change);
    }

    /// What it needs to be told.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// A request, as a gateway sees it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Its number.
    pub id: u32,
    /// Tokens of the prompt.
    pub input: u32,
    /// The prompt's full blocks.
    pub blocks: &'a [BlockHash],
    /// Its LoRA adapter.
    pub adapter: Option<&'a str>,
}

/// What an engine says at the end of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Those of them that it found in its cache.
    pub cached: u32,
    /// Tokens of the answer.
    pub completion: u32,
}

/// A metrics page on its way.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the replica took it.
    pub sampled_at: Instant,
    /// What it says.
    pub snapshot: Snapshot,
}

/// What a policy needs to be told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Metrics.
    pub metrics: bool,
    /// KV events.
    pub kv_events: bool,
}

/// What a gateway's operator knows about the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Replicas.
    pub replicas: usize,
    /// Their class.
    pub class: Class,
    /// Tokens in a prefix block of the workload.
    pub block_tokens: u32,
    /// Tokens in an engine's step.
    pub chunk: u32,
    /// LoRA adapters side by side.
    pub adapter_slots: usize,
    /// How long loading one takes.
    pub adapter_load: Duration,
    /// For what the policy leaves to chance.
    pub seed: u64,
}

/// A policy by name.
#[derive(Clone, Copy, Debug)]
pub struct PolicyKind {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    build: fn(&Fleet) -> Box<dyn Policy>,
}

impl PolicyKind {
    /// The policy, for this fleet.
    pub fn build(&self, fleet: &Fleet) -> Box<dyn Policy> {
        (self.build)(fleet)
    }

    /// The policy of that name.
    ///
    /// # Errors
    ///
    /// Says which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        POLICIES.iter().chain(&ABLATIONS).find(|kind| kind.name == name).copied().ok_or_else(|| {
            let known: Vec<_> = POLICIES.iter().chain(&ABLATIONS).map(|kind| kind.name).collect();
            format!("no policy is called {name:?}; known are {}", known.join(", "))
        })
    }
}

/// The policies that are compared unless told otherwise.
pub const POLICIES: [PolicyKind; 13] = [
    PolicyKind {
        name: "round-robin",
        summary: "one after the other",
        build: |fleet| Box::new(simple::RoundRobin::new(fleet)),
    },
    PolicyKind { name: "random", summary: "anyone", build: |fleet| Box::new(simple::Random::new(fleet)) },
    PolicyKind {
        name: "least-request",
        summary: "fewest requests in flight",
        build: |fleet| Box::new(simple::LeastRequest::new(fleet)),
    },
    PolicyKind {
        name: "p2c",
        summary: "the less busy of two at random",
        build: |fleet| Box::new(simple::PowerOfTwo::new(fleet)),
    },
    PolicyKind {
        name: "chwbl",
        summary: "consistent hashing with bounded loads, as KubeAI",
        build: |fleet| Box::new(chwbl::Chwbl::new(fleet)),
    },
    PolicyKind {
        name: "sglang-cache-aware",
        summary: "best match above a threshold, shortest queue when out of balance",
        build: |fleet| Box::new(affinity::CacheAware::new(fleet)),
    },
    PolicyKind {
        name: "gie-default",
        summary: "queue 2, KV usage 2, prefix 3 from scraped metrics",
        build: |fleet| Box::new(gie::Default::new(fleet)),
    },
    PolicyKind {
        name: "gie-sticky",
        summary: "prefix-affinity filter 0.80, then token load",
        build: |fleet| Box::new(gie::Sticky::new(fleet)),
    },
    PolicyKind {
        name: "dynamo-default",
        summary: "prefill blocks less overlap, plus decode blocks",
        build: |fleet| Box::new(dynamo::Dynamo::new(fleet)),
    },
    PolicyKind {
        name: "lmetric",
        summary: "new prefill tokens times batch size",
        build: |fleet| Box::new(lmetric::LMetric::new(fleet)),
    },
    PolicyKind {
        name: "preble",
        summary: "E2: exploit a long match, else explore by load, eviction and prefill",
        build: |fleet| Box::new(preble::Preble::new(fleet)),
    },
    PolicyKind {
        name: "mooncake",
        summary: "least predicted time to first token",
        build: |fleet| Box::new(mooncake::Conductor::new(fleet)),
    },
    PolicyKind {
        name: "slotwise",
        summary: "least marginal cost in seconds",
        build: |fleet| Variant::Shipped.build(fleet),
    },
];

/// Ours with one part taken away or replaced, to see what the part is worth.
pub const ABLATIONS: [PolicyKind; 13] = [
    PolicyKind {
        name: "slotwise-no-eviction",
        summary: "without the eviction term",
        build: |fleet| Variant::NoEviction.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-kv",
        summary: "without the KV term",
        build: |fleet| Variant::NoKv.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-decode",
        summary: "without the decode term",
        build: |fleet| Variant::NoDecode.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-decode-cap",
        summary: "with the decode term uncapped",
        build: |fleet| Variant::NoDecodeCap.build(fleet),
    },
    PolicyKind {
        name: "slotwise-prefill-1",
        summary: "with its own prefill at cost",
        build: |fleet| Variant::PrefillAtCost.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-prefill",
        summary: "without the prefill term",
        build: |fleet| Variant::NoPrefill.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-adapter",
        summary: "without the adapter term",
        build: |fleet| Variant::NoAdapter.build(fleet),
    },
    PolicyKind {
        name: "slotwise-unlearned",
        summary: "without learned speeds",
        build: |fleet| Variant::Unlearned.build(fleet),
    },
    PolicyKind {
        name: "slotwise-undescribed",
        summary: "told nothing about the hardware but its KV capacity",
        build: |fleet| Variant::Undescribed.build(fleet),
    },
    PolicyKind {
        name: "slotwise-scraped",
        summary: "without its own accounting: loads only from metrics",
        build: |fleet| Variant::ScrapedOnly.build(fleet),
    },
    PolicyKind {
        name: "slotwise-head-first",
        summary: "assuming that caches evict heads first",
        build: |fleet| Variant::HeadFirst.build(fleet),
    },
    PolicyKind {
        name: "slotwise-precise",
        summary: "with KV events",
        build: |fleet| Variant::Precise.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-correction",
        summary: "without correction from cached_tokens",
        build: |fleet| Variant::NoCorrection.build(fleet),
    },
];
