//! KV cache events of model servers, and the recovery of lost ones.
//!
//! vLLM and SGLang publish msgpack over ZMQ; TensorRT-LLM answers with JSON at `/kv_cache_events`.
//! A *publisher* is one data parallel rank of one engine. Each publisher has a [`Feed`].
//!
//! ```text
//!   frames          a ZMQ message: a batch with its number, or the end of a replay
//!   msgpack         the encoding of vLLM and SGLang
//!   vllm  trtllm    the events of an engine, into buffers
//!   batch  decoder  events of the core, in buffers that are reused
//!   sequence        the action for a batch: apply, drop, hold, request a replay, clear
//!   topic           the pod and the model in a message's topic
//!   feed  feeds     one publisher, and all publishers of a pool
//! ```
//!
//! ```
//! use slotwise::KvEvent;
//! use slotwise_wire::kv::Feed;
//!
//! // [1.5, [["BlockStored", [7], nil, [0, 1, 2, 3], 4, nil, "GPU"]]], as vLLM 0.23 sends it.
//! let payload = b"\x92\xcb\x3f\xf8\0\0\0\0\0\0\x91\x97\xabBlockStored\
//!     \x91\x07\xc0\x94\x00\x01\x02\x03\x04\xc0\xa3GPU";
//! let frames: [&[u8]; 3] = [b"", &0_u64.to_be_bytes(), payload];
//! let mut tokens = Vec::new();
//! let mut feed = Feed::new();
//! let report = feed.handle_live(&frames, &mut |event| {
//!     if let KvEvent::BlockStored(stored) = event {
//!         tokens.extend_from_slice(stored.tokens.unwrap_or_default());
//!     }
//!     Ok(())
//! })?;
//! assert_eq!((report.batches, report.stored_blocks, report.ask), (1, 1, None));
//! assert_eq!(tokens, [0, 1, 2, 3]);
//! # Ok::<(), slotwise_wire::WireError>(())
//! ```

#[cfg_attr(
    not(feature = "internals"),
    expect(dead_code, unreachable_pub, reason = "public with the feature `internals`")
)]
mod batch;
#[cfg_attr(
    not(feature = "internals"),
    expect(unreachable_pub, reason = "public with the feature `internals`")
)]
mod decoder;
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
mod topic;
mod trtllm;
mod vllm;

pub use batch::SkippedEvents;
pub use feed::{EventSink, Feed, Report};
pub use feeds::Feeds;
pub use frames::replay_request;
pub use topic::Topic;

/// The parts of a [`Feed`], with the feature `internals` only.
///
/// They are for this repository's bindings, fuzz targets and benches, and outside semantic
/// versioning.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use super::batch::{Batch, Events};
    pub use super::decoder::Decoder;
    pub use super::frames::Message;
    pub use super::sequence::{Answer, Sequence};
}
