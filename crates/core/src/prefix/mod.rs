//! Which endpoint holds how much of a prompt.
//!
//! [`hash`](PromptHasher) turns a prompt into a chain of block hashes, [`PrefixIndex`] knows which endpoint holds which of
//! them, and [`KvEvent`] is what engines say about it themselves. `SharedPrefixIndex` is that index between threads.

mod address;
mod block_state;
#[cfg(any(test, feature = "internals"))]
mod check;
pub(crate) mod codec;
mod engine_names;
mod estimated;
mod event;
pub(crate) mod hash;
mod holding;
mod index;
#[cfg(feature = "internals")]
pub mod internals;
pub(crate) mod keyed_state;
mod limits;
mod runs;
mod set;
#[cfg(feature = "std")]
mod shared;
mod snapshot;
#[cfg(feature = "std")]
mod stepped_lock;
mod stored;
mod table;
mod totals;
mod unconfirmed;
mod warm;

pub use codec::SnapshotError;
pub use event::{BlockRemoved, BlockStored, EngineHash, KvEvent, KvEventError, Tier};
pub use hash::{BlockHash, Namespace, PromptHasher};
pub use index::PrefixIndex;
pub use limits::{BlockUse, CacheSpec, IndexFull, IndexLimits, StoreError};
pub use set::EndpointSet;
#[cfg(feature = "std")]
pub use shared::SharedPrefixIndex;
