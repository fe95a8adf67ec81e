//! Converts between wire formats and the types of [`slotwise`].
//!
//! Model servers send metrics pages and KV events, clients send requests, and servers answer with
//! bodies or streams. This crate parses them into inputs of the scheduler. In the other direction
//! it renders statistics and refusals.
//!
//! # The layers
//!
//! A module uses only modules of its own line and of the lines above it.
//!
//! ```text
//!  error  json                   reading bytes in one pass, with the offset of an error
//!  metrics  kv  hashes           from model servers: load, cache contents, block names
//!  headers  request  response    from clients: requests; to clients: answers
//!  outcome  content              to clients: refusals; texts for checks of content
//!  exposition                    to dashboards and traces: metrics and attributes
//! ```
//!
//! # The contract
//!
//! The contract of the core holds here too: no socket, no clock, no thread, and no panic on any
//! input. Memory is a small multiple of the input, or has a documented limit. Malformed input
//! returns a [`WireError`] with its offset and reason, and has no effect.
//!
//! # Features
//!
//! - `std` (default): searches with the processor's vector instructions. Results are the same
//!   without it, in `no_std` with `alloc`.
//! - `serde`: `Serialize` for reports.
//! - `internals`: the parts of a [`Feed`](kv::Feed), for this repository's bindings, fuzz targets
//!   and benches. Outside semantic versioning.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod content;
mod error;
pub mod exposition;
pub mod hashes;
pub mod headers;
mod json;
pub mod kv;
pub mod metrics;
pub mod outcome;
pub mod request;
pub mod response;
#[cfg(feature = "serde")]
mod serde_impls;

pub use error::{ErrorKind, WireError};

/// Tests the example in this crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
