//! Limits of the index, and descriptions of the endpoints' caches.

use core::time::Duration;

use crate::endpoint::CacheEvictionOrder;
use crate::time::Instant;

/// Limits of the index's memory and retention.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct IndexLimits {
    /// Limit of slots.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub slots: usize,
    /// Limit of bytes allocated for held blocks; an endpoint without blocks takes less than a
    /// kilobyte outside it. At the limit, the endpoint with the largest estimate loses its oldest
    /// estimated blocks. Blocks that engines report are never evicted; an event that does not fit
    /// is rejected.
    pub bytes: usize,
    /// Blocks used within this time belong to an endpoint's warm working set.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub warm_window: Duration,
    /// Time after a first token within which an engine with events must confirm the prompt's
    /// blocks.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub confirm_within: Duration,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self {
            slots: 1 << 16,
            bytes: 1 << 30,
            warm_window: Duration::from_secs(90),
            confirm_within: Duration::from_secs(2),
        }
    }
}

/// The description of one endpoint's cache.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an LRU cache has a capacity and an order")]
pub struct CacheSpec {
    /// Capacity in tokens; the estimate of its contents never exceeds it.
    pub capacity: u32,
    /// The eviction order among blocks that were last used together.
    pub order: CacheEvictionOrder,
}

/// One use of a prompt's blocks.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the number, unit, time and kind of a use are complete"
)]
pub struct BlockUse {
    /// The number of the use, which rises for each endpoint.
    pub stamp: u64,
    /// Tokens in a block.
    pub block_tokens: u32,
    /// The time of the use.
    pub now: Instant,
    /// Whether the blocks are computed already.
    pub computed: bool,
}

/// Why an event's blocks were not stored. None of them was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The parent is unknown to the index, because events were lost.
    UnknownParent,
    /// The limit of bytes could be exceeded, even without any estimates.
    Full,
}

/// The slot is not below [`IndexLimits::slots`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the condition has no details")]
pub struct IndexFull;
