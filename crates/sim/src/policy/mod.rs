//! Routing policies: ours, as shipped, and those of current gateways, each after its source.

mod affinity;
mod chwbl;
mod concur;
mod dynamo;
mod dynamo_sessions;
mod flow;
mod gie;
mod gie_flow;
mod held;
mod lmetric;
mod load;
mod mooncake;
mod new_sessions;
mod preble;
mod registry;
mod sessions;
mod settings;
mod simple;
mod slotwise;
mod view;

use std::time::Duration;

use ::slotwise::{BlockHash, Instant};

use crate::replica::{Class, KvChange, Snapshot};

pub use self::registry::{ABLATIONS, FLOW, POLICIES, PolicyKind};
pub use self::settings::Setting;

/// A policy at a gateway: it sees requests, and what comes back of them, and reports that are as
/// old as they are.
pub trait Policy {
    /// Chooses a replica for a request, or none to reject it.
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize>;

    /// Takes a request that may have to wait: then there is no verdict yet, and
    /// [`poll`](Self::poll) will have it.
    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        Some(self.pick(now, request).map_or(Verdict::Refused(Refusal::Unplaced), Verdict::Goes))
    }

    /// The next verdict on a request that waits. It is asked after every event until there is none.
    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        let _ = now;
        None
    }

    /// When there may be a verdict although nothing has happened.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The first token of a request came.
    fn first_token(&mut self, now: Instant, id: u32);

    /// A request was answered in full; `cached` prompt tokens had been found in the cache, of
    /// `completion` tokens.
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
    /// Its priority: higher goes first.
    pub priority: i32,
    /// Who asks.
    pub tenant: &'a str,
    /// Its session, if the workload has sessions.
    pub session: Option<&'a str>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It goes to this replica.
    Goes(usize),
    /// It does not go.
    Refused(Refusal),
}

/// Why a request does not go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No replica could ever serve it, or the policy knows none.
    Unplaced,
    /// As much waits as may.
    Full,
    /// It has waited for as long as it may.
    Expired,
    /// Something else has its place.
    Displaced,
    /// An earlier request of its session was refused, so its client never sends it.
    Abandoned,
}

impl Refusal {
    /// Whether the client gives its whole session up.
    pub fn ends_session(self) -> bool {
        self != Self::Unplaced
    }
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
    pub adapter_load_time: Duration,
    /// How long a request may wait at the gateway, where it can.
    pub ttl: Duration,
    /// Whether ours holds back sessions that no cache has room for, where it can.
    pub guard: bool,
    /// For what the policy leaves to chance.
    pub seed: u64,
}
