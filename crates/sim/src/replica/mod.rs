//! One model server, as vLLM runs it: continuous batching with chunked prefill over paged KV
//! memory.
//!
//! A step computes up to `max_batched_tokens` tokens: first one for every sequence that decodes,
//! then the rest of prompts that have begun, then waiting requests, first come, first served. A
//! sequence that finds no KV memory preempts the newest one, which starts over later.
//!
//! Three things are simpler than in vLLM:
//!
//! - Answers are not kept in the prefix cache, since traces do not name their blocks in the next
//!   prompt.
//! - Two requests that compute the same block at the same time share one copy.
//! - The metrics page is always up to date, where vLLM's changes once a step.

mod adapters;
mod class;
mod engine;
mod kv;

pub use adapters::AdapterRanks;
pub use class::{CLASSES, Class, ClassMix, PER_SEQUENCE, Source};
pub use engine::{Engine, EngineConfig, Job, KvChange, Snapshot, StepOutcome};
