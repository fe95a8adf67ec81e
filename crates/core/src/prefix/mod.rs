//! The prefix index: how many tokens of a prompt each endpoint has cached.
//!
//! [`PromptHasher`] turns a prompt into a chain of block hashes. [`PrefixIndex`] stores which
//! endpoint holds which blocks, and applies what engines report in a [`KvEvent`].
//! `SharedPrefixIndex` and `MirroredPrefixIndex` (feature `std`) are the same index for several
//! threads: in one copy, and in two so that lookups never wait.
//!
//! | file | content, from low to high: no file imports one below it in this table |
//! |---|---|
//! | `hash`, `keyed_state` | chained block hashes, and the hasher of tables |
//! | `event`, `limits` | KV events, limits, descriptions of caches and uses |
//! | `address`, `set`, `warm` | places of blocks, sets of endpoints, the warm window |
//! | `locks`, `stepped_lock` | a value that is changed in steps while others read it |
//! | `mirror` | a value in two copies, of which one is read while the other is changed |
//! | `block_state`, `codec`, `unconfirmed` | block states, snapshot format, unconfirmed prompts |
//! | `engine_names`, `table`, `totals` | engine hashes, addresses by hash, totals of an endpoint |
//! | `runs` | blocks, each stored once, and their holders |
//! | `holding` | the blocks of one endpoint, their evidence and eviction order |
//! | `tournament` | the endpoint with the most estimated blocks |
//! | `index` | the index, from runs and holdings |
//! | `last_uses` | when a request's expected blocks were last used |
//! | `estimated`, `stored`, `snapshot` | changes by requests, by events, and by snapshots |
//! | `shared`, `mirrored` | the index between threads, in one copy and in two |
//! | `internals`, `check` | internal access to the index |

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
mod last_uses;
mod limits;
#[cfg(feature = "std")]
mod locks;
#[cfg(feature = "std")]
mod mirror;
#[cfg(feature = "std")]
mod mirrored;
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
mod tournament;
mod unconfirmed;
mod warm;

pub use codec::SnapshotError;
pub use event::{BlockRemoved, BlockStored, EngineHash, KvEvent, KvEventError, Tier};
pub use hash::{BlockHash, Namespace, PromptHasher};
pub use index::PrefixIndex;
pub(crate) use last_uses::LastUses;
pub use limits::{BlockUse, CacheSpec, IndexFull, IndexLimits, StoreError};
#[cfg(feature = "std")]
pub use mirrored::MirroredPrefixIndex;
pub use set::EndpointSet;
#[cfg(feature = "std")]
pub use shared::SharedPrefixIndex;
