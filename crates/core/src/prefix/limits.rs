//! How much the index may hold, and how the caches behave that it is about.

use core::time::Duration;

use crate::endpoint::EvictionOrder;
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
    /// Entries over the whole pool: an endpoint and a block that it holds are one, and an engine's name for a block is
    /// another, and so is a block that nobody holds while somebody holds what comes behind it. When it is reached, the endpoint that is assumed to hold most gives up its oldest
    /// assumed blocks; what engines say that they hold is given up by nobody.
    pub entries: usize,
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
            entries: 16 << 20,
            warm_window: Duration::from_secs(90),
            confirm_within: Duration::from_secs(2),
        }
    }
}

/// How one endpoint's cache behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two things that an LRU cache can be asked")]
pub struct Cache {
    /// Tokens that fit. What it is assumed to hold never exceeds this.
    pub capacity: u32,
    /// Which of the blocks that were last used together goes first.
    pub order: EvictionOrder,
}

/// One use of a prompt's blocks.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "when, by which dispatch, in which unit: there is nothing else to say"
)]
pub struct Use {
    /// Which use of this endpoint's cache it is; rises from use to use.
    pub stamp: u64,
    /// Tokens in a block.
    pub block_tokens: u32,
    /// When.
    pub now: Instant,
    /// Whether the blocks are there by now, and not only on their way.
    pub computed: bool,
}

/// The index holds as many blocks as it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct IndexFull;
