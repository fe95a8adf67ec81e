//! How much the index may hold, and how the caches behave that it is about.

use core::time::Duration;

use crate::endpoint::CacheEvictionOrder;
use crate::time::Instant;

/// What the index may grow to, and how long it remembers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct IndexLimits {
    /// Slots that endpoints may have.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub slots: usize,
    /// Bytes that the index may allocate for what endpoints hold; the account of an endpoint that holds nothing, less than a kilobyte, is
    /// not in it. When they are used up, the endpoint that is assumed to hold most gives up its oldest assumed
    /// blocks; what engines say that they hold is given up by nobody, so that an event for which there is no room then is refused.
    pub bytes: usize,
    /// Blocks used within this time belong to an endpoint's warm working set.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub warm_window: Duration,
    /// An engine that publishes events has this long after a first token to confirm the prompt's blocks.
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

/// How one endpoint's cache behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two things that an LRU cache can be asked")]
pub struct CacheSpec {
    /// Tokens that fit. What it is assumed to hold never exceeds this.
    pub capacity: u32,
    /// Which of the blocks that were last used together goes first.
    pub order: CacheEvictionOrder,
}

/// One use of a prompt's blocks.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "when, by which dispatch, in which unit: there is nothing else to say"
)]
pub struct BlockUse {
    /// Which use of this endpoint's cache it is; rises from use to use.
    pub stamp: u64,
    /// Tokens in a block.
    pub block_tokens: u32,
    /// When.
    pub now: Instant,
    /// Whether the blocks are there by now, and not only on their way.
    pub computed: bool,
}

/// Why an event's blocks were not stored. None of them was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The endpoint's engine has no block that it calls as the event calls the parent: events were lost.
    UnknownParent,
    /// There may not be enough room, also without any assumption.
    Full,
}

/// The index holds as much as it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct IndexFull;
