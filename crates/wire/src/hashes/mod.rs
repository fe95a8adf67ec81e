//! Recomputes hashes of blocks: vLLM's names, and the keys of the reference's indexes.
//!
//! Routing does not need them: KV events carry token ids, and the scheduler's index has its own
//! hash. Use them to verify an engine's events, or to share an index that is keyed by one of these
//! hashes.
//!
//! | file | content |
//! |---|---|
//! | `vllm`, `extra_keys`, `pickle` | vLLM's names: `sha256`, `xxhash`, both with `_cbor` too |
//! | `approximate` | the reference's `approx-prefix-cache-producer`: hashes of prompts |
//! | `request_keys` | its `precise-prefix-cache-producer`: `cbor-fnv` and `xxh64` |
//! | `key_mapping` | its mapping from an engine's blocks to blocks of another size |
//! | `cbor` | canonical CBOR |
//!
//! The reference is the Endpoint Picker of the Gateway API inference extension, now
//! `llm-d-router`.

mod approximate;
mod cbor;
mod extra_keys;
mod key_mapping;
mod pickle;
mod request_keys;
mod vllm;

pub use approximate::{ApproximateHasher, MAX_PREFIX_TOKENS, MIN_BLOCK_TOKENS, pack_tokens};
pub use extra_keys::{Adapter, ExtraKeys, Tagging};
pub use key_mapping::{align_extra_keys, map_engine_keys};
pub use request_keys::{ExtraKeysMismatch, KeyAlgorithm, RequestKeyHasher};
pub use vllm::{Algorithm, BlockDigest, BlockHasher, DEFAULT_SEED};
