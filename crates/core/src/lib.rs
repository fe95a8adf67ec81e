//! Decides, in microseconds, **whether** an LLM request goes now and **to which** model server.
//!
//! A gateway tells slotwise which endpoints there are, how busy they say they are and what their caches hold, and asks it
//! for each request. The answer weighs the queue, the prompt's cached prefix, the KV cache, running answers and LoRA
//! adapters in one unit, predicted seconds, and the endpoint's account includes the request when the call returns.
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
//! let url = &scheduler.endpoint(decision.endpoint).expect("just picked").name;
//! println!("send it to {url}; {} of its tokens are cached there", decision.cached_tokens);
//!
//! scheduler.handle_first_token(Instant::from_micros(80_000), decision.request)?;
//! scheduler.complete(Instant::from_micros(900_000), decision.request, Usage::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The contract
//!
//! The crate is *sans-IO*: it opens no socket, reads no clock, starts no thread and draws from no global source of
//! randomness. [`Scheduler`] is a plain value with `&mut self` methods. Time is the first argument of every input, in
//! microseconds of the caller's clock; chance comes from [`Config::seed`]. Equal inputs in equal order give equal answers,
//! bit for bit, on every platform: costs use `+ - * /` only, and no answer depends on the order of a hash map.
//!
//! - *Nothing panics* on any input, and all memory is bounded by the [`Config`].
//! - *Errors are values* of small types, one for each operation, and leave everything as it was.
//! - *Reserved means released once*: [`pick`](Scheduler::pick) reserves, and exactly one of
//!   [`complete`](Scheduler::complete), [`fail`](Scheduler::fail) and [`cancel`](Scheduler::cancel) releases, also when the
//!   endpoint has left meanwhile. Saying it twice is an [`UnknownRequest`], and no harm.
//!
//! # A request's life
//!
//! ```text
//!  pick ──► pending ──handle_first_token──► running ──complete / fail / cancel──► gone
//!             │  ▲                             │ ▲
//!             │  └ redirect (to an alternative)│ └ handle_tokens (optional)
//!             └──────complete / fail / cancel──┴─────────────────────────────────► gone
//! ```
//!
//! While it is *pending*, its predicted prefill stands in the endpoint's queue; while it is *running*, its tokens stand in
//! the KV cache and every new prefill delays it.
//!
//! # What is learned
//!
//! From first tokens: how fast each endpoint is. From [`Usage`]: how many bytes of text make a token of a model, how long
//! answers are, and whether an endpoint still holds what it is assumed to. From prompts: how likely a cached prefix is to
//! be wanted again, which is the price of evicting one.
//!
//! # The layers
//!
//! A lower layer never imports an upper one; each is usable on its own.
//!
//! ```text
//!  time  rng                                     values: no clock, no global randomness
//!  request  endpoint  load  prefill  hash        what the world looks like
//!  prefix  lora  cost                            what is believed about it
//!  flow                                          who waits, who goes next, and whether it may
//!  pool                                          the same, endpoint by endpoint, and what is in flight
//!  profile                                       how to choose
//!  scheduler                                     the state machine that gateways talk to
//! ```
//!
//! # Features
//!
//! - `std` (default): [`Instant::from_std`], and [`prefix::SharedPrefixIndex`] for threads. Everything else is the same without it, in
//!   `no_std` with `alloc`.
//! - `serde`: `Serialize` and `Deserialize` for the configuration, endpoints, loads, usages and ids; `Serialize` for answers.
//!   Durations are seconds.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod config;
mod cost;
mod decision;
mod endpoint;
mod fleet;
mod flow;
mod histogram;
mod load;
mod lora;
mod placement;
mod pool;
mod prefill;
pub mod prefix;
mod profile;
mod queueing;
mod request;
mod rng;
mod scheduler;
mod time;

pub use config::{Config, ConfigError, Implausible, implausible};
pub use decision::{Decision, Dispatch, EvictReason, Evicted, RejectReason, Rejected, idle_limit};
pub use endpoint::{CacheEvictionOrder, Endpoint, EndpointId, Role};
pub use flow::{
    BandLimits, ConcurrencyDetector, ConcurrencyMode, ContinuousSaturation, Fairness, FlowConfig,
    HoldbackDomain, PriorityHoldback, QueueOrder, SaturationPolicy, SessionAdmissionConfig,
    SessionAdmissionStats, SoftReflective, StaticUsageLimit, UsageLimitPolicy, UtilizationDetector,
};
pub use histogram::Histogram;
pub use load::{AdapterState, Load};
pub use placement::Exclusion;
pub use pool::{BackoffCause, EndpointError, HealthState, UnknownEndpoint};
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
    BandStats, Builder, Candidate, EndpointStats, Explanation, RedirectError, RemovedEndpoint,
    Scheduler, Stats, UnknownRequest,
};
pub use time::{Instant, Seconds};
