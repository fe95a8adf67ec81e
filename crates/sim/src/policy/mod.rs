//! Routing policies: ours, as shipped, and the ones that gateways use today, each as its source has it.

mod affinity;
mod chwbl;
mod dynamo;
mod gie;
mod lmetric;
mod load;
mod mooncake;
mod preble;
mod registry;
mod simple;
mod slotwise;
mod view;

use std::time::Duration;

use ::slotwise::{BlockHash, Instant};

use crate::replica::{Class, KvChange, Snapshot};

pub use self::registry::{ABLATIONS, POLICIES, PolicyKind};

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
