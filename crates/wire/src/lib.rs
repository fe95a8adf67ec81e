//! Bytes in, decisions out: what engines and clients send, as inputs of [`slotwise`].
//!
//! # The layers
//!
//! ```text
//!  error  json                        how bytes are read: in one pass, with the offset of what is wrong
//!  metrics  kv  hashes                what engines say:  load, caches, and the names of their blocks
//!  request  response  headers         what clients ask, and what they are answered
//!  outcome  exposition                what clients and dashboards are told of it
//! ```
//!
//! # The contract
//!
//! As the core's: no socket, no clock, no thread, no panic on any bytes. Memory is a small multiple of what is read, or has a limit that
//! is said. Bytes that cannot be read are a [`WireError`] that says where and why, and nothing of them is applied.
//!
//! # Features
//!
//! - `std` (default): searches that use all that the processor has. Everything else is the same without it, in `no_std` with `alloc`.
//! - `serde`: `Serialize` for what bytes are read into.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

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

/// The readme's example is tested, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
