//! The policies by name.

use super::concur::Concur;
use super::disaggregated::{self, Disaggregated};
use super::dynamo_sessions::{DynamoSessions, Idle};
use super::gateways::SeveralGateways;
use super::slotwise::Variant;
use super::{
    Fleet, Policy, affinity, chwbl, dynamo, flow, gie, gie_flow, lmetric, mooncake, preble, simple,
};

/// A policy by name.
#[derive(Clone, Copy, Debug)]
pub struct PolicyKind {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    pub(super) build: fn(&Fleet) -> Box<dyn Policy>,
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
    /// Lists the names of all policies.
    pub fn named(name: &str) -> Result<Self, String> {
        let all = || POLICIES.iter().chain(&FLOW).chain(&DISAGGREGATED).chain(&ABLATIONS);
        all().find(|kind| kind.name == name).copied().ok_or_else(|| {
            let known: Vec<_> = all().map(|kind| kind.name).collect();
            format!("no policy is called {name:?}; known are {}", known.join(", "))
        })
    }
}

/// The policies that are compared by default.
pub const POLICIES: [PolicyKind; 13] = [
    PolicyKind {
        name: "round-robin",
        summary: "one after the other",
        build: |fleet| Box::new(simple::RoundRobin::new(fleet)),
    },
    PolicyKind {
        name: "random",
        summary: "anyone",
        build: |fleet| Box::new(simple::Random::new(fleet)),
    },
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
        build: |fleet| Box::new(gie::Weighted::new(fleet, gie::Index::Reference)),
    },
    PolicyKind {
        name: "gie-sticky",
        summary: "prefix-affinity filter 0.80, then token load",
        build: |fleet| Box::new(gie::Sticky::new(fleet, gie::Index::Reference)),
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
        summary: "E2 without rebalancing: exploit a long match, else explore by load, eviction and prefill",
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
        build: |fleet| match fleet.gateways {
            Some(gateways) => SeveralGateways::build(gateways, fleet),
            None => Variant::Shipped.build(fleet),
        },
    },
];

/// The policies that queue requests at the gateway.
pub const FLOW: [PolicyKind; 5] = [
    PolicyKind {
        name: "slotwise-flow",
        summary: "slotwise behind its flow control: late binding, bands, fair flows",
        build: flow::Flow::build,
    },
    PolicyKind {
        name: "gie-flow",
        summary: "gie-default behind the reference's flow control",
        build: |fleet| Box::new(gie_flow::Flow::new(fleet)),
    },
    PolicyKind {
        name: "concur",
        summary: "slotwise behind a window of active sessions by AIMD on hit ratio and KV usage",
        build: Concur::build,
    },
    PolicyKind {
        name: "dynamo-sessions",
        summary: "slotwise, whose replicas close for new sessions above 95 % KV usage until below 80 %",
        build: |fleet| DynamoSessions::build(Idle::Decays, fleet),
    },
    PolicyKind {
        name: "dynamo-sessions-whole",
        summary: "dynamo-sessions, in which idle sessions count in full",
        build: |fleet| DynamoSessions::build(Idle::Counts, fleet),
    },
];

/// Our scheduler in front of prefill and decode pools, with each decider.
pub const DISAGGREGATED: [PolicyKind; 4] = [
    PolicyKind {
        name: "pd-never",
        summary: "slotwise in pools: the decoding replica always computes the prompt",
        build: |fleet| Disaggregated::build(disaggregated::NEVER, fleet),
    },
    PolicyKind {
        name: "pd-always",
        summary: "slotwise in pools: another replica always computes the prompt",
        build: |fleet| Disaggregated::build(disaggregated::ALWAYS, fleet),
    },
    PolicyKind {
        name: "pd-prefix-based",
        summary: "slotwise in pools: another replica computes 1,024 uncached tokens and more",
        build: |fleet| Disaggregated::build(disaggregated::PREFIX_BASED, fleet),
    },
    PolicyKind {
        name: "pd-predicted",
        summary: "slotwise in pools: another replica computes the prompt where that costs less",
        build: |fleet| Disaggregated::build(disaggregated::PREDICTED, fleet),
    },
];

/// Our scheduler with one part removed or replaced, which measures the part; and the reference with
/// an exact index.
pub const ABLATIONS: [PolicyKind; 20] = [
    PolicyKind {
        name: "gie-default-exact",
        summary: "gie-default, with the caches' true size and order",
        build: |fleet| Box::new(gie::Weighted::new(fleet, gie::Index::Exact)),
    },
    PolicyKind {
        name: "gie-lora-1",
        summary: "gie-default, with the adapter scorer at weight 1",
        build: |fleet| {
            let policy = gie::Weighted::new(fleet, gie::Index::Reference);
            Box::new(policy.adapter_weight(1.0))
        },
    },
    PolicyKind {
        name: "gie-lora-4",
        summary: "gie-default, with the adapter scorer at weight 4",
        build: |fleet| {
            let policy = gie::Weighted::new(fleet, gie::Index::Reference);
            Box::new(policy.adapter_weight(4.0))
        },
    },
    PolicyKind {
        name: "gie-sticky-exact",
        summary: "gie-sticky, with the caches' true size and order",
        build: |fleet| Box::new(gie::Sticky::new(fleet, gie::Index::Exact)),
    },
    PolicyKind {
        name: "slotwise-no-queue",
        summary: "without the queue term",
        build: |fleet| Variant::NoQueue.build(fleet),
    },
    PolicyKind {
        name: "slotwise-no-room",
        summary: "without waiting for room in the KV cache",
        build: |fleet| Variant::NoRoom.build(fleet),
    },
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
        name: "slotwise-deadlines",
        summary: "with deadlines; a quarter of the requests refused for them is sent nevertheless",
        build: |fleet| Variant::Deadlines.build(fleet),
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
