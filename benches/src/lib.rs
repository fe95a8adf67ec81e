//! Seeded workloads for the benchmarks and for `instructions`, which counts their instructions.
//!
//! - [`prompts`]: prompts that share prefixes as chats do.
//! - [`LoadedPool`]: a scheduler whose endpoints have served traffic.
//! - [`ProfilePool`]: a scheduler that chooses by a scheduling profile.
//! - [`HeldPrompts`]: a prefix index that engines' events of one block change.
//! - [`SharedPool`]: a gateway, and the messages between it and 15 others.
//! - [`FullQueue`]: a scheduler in which many requests are queued.
//! - [`chat_body`], [`agent`], [`blocks`], [`METRICS_PAGE`] and others: bytes of clients and
//!   engines.
//! - [`Soak`]: a large gateway under steady traffic, with the times of its calls ([`CallTimes`]).

mod blocks;
mod call_times;
mod peers;
mod pool;
mod profile;
mod prompts;
mod queue;
mod soak;
mod wire;

pub use blocks::HeldPrompts;
pub use call_times::CallTimes;
pub use peers::SharedPool;
pub use pool::LoadedPool;
pub use profile::ProfilePool;
pub use prompts::{Prompt, prompts};
pub use queue::FullQueue;
pub use soak::{Soak, SoakMinute, SoakSize};
pub use wire::{
    KEYS, METRICS_PAGE, SENTENCE, agent, blocks, chat_body, later_metrics_pages, many_messages,
    prose, token_ids,
};

/// The model that every request of these workloads names.
pub const MODEL: &str = "llama-3.1-8b";
