//! What engines say about their KV caches: ZMQ frames, batches of events, and gaps between them.
//!
//! ```text
//!   frames     what a ZMQ message holds:          a batch and its number, or the end of a replay
//!   batch      what a batch holds:                events of the core, decoded into buffers that are used again
//!   sequence   what to do with the next batch:    apply, drop, hold, ask for a replay, clear
//!   feed       all of it for one publisher:       frames in, events and a report out
//!   feeds      the publishers of a pool:          a feed for each rank of each endpoint
//! ```
//!
//! vLLM and SGLang publish msgpack over ZMQ; TensorRT-LLM is asked for JSON at `/kv_cache_events`. A *publisher* is one data parallel rank of one
//! engine; each has a [`Feed`] of its own.
//!
//! ```
//! use slotwise::KvEvent;
//! use slotwise_wire::kv::Feed;
//!
//! // [1.5, [["BlockStored", [7], nil, [0, 1, 2, 3], 4, nil, "GPU"]]], as vLLM 0.23 sends it.
//! let payload = b"\x92\xcb\x3f\xf8\0\0\0\0\0\0\x91\x97\xabBlockStored\
//!     \x91\x07\xc0\x94\x00\x01\x02\x03\x04\xc0\xa3GPU";
//! let mut stored = Vec::new();
//! let mut feed = Feed::new();
//! let report = feed.handle_live(&[b"", &0_u64.to_be_bytes(), payload], &mut |event| {
//!     if let KvEvent::BlockStored(event) = event {
//!         stored.extend(event.tokens.unwrap_or_default().iter().copied());
//!     }
//!     Ok(())
//! })?;
//! assert_eq!((report.batches, report.stored_blocks, report.ask), (1, 1, None));
//! assert_eq!(stored, [0, 1, 2, 3]);
//! # Ok::<(), slotwise_wire::WireError>(())
//! ```

#[cfg_attr(
    not(feature = "internals"),
    expect(dead_code, unreachable_pub, reason = "public with the feature `internals`")
)]
mod batch;
mod feed;
mod feeds;
#[cfg_attr(
    not(feature = "internals"),
    expect(unreachable_pub, reason = "public with the feature `internals`")
)]
mod frames;
mod msgpack;
#[cfg_attr(
    not(feature = "internals"),
    expect(unreachable_pub, reason = "public with the feature `internals`")
)]
mod sequence;
mod trtllm;
mod vllm;

pub use batch::SkippedEvents;
pub use feed::{EventSink, Feed, Report};
pub use feeds::Feeds;
pub use frames::replay_request;

/// The parts of a [`Feed`], with the feature `internals` only.
///
/// They are for this repository's bindings, fuzz targets and benches, and outside semantic
/// versioning.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use super::batch::{Batch, Decoder, Events};
    pub use super::frames::Message;
    pub use super::sequence::{Answer, Sequence};
}
