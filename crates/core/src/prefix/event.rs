//! KV events: the changes of an engine's KV cache that it publishes.

use core::fmt;
use core::num::NonZeroU32;

use crate::endpoint::EndpointId;

/// The hash by which an engine identifies a block. Opaque: engines need not agree on it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[expect(
    clippy::exhaustive_structs,
    reason = "64 bits with a meaning, and they will never be more"
)]
pub struct EngineHash(pub u64);

impl fmt::Display for EngineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where an engine keeps a block; nearer tiers are faster.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "every index counts copies in each of them")]
pub enum Tier {
    /// The accelerator's memory.
    #[default]
    Gpu,
    /// The host's memory.
    Cpu,
    /// Disk, or storage over the network.
    Disk,
}

impl Tier {
    /// All tiers, nearest first.
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Cpu, Self::Disk];

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One change of an engine's KV cache.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KvEvent<'a> {
    /// Blocks were computed, each the child of the one before it.
    BlockStored(BlockStored<'a>),
    /// Blocks were removed.
    BlockRemoved(BlockRemoved<'a>),
    /// All blocks were removed.
    AllBlocksCleared,
}

/// New consecutive blocks.
///
/// With token ids, the blocks match prompts of token ids. Without, the engine's hashes are the
/// chain itself, and match [`Prompt::Blocks`](crate::Prompt::Blocks) with equal hashes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockStored<'a> {
    /// The engine's hashes of the blocks, in order.
    pub blocks: &'a [EngineHash],
    /// The engine's hash of the block before the first; `None` at the beginning of a prompt.
    pub parent: Option<EngineHash>,
    /// Token ids of all the blocks.
    pub tokens: Option<&'a [u32]>,
    /// Token ids after the last block that its hash also covers; each block's hash covers as many.
    pub lookahead: &'a [u32],
    /// Tokens in a block.
    pub block_size: NonZeroU32,
    /// The tier that holds them.
    pub tier: Tier,
    /// The base model; `None` is the endpoint's model under any name.
    pub model: Option<&'a str>,
    /// The LoRA adapter.
    pub adapter: Option<&'a str>,
    /// The cache salt.
    pub cache_salt: Option<&'a str>,
}

impl<'a> BlockStored<'a> {
    /// Blocks at the beginning of a prompt, by their hashes only.
    pub const fn new(blocks: &'a [EngineHash], block_size: NonZeroU32) -> Self {
        Self {
            blocks,
            parent: None,
            tokens: None,
            lookahead: &[],
            block_size,
            tier: Tier::Gpu,
            model: None,
            adapter: None,
            cache_salt: None,
        }
    }

    /// The block that they continue.
    pub const fn parent(self, parent: EngineHash) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// Their token ids.
    pub const fn tokens(self, ids: &'a [u32]) -> Self {
        Self { tokens: Some(ids), ..self }
    }

    /// Token ids after the last block that its hash also covers.
    pub const fn lookahead(self, ids: &'a [u32]) -> Self {
        Self { lookahead: ids, ..self }
    }

    /// The tier that holds them.
    pub const fn tier(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }

    /// The base model.
    pub const fn model(self, model: &'a str) -> Self {
        Self { model: Some(model), ..self }
    }

    /// The LoRA adapter.
    pub const fn adapter(self, adapter: &'a str) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    /// The cache salt.
    pub const fn cache_salt(self, salt: &'a str) -> Self {
        Self { cache_salt: Some(salt), ..self }
    }
}

/// Removed blocks. Unknown hashes are ignored, because engines announce some removals twice.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockRemoved<'a> {
    /// The engine's hashes of the blocks.
    pub blocks: &'a [EngineHash],
    /// The tier that they were removed from; another tier may still hold them.
    pub tier: Tier,
}

impl<'a> BlockRemoved<'a> {
    /// Blocks that were removed from the first tier.
    pub const fn new(blocks: &'a [EngineHash]) -> Self {
        Self { blocks, tier: Tier::Gpu }
    }

    /// The tier that they were removed from.
    pub const fn tier(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }
}

/// Why an event was rejected. None of it was applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KvEventError {
    /// No endpoint has this id, or it was removed.
    UnknownEndpoint(EndpointId),
    /// The parent block is unknown because events were lost. Ask the engine to replay them.
    UnknownParent(EngineHash),
    /// The number of token ids is not blocks times block size, or the lookahead's length has
    /// changed.
    #[non_exhaustive]
    TokenCount {
        /// Blocks times block size.
        expected: usize,
        /// Token ids in the event.
        got: usize,
    },
    /// The block size differs from that of the endpoint's blocks. Clear or update the endpoint.
    #[non_exhaustive]
    BlockSize {
        /// The endpoint's block size.
        expected: NonZeroU32,
        /// The event's.
        got: NonZeroU32,
    },
    /// The index has reached its limit of bytes. Removals were lost, or the limit is too low for
    /// the pool.
    Full,
}

impl KvEventError {
    /// A stable code for logs and other languages; it does not change with the message.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownEndpoint(_) => "unknown_endpoint",
            Self::UnknownParent(_) => "unknown_parent",
            Self::TokenCount { .. } => "token_count",
            Self::BlockSize { .. } => "block_size",
            Self::Full => "index_full",
        }
    }
}

impl fmt::Display for KvEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEndpoint(id) => write!(f, "unknown {id}"),
            Self::UnknownParent(hash) => {
                write!(f, "unknown parent block {hash}: events were lost, replay them")
            }
            Self::TokenCount { expected, got } => {
                write!(f, "expected {expected} token ids, got {got}")
            }
            Self::BlockSize { expected, got } => {
                write!(
                    f,
                    "the event's blocks have {got} tokens, the endpoint's {expected}: \
                     update the endpoint"
                )
            }
            Self::Full => {
                f.write_str("the prefix index is full: replay the events, or raise its limit")
            }
        }
    }
}

impl core::error::Error for KvEventError {}
