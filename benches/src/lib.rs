//! Seeded workloads for the benchmarks and for `instructions`, which counts their instructions.
//!
//! - [`prompts`]: prompts that share prefixes as chats do.
//! - [`LoadedPool`]: a scheduler whose endpoints have served traffic.
//! - [`ProfilePool`]: a scheduler that chooses by a scheduling profile.
//! - [`FullQueue`]: a scheduler in which many requests are queued.

mod pool;
mod profile;
mod prompts;
mod queue;

pub use pool::LoadedPool;
pub use profile::ProfilePool;
pub use prompts::{Prompt, prompts};
pub use queue::FullQueue;

/// The model that every request of these workloads names.
pub const MODEL: &str = "llama-3.1-8b";
