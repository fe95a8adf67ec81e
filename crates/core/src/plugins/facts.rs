//! What plugins read: plain values about endpoints and the request.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::time::Seconds;

/// Facts about one endpoint, for one request.
///
/// Each field is what a data producer or an extractor of the reference attaches to an endpoint. A
/// fact that is not known has its default, as in the reference.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct EndpointFacts {
    /// The name, unique in the pool.
    pub name: String,
    /// The address, as `host:port`; empty if it is the name.
    pub address: String,
    /// Requests that wait in the engine, according to its metrics.
    pub waiting: u64,
    /// Requests that run in the engine, according to its metrics.
    pub running: u64,
    /// Share of the KV cache in use, according to the engine's metrics.
    pub kv_usage: f64,
    /// Age of the metrics; `None` if the engine has never reported any.
    pub metrics_age: Option<Seconds>,
    /// Requests in flight, as the gateway counts them.
    pub in_flight_requests: u64,
    /// Tokens in flight, as the gateway counts them.
    pub in_flight_tokens: u64,
    /// Tokens of this request that the endpoint does not have cached.
    pub uncached_tokens: u64,
    /// Leading blocks of the prompt that the endpoint has cached.
    pub match_blocks: u64,
    /// The device tiers of these blocks, stretch by stretch; a block in several tiers counts in the
    /// nearest one. Empty means that the tiers are not known.
    pub match_tiers: Vec<TierBlocks>,
    /// Blocks of the prompt; zero if the prefix is not known.
    pub total_blocks: u64,
    /// Tokens in a block.
    pub block_tokens: u64,
    /// Adapters of running requests.
    pub active_adapters: Vec<String>,
    /// Adapters of waiting requests.
    pub waiting_adapters: Vec<String>,
    /// Adapters that the engine loads side by side.
    pub max_adapters: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Numeric attributes, such as custom metrics.
    pub attributes: BTreeMap<String, f64>,
    /// Where the endpoint runs.
    pub topology: Topology,
    /// The predicted latency of this request.
    pub prediction: Option<Prediction>,
    /// Whether the session of this request is bound to the endpoint.
    pub session_bound: bool,
    /// Position in the list of endpoints that received requests without a cached prefix: 0 is the
    /// least recent, `None` has never received one.
    pub cold_position: Option<u64>,
    /// Bytes of this request's media whose embeddings the endpoint has cached.
    pub media_match: u64,
}

/// A stretch of blocks in one device tier.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct TierBlocks {
    /// The tier: `gpu`, `cpu` or `disk`, or a name of the host.
    pub tier: String,
    /// The number of blocks.
    pub blocks: u64,
}

impl Default for EndpointFacts {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: String::new(),
            waiting: 0,
            running: 0,
            kv_usage: 0.0,
            metrics_age: Some(Seconds::ZERO),
            in_flight_requests: 0,
            in_flight_tokens: 0,
            uncached_tokens: 0,
            match_blocks: 0,
            match_tiers: Vec::new(),
            total_blocks: 0,
            block_tokens: 16,
            active_adapters: Vec::new(),
            waiting_adapters: Vec::new(),
            max_adapters: 0,
            labels: BTreeMap::new(),
            attributes: BTreeMap::new(),
            topology: Topology::default(),
            prediction: None,
            session_bound: false,
            cold_position: None,
            media_match: 0,
        }
    }
}

impl EndpointFacts {
    /// The share of the prompt's blocks that the endpoint has cached; zero if the prefix is not
    /// known.
    pub fn match_ratio(&self) -> f64 {
        if self.total_blocks == 0 {
            0.0
        } else {
            self.match_blocks as f64 / self.total_blocks as f64
        }
    }

    /// The larger share of both limits that the engine's reported load uses; a limit of zero is
    /// used whole. The age of the metrics does not count.
    pub(crate) fn reported_utilization(&self, waiting: f64, kv_usage: f64) -> f64 {
        used_share(self.waiting as f64, waiting).max(used_share(self.kv_usage, kv_usage))
    }

    /// The address by which clients and headers name the endpoint.
    pub fn address(&self) -> &str {
        if self.address.is_empty() { &self.name } else { &self.address }
    }
}

/// The used share of a capacity; without capacity, all of it is used.
pub(crate) fn used_share(used: f64, capacity: f64) -> f64 {
    if capacity > 0.0 { used / capacity } else { 1.0 }
}

/// Facts about the request.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct RequestFacts {
    /// The model: the base model, or the adapter where the engine names adapters as models.
    pub model: String,
    /// The LoRA adapter; `None` means that [`model`](Self::model) names it, as in the reference.
    pub adapter: Option<String>,
    /// Tokens of the prompt; zero if not known.
    pub prompt_tokens: u64,
    /// The priority; negative requests are sheddable.
    pub priority: i32,
    /// Headers that the host allows plugins to read, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Addresses of the only endpoints that the request may use; `None` allows all, an empty list
    /// allows none.
    pub subset: Option<Vec<String>>,
    /// Where the endpoint of the peer stage runs: of the decode stage, when a prefill endpoint is
    /// chosen.
    pub peer: Option<Topology>,
    /// Bytes of the request's media; 1 in a scheduler, which knows only whether there are any.
    pub media: u64,
}

impl RequestFacts {
    /// The name by which engines list the request's adapter.
    pub fn adapter(&self) -> &str {
        self.adapter.as_deref().unwrap_or(&self.model)
    }
}

/// Where an endpoint runs; an empty name is not known and equals no other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct Topology {
    /// The host.
    pub host: String,
    /// The rack.
    pub rack: String,
    /// The zone.
    pub zone: String,
    /// The region.
    pub region: String,
}

/// The predicted latency of a request on an endpoint, and the service level that it should meet.
///
/// The unit is a matter of the producer; the reference predicts milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct Prediction {
    /// Predicted time to first token, in milliseconds.
    pub ttft: f64,
    /// Predicted time per output token, in milliseconds.
    pub tpot: f64,
    /// Service level minus predicted time to first token, in milliseconds; negative if missed.
    pub ttft_headroom: f64,
    /// Service level minus predicted time per output token, in milliseconds; negative if missed.
    pub tpot_headroom: f64,
    /// Requests that the gateway has dispatched to the endpoint and that have not ended.
    pub dispatched_requests: u64,
}
