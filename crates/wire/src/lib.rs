//! Bytes in, decisions out: what engines and clients send, as inputs of [`slotwise`].
//!
//! ```text
//!  json  msgpack                      how bytes are read: in one pass, with the offset of what is wrong
//!  metrics  kv  hashes                what engines say:  load, caches, and the names of their blocks
//!  request  response  headers         what clients ask, and what they are answered
//!  outcome  exposition                what clients and dashboards are told of it
//! ```
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
mod written;

pub use error::{Problem, WireError};
