//! Decides, in microseconds, **whether** an LLM request goes now and **to which** model server.
//!
//! A gateway registers its endpoints, reports their load and what their caches hold, and calls
//! [`Scheduler::pick`] or [`Scheduler::submit`] for each request. A decision weighs the queue, the
//! cached prefix of the prompt, the KV cache, running answers and LoRA adapters in one unit:
//! predicted seconds. When the call returns, the endpoint's account includes the request.
//!
//! ```
//! use slotwise::{Endpoint, Instant, Request, Scheduler, Usage};
//!
//! let now = Instant::from_micros(0); // microseconds on your own monotonic clock
//! let mut scheduler = Scheduler::default();
//! scheduler.add_endpoint(now, Endpoint::new("http://10.0.0.1:8000"))?;
//! scheduler.add_endpoint(now, Endpoint::new("http://10.0.0.2:8000"))?;
//!
//! let prompt = "You are a helpful assistant. What is a prefix cache?";
//! let decision = scheduler.pick(now, &Request::new("llama-3.1-8b").text(prompt))?;
//! let url = &scheduler.endpoint(decision.endpoint_id).expect("just picked").name;
//! println!("send it to {url}; {} of its tokens are cached there", decision.cached_tokens);
//!
//! scheduler.handle_first_token(Instant::from_micros(80_000), decision.request_id)?;
//! scheduler.complete(Instant::from_micros(900_000), decision.request_id, Usage::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The contract
//!
//! The crate is *sans-IO*: it opens no socket, reads no clock, starts no thread and uses no global
//! randomness. [`Scheduler`] is a plain value with `&mut self` methods of four kinds: inputs about
//! endpoints, the life of a request, decisions to poll, and queries.
//!
//! **After each input, call [`poll_decision(now)`](Scheduler::poll_decision) until it returns
//! `None`; then wait for the next input or for [`next_timeout()`](Scheduler::next_timeout).** A
//! gateway that only calls [`pick`](Scheduler::pick) has nothing to poll.
//!
//! - *Time is an argument.* Every input takes `now`, in microseconds of the caller's monotonic
//!   clock. An earlier time than the latest one counts as the latest.
//! - *Decisions are deterministic.* Equal inputs in equal order, with an equal [`Config::seed`],
//!   give equal outputs, bit for bit, on every platform. Costs use `+ - * /` only, and no decision
//!   depends on the order of a hash map.
//! - *Nothing panics* on any input, and the [`Config`] bounds all memory.
//! - *Errors are values* of small types, one for each operation. A call that returns an error
//!   changes nothing else.
//! - *A reservation is released once.* `pick` and every dispatch reserve. Exactly one of
//!   [`complete`](Scheduler::complete), [`fail`](Scheduler::fail) and
//!   [`cancel`](Scheduler::cancel) releases, even if the endpoint has left the pool. A second call
//!   returns [`UnknownRequest`] or `false` and changes nothing.
//!
//! # The life of a request
//!
//! ```text
//!  pick ──► pending ──handle_first_token──► running ──complete / fail / cancel──► gone
//!             │  ▲                             │ ▲
//!             │  └ redirect (to an alternative)│ └ handle_tokens (optional)
//!             └──────complete / fail / cancel──┴─────────────────────────────────► gone
//! ```
//!
//! While a request is *pending*, its predicted prefill is part of the endpoint's queue. While it is
//! *running*, its tokens occupy the KV cache, and every new prefill delays it.
//!
//! # What is learned
//!
//! - From first tokens: the speed of each endpoint.
//! - From [`Usage`]: the bytes per token of each model, the length of answers, and whether an
//!   endpoint still has the blocks that it is assumed to have.
//! - From prompts: the probability that a cached prefix is read again, which is the price of
//!   evicting it.
//!
//! # The layers
//!
//! A file imports only from its own layer and the layers above it in this diagram; `profile` and
//! `flow` do not know each other. `tests/layers_never_import_upwards.rs` checks every file.
//!
//! ```text
//!  time  rng  sorting  parameter_tree       values: no clock, no global randomness
//!  request  endpoint  load  decision        inputs and outputs
//!  subset  address  rising_map
//!  prefill  histogram  kv_transfer  prefix/hash
//!  prefix/  lora  cost/                     state: caches, adapters, learned means
//!  pool/                                    state: endpoints, what is in flight on each, health
//!  disaggregation/                          whether another endpoint prefills
//!  plugins/                                 the Endpoint Picker's filters, scorers and pickers
//!  profile/          flow/                  how to weigh   |   bands, flows and their order
//!  config/                                  the configuration of all of these
//!  fleet/                                   what is known, tied together
//!  placement/                               where a request fits: pure
//!  plan                                     the endpoints of each stage: pure
//!  queueing/                                when it is dispatched
//!  scheduler/                               the face: delegates
//! ```
//!
//! # Features
//!
//! - `std` (default): [`Instant::from_std`], and for threads [`prefix::SharedPrefixIndex`] and
//!   [`prefix::MirroredPrefixIndex`]. Without it, the crate is `no_std` with `alloc` and otherwise
//!   the same.
//! - `serde`: `Serialize` and `Deserialize` for the configuration, endpoints, loads, usages and
//!   ids; `Serialize` for outputs. Durations are in seconds.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod address;
mod config;
mod cost;
mod decision;
mod disaggregation;
mod endpoint;
mod fleet;
mod flow;
mod histogram;
mod kv_transfer;
mod load;
mod lora;
#[cfg(feature = "serde")]
mod parameter_tree;
mod placement;
mod plan;
pub mod plugins;
mod pool;
mod prefill;
pub mod prefix;
mod profile;
mod queueing;
mod request;
mod rising_map;
mod rng;
mod scheduler;
mod sorting;
mod subset;
mod time;

