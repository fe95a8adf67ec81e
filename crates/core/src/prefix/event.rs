//! What an engine publishes about its KV cache.

use core::fmt;
use core::num::NonZeroU32;

use crate::endpoint::EndpointId;

/// The hash by which an engine names one of its blocks. Opaque: engines need not agree with each other, nor with us.
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

/// Where an engine keeps a block: the nearer, the sooner it can be used.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "every index counts copies in each of them")]
pub enum Tier {
    /// The accelerator's own memory.
    #[default]
    Gpu,
    /// The host's memory.
    Cpu,
    /// Disk, or storage over the network.
    Disk,
}

impl Tier {
    /// All of them, the nearest first.
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
    /// Blocks are gone.
    BlockRemoved(BlockRemoved<'a>),
    /// Everything is gone.
    AllBlocksCleared,
}

/// A stretch of new blocks.
///
/// With token ids, the blocks match the prompts of requests that bring token ids. Without, the engine's hashes are taken
/// for the chain itself, and match [`Prompt::Blocks`](crate::Prompt::Blocks) of the same hashes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockStored<'a> {
    /// The engine's names for the blocks, in order.
    pub blocks: &'a [EngineHash],
    /// The engine's name for the block before the first; none at the beginning of a prompt.
    pub parent: Option<EngineHash>,
    /// Token ids of all the blocks.
    pub tokens: Option<&'a [u32]>,
    /// Token ids behind the last block that its hash covers as well; of as many tokens are the blocks before it.
    pub lookahead: &'a [u32],
    /// Tokens in a block.
    pub block_size: NonZeroU32,
    /// Where they are kept.
    pub tier: Tier,
    /// The base model; none means the endpoint's, whatever requests call it.
    pub model: Option<&'a str>,
    /// The LoRA adapter.
    pub adapter: Option<&'a str>,
    /// The cache salt.
    pub cache_salt: Option<&'a str>,
}

impl<'a> BlockStored<'a> {
    /// Blocks at the beginning of a prompt, with their names only.
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

    /// Token ids behind the last block that its hash covers as well.
    pub const fn lookahead(self, ids: &'a [u32]) -> Self {
        Self { lookahead: ids, ..self }
    }

    /// Where they are kept.
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

/// Blocks that are gone. Names that mean nothing are ignored: engines announce removals twice.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockRemoved<'a> {
    /// The engine's names for the blocks.
    pub blocks: &'a [EngineHash],
    /// Where they are gone from. They may still be in another tier.
    pub tier: Tier,
}

impl<'a> BlockRemoved<'a> {
    /// Blocks that are gone from the first tier.
    pub const fn new(blocks: &'a [EngineHash]) -> Self {
        Self { blocks, tier: Tier::Gpu }
    }

    /// Where they are gone from.
    pub const fn tier(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }
}

/// Why an event was not applied. Nothing of it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KvEventError {
    /// There is no such endpoint (any more).
    UnknownEndpoint(EndpointId),
    /// The parent block is not known: events were lost. Ask the engine to replay them.
    UnknownParent(EngineHash),
    /// The number of token ids is not the number of blocks times the block size, with as many behind them as before.
    #[non_exhaustive]
    TokenCount {
        /// Blocks times block size.
        expected: usize,
        /// Token ids in the event.
        got: usize,
    },
    /// The engine's blocks are not as long as those that the endpoint holds: clear it, or update the endpoint.
    #[non_exhaustive]
    BlockSize {
        /// The endpoint's block size.
        expected: NonZeroU32,
        /// The event's.
        got: NonZeroU32,
    },
    /// The index is at its limit in bytes: removals were lost, or the limit is too low for the pool.
    Full,
}

impl KvEventError {
    /// Its name in other languages and in logs; it stays the same when the message changes.
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
                    "the event's blocks have {got} tokens, the endpoint's {expected}: update the endpoint"
                )
            }
            Self::Full => {
                f.write_str("the prefix index is full: replay the events, or raise its limit")
            }
        }
    }
}

impl core::error::Error for KvEventError {}
