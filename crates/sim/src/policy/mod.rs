//! Routing policies: ours, as shipped, and those of current gateways, each after its source.

mod absence;
mod affinity;
mod chwbl;
mod concur;
mod disaggregated;
mod dynamo;
mod dynamo_sessions;
mod flow;
mod front;
mod gateways;
mod gie;
mod gie_flow;
#[cfg(test)]
mod gie_twin;
mod held;
mod lmetric;
mod load;
mod mooncake;
mod new_sessions;
mod preble;
mod registry;
mod reload;
mod sessions;
mod settings;
mod simple;
mod slotwise;
mod view;

use std::time::Duration;

use ::slotwise::{BlockHash, Config, ConfigError, Instant};

use crate::pools::Pools;
use crate::replica::{AdapterRanks, Class, ClassMix, KvChange, Snapshot};
use crate::service_level::ServiceLevel;

pub use self::gateways::{Gateways, Spread};
pub use self::registry::{ABLATIONS, DISAGGREGATED, FLOW, POLICIES, PolicyKind};
pub use self::reload::{Booked, Reload, Reloaded};
pub use self::settings::Setting;

/// The scheduler with a configuration of the caller's, behind its flow control. The `reloads`
/// replace the configuration while it serves.
///
/// # Errors
///
/// A configuration is invalid, or changes a field that is fixed while a scheduler runs.
pub fn configured(
    config: &Config,
    reloads: &[Reload],
    fleet: &Fleet,
) -> Result<Box<dyn Policy>, ConfigError> {
    Ok(Box::new(reload::Reloading::build(config, reloads, fleet)?))
}

/// The scheduler as shipped; the first replica accepts nothing from `from` until `until`.
pub fn closed_for(fleet: &Fleet, from: Instant, until: Instant) -> Box<dyn Policy> {
    Box::new(absence::Absence::new(fleet, from, until))
}

/// A policy at a gateway. Its inputs are requests, their answers, and delayed metrics and events.
pub trait Policy {
    /// Chooses a replica for a request, or none to reject it.
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize>;

    /// Takes a request that may have to wait: then there is no verdict yet, and
    /// [`poll`](Self::poll) will have it.
    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        Some(self.pick(now, request).map_or(Verdict::Refused(Refusal::Unplaced), Verdict::Goes))
    }

    /// The next verdict on a queued request. The fleet polls after every event until there is none.
    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        let _ = now;
        None
    }

    /// The time of the next verdict that needs no event.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The prefill of a request that splits ended.
    fn prefilled(&mut self, now: Instant, id: u32, usage: Finished) {
        let _ = (now, id, usage);
    }

    /// The first token of a request arrived.
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

    /// What the policy predicted for a request that it has just dispatched.
    fn forecast(&self, id: u32) -> Option<Forecast> {
        let _ = id;
        None
    }

    /// The requests that the policy has taken and not given back, if it keeps account of them.
    fn booked(&self) -> Option<Booked> {
        None
    }

    /// The messages between gateways, if there are several.
    fn traffic(&self) -> Option<Traffic> {
        None
    }

    /// The reloads that took effect.
    fn reloads(&self) -> &[Reloaded] {
        &[]
    }

    /// The news that the policy needs.
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
    /// The tenant.
    pub tenant: &'a str,
    /// Its session, if the workload has sessions.
    pub session: Option<&'a str>,
}

/// The verdict on a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Dispatched to this replica.
    Goes(usize),
    /// One replica computes the prompt, another one answers.
    Splits {
        /// The first.
        prefill: usize,
        /// The other.
        decode: usize,
    },
    /// Refused.
    Refused(Refusal),
}

/// The predicted latency of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Seconds from the dispatch to the first token.
    pub ttft: f64,
    /// Seconds per token after it.
    pub tpot: f64,
    /// The policy refused the request for its deadline, and sent it nevertheless, to see whether
    /// that was right.
    pub refused: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No replica can ever serve it, or the policy has none.
    Unplaced,
    /// The queue is full.
    Full,
    /// Its TTL has expired.
    Expired,
    /// A request of higher priority has displaced it.
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

/// The usage that an engine reports at the end of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Prompt tokens that it found in its cache.
    pub cached: u32,
    /// Tokens of the answer.
    pub completion: u32,
}

/// A metrics page in transit.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the replica took it.
    pub sampled_at: Instant,
    /// Its contents.
    pub snapshot: Snapshot,
}

/// Messages between gateways: means of a gateway over the run, and sums of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Traffic {
    /// Messages that a gateway sends in a second.
    pub sent_per_s: f64,
    /// Their bytes.
    pub sent_bytes_per_s: f64,
    /// Bytes that a gateway receives in a second.
    pub received_bytes_per_s: f64,
    /// Messages that were sent again.
    pub repeated: u64,
    /// Prompts that arrived without their first blocks.
    pub headless: u64,
    /// Prompts and claims that limits have left out.
    pub left_out: u64,
}

/// The news that a policy needs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Metrics.
    pub metrics: bool,
    /// KV events.
    pub kv_events: bool,
}

/// What a gateway's operator configures about the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Replicas.
    pub replicas: usize,
    /// Their roles.
    pub pools: Pools,
    /// Their class; the first one's, if they differ.
    pub class: Class,
    /// The class of each.
    pub mix: ClassMix,
    /// Tokens in a prefix block of the workload.
    pub block_tokens: u32,
    /// Tokens in an engine's step.
    pub chunk: u32,
    /// LoRA adapters side by side.
    pub adapter_slots: usize,
    /// How long loading one takes.
    pub adapter_load_time: Duration,
    /// Their ranks.
    pub adapter_ranks: AdapterRanks,
    /// How long a request may wait at the gateway, where it can.
    pub ttl: Duration,
    /// Whether our scheduler queues new sessions while no cache has room for them, if it supports
    /// that.
    pub guard: bool,
    /// The time in which a first token is useful, where a policy has deadlines.
    pub deadline: Duration,
    /// The gateways in front of it; `None` is one without messages.
    pub gateways: Option<Gateways>,
    /// The service level.
    pub level: ServiceLevel,
    /// The seed of the policy's random choices.
    pub seed: u64,
}

/// A number that stands for a name wherever a policy hashes it.
fn name_key(name: &str) -> u64 {
    name.bytes().fold(7, |key: u64, byte| key.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