pub use address::Address;
pub use config::{
    AutoscalingConfig, Config, ConfigError, Implausible, ProducerConfig, implausible,
};
pub use decision::{Decision, Dispatch, EvictReason, Evicted, Leg, RejectReason, Rejected, Stage};
pub use disaggregation::{
    Decider, DeciderFacts, DisaggregationConfig, PrefixBasedPdDecider, pd_decide,
};
pub use endpoint::{CacheEvictionOrder, Endpoint, EndpointId, Role};
pub use flow::{
    BandLimits, ConcurrencyDetector, ConcurrencyMode, ContinuousSaturation, Fairness, FlowConfig,
    HoldbackDomain, PriorityHoldback, QueueOrder, SaturationPolicy, SessionAdmissionConfig,
    SessionAdmissionStats, SoftReflective, StaticUsageLimit, UsageLimitPolicy, UtilizationDetector,
    ceilings, saturation,
};
pub use histogram::Histogram;
pub use kv_transfer::KvTransferCost;
pub use load::{AdapterState, Load};
pub use lora::{Adapter, AdapterError};
pub use placement::Exclusion;
pub use pool::{BackoffCause, EndpointError, HealthState, PeerLoad, UnknownEndpoint};
pub use prefill::PrefillCost;
pub use prefix::{
    BlockHash, BlockRemoved, BlockStored, EngineHash, KvEvent, KvEventError, SnapshotError, Tier,
};
pub use profile::{CostPrices, CostTerms, TierFactors};
pub use request::{
    AnswerId, Batch, CacheUse, Failure, Priority, Prompt, Request, RequestId, Usage,
};
pub use rng::Rng;
pub use scheduler::{
    BandStats, Builder, Candidate, EndpointStats, Explanation, LegError, PoolStats, RedirectError,
    RemovedEndpoint, RunnerUp, Scheduler, SharedChange, SharedPrefix, SharedService, Spread,
    StageExplanation, StageSplit, Stats, UnknownRequest,
};
pub use subset::{PortMatch, Subset};
pub use time::{Instant, Seconds};
