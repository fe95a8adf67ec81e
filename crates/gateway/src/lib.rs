//! What every LLM gateway does around [`slotwise`], without I/O: one implementation for all
//! languages.
//!
//! A host owns sockets, timers and tasks. This crate owns the rest: which endpoint is asked, what
//! the scheduler receives of an answer's bytes, when another endpoint is asked, what the client
//! gets, and how engines' pages and events become inputs.
//!
//! # The map
//!
//! ```text
//!  gateway    Gateway: the scheduler, its engines, and one wake-up signal for the host
//!  wakeup     Wakeup: what the host has to poll after its inputs
//!  engines    metrics pages, ORCA headers, KV events and probes to inputs; replay requests
//!  lease      Lease: one dispatched request, from its reservation to its one end
//!  exchange   Exchange: one client request over several attempts, from its body to its reply
//!  gates      Gates: API keys, quotas and rate limits; SafetyCheck: checks of content
//!  ingress    Ingress: gates and routing in one, from a request to its targets
//!  clusters   Clusters: which cluster serves a request to a pool that several export
//!  routing    Routing: which pool serves a request, and under which model name
//!  request    RequestOptions: the host's options over headers, and headers over the body
//!  peers      PeerLink: messages between the gateways of one pool
//!  invalid_field  InvalidField: the error for an invalid field of a configuration
//!  names      words that all languages share, and the error for an unknown one
//!  classes    Classified: the exception class and the code of each error
//!  json       JSON between this crate and hosts of other languages, with the feature `json`
//!  policy     the reference's policies as functions of JSON
//!  config     Configuration: one file that describes a gateway, with the feature `config`
//!  health_checks  HealthChecks: which endpoint to probe next
//!  pools      Pools: a gateway for each pool of a configuration, changed while it serves
//!  reload     Gateway::apply: the configuration of one pool, changed while it serves
//!  mirror     Gateway::pick_mirror: copies of requests, which never delay others
//!  machines   routing and the like as machines over JSON
//! ```
//!
//! `exchange` uses `lease`, and both use `gateway`. Nothing here imports upwards.
//!
//! # The contract
//!
//! **After each input, call [`Gateway::take_wakeup`] once and poll what it names.** Inputs are all
//! calls that take `now`. A host that does this in one place never misses a decision.
//!
//! As in the core: no socket, no clock, no thread, no panic on any bytes. Time is an argument, and
//! memory is bounded: a [`Lease`] allocates nothing but its usage of [`slotwise_wire`], and an
//! [`Exchange`] keeps at most [`Exchange::LOOK_AHEAD`] bytes of an answer.
//!
//! # Example: a whole request over bytes
//!
//! ```
//! use slotwise::{Endpoint, Instant, Request, Scheduler};
//! use slotwise_gateway::exchange::Passing;
//! use slotwise_gateway::{Exchange, Gateway, Output};
//! use slotwise_wire::outcome::BodyShape;
//! use slotwise_wire::response::CloseReason;
//!
//! let now = Instant::ORIGIN;
//! let mut gateway = Gateway::new(Scheduler::default());
//! gateway.scheduler_mut().add_endpoint(now, Endpoint::new("http://10.0.0.1:8000"))?;
//!
//! let mut exchange = Exchange::new(BodyShape::OpenAi);
//! let (mut sent_to, mut status, mut body) = (String::new(), 0, Vec::new());
//! while let Some(output) = exchange.poll() {
//!     match output {
//!         Output::Dispatch => {
//!             let request = Request::new("llama").text("Hi").exclude(exchange.excluded());
//!             let picked = gateway.scheduler_mut().pick(now, &request);
//!             exchange.handle_pick(&mut gateway, now, picked);
//!         }
//!         Output::Send(call) => {
//!             sent_to = call.url; // here a host sends the request, and reads the answer
//!             exchange.handle_head(200, [("content-type", "text/event-stream")]);
//!             let event = b"data: {\"choices\":[{\"text\":\"Hello\"}]}\n\ndata: [DONE]\n\n";
//!             let passing = exchange.handle_chunk(&mut gateway, now, event);
//!             assert_eq!(passing, Passing::Held); // the first chunk comes out of `poll`
//!             exchange.handle_close(&mut gateway, now, CloseReason::Clean);
//!         }
//!         Output::Reply(reply) => status = reply.status,
//!         Output::Body(bytes) => body.extend(bytes),
//!         _ => {} // a host ends its response, or breaks it off
//!     }
//! }
//! assert_eq!((sent_to.as_str(), status), ("http://10.0.0.1:8000", 200));
//! assert!(body.ends_with(b"[DONE]\n\n"));
//! assert_eq!(gateway.scheduler().stats().completed, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `std` (default): faster searches in `slotwise-wire`, and a memory of the layouts of metrics
//!   pages. Results are the same without it, in `no_std` with `alloc`.
//! - `serde`: configurations can be read and written.
//! - `config`: the module `config`: YAML and JSON files.
//! - `json`: the modules `json`, `policy` and `machines`, for bindings to other languages.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod classes;
pub mod clusters;
#[cfg(feature = "config")]
pub mod config;
pub mod engines;
pub mod exchange;
pub mod gates;
mod gateway;
pub mod health_checks;
pub mod ingress;
mod invalid_field;
#[cfg(feature = "json")]
pub mod json;
pub mod lease;
#[cfg(feature = "json")]
pub mod machines;
mod mirror;
pub mod names;
pub mod peers;
#[cfg(feature = "json")]
pub mod policy;
#[cfg(feature = "config")]
mod pools;
#[cfg(feature = "config")]
mod reload;
mod request;
pub mod routing;
#[cfg(feature = "serde")]
mod seconds;
#[cfg(feature = "json")]
mod tree;
mod wakeup;

pub use classes::Classified;
pub use exchange::{Call, Exchange, KvConnector, Output};
pub use gateway::Gateway;
pub use invalid_field::InvalidField;
pub use lease::Lease;
#[cfg(feature = "config")]
pub use pools::{LeftPool, Pools};
pub use request::{RejectionTexts, RequestOptions};
pub use wakeup::{Drained, Wakeup};

/// The example of the whole project's readme is tested, too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ProjectReadme;
