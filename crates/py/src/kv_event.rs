//! KV events as Python objects: `slotwise.BlockStored` and the others, distinguished by `kind`.

use std::num::NonZeroU32;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use slotwise::{BlockRemoved, BlockStored, EngineHash, KvEvent, Tier};

use crate::error::named;
use crate::prompt::integers;

/// An event, copied from Python.
pub(crate) enum Event {
    Stored(Box<Stored>),
    Removed { blocks: Vec<EngineHash>, tier: Tier },
    Cleared,
}

pub(crate) struct Stored {
    blocks: Vec<EngineHash>,
    block_size: NonZeroU32,
    parent: Option<u64>,
    tokens: Option<Vec<u32>>,
    lookahead: Vec<u32>,
    tier: Tier,
    model: Option<String>,
    adapter: Option<String>,
    cache_salt: Option<String>,
}

impl Event {
    pub(crate) fn read(event: &Bound<'_, PyAny>) -> PyResult<Self> {
        let kind = event.getattr("kind").and_then(|kind| kind.extract::<String>());
        match kind.as_deref() {
            Ok("stored") => Ok(Self::Stored(Box::new(Stored::read(event)?))),
            Ok("removed") => Ok(Self::Removed { blocks: hashes(event)?, tier: tier(event)? }),
            Ok("cleared") => Ok(Self::Cleared),
            _ => Err(PyTypeError::new_err(format!(
                "event must be BlockStored, BlockRemoved or AllBlocksCleared, not {}",
                event.get_type()
            ))),
        }
    }

    /// The number of blocks in the event.
    pub(crate) fn blocks(&self) -> usize {
        match self {
            Self::Stored(stored) => stored.blocks.len(),
            Self::Removed { blocks, .. } => blocks.len(),
            Self::Cleared => usize::MAX,
        }
    }

    /// Passes the event on as the core's type.
    pub(crate) fn with<T>(&self, tell: impl FnOnce(KvEvent<'_>) -> T) -> T {
        match self {
            Self::Stored(stored) => {
                let mut event =
                    BlockStored::new(&stored.blocks, stored.block_size).tier(stored.tier);
                event.parent = stored.parent.map(EngineHash);
                event.tokens = stored.tokens.as_deref();
                event.lookahead = &stored.lookahead;
                event.model = stored.model.as_deref();
                event.adapter = stored.adapter.as_deref();
                event.cache_salt = stored.cache_salt.as_deref();
                tell(KvEvent::BlockStored(event))
            }
            Self::Removed { blocks, tier } => {
                tell(KvEvent::BlockRemoved(BlockRemoved::new(blocks).tier(*tier)))
            }
            Self::Cleared => tell(KvEvent::AllBlocksCleared),
        }
    }
}

impl Stored {
    fn read(event: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tokens = event.getattr("tokens")?;
        let tokens = (!tokens.is_none()).then(|| integers(&tokens, "token id")).transpose()?;
        Ok(Self {
            blocks: hashes(event)?,
            block_size: event.getattr("block_size")?.extract()?,
            parent: event.getattr("parent")?.extract()?,
            tokens,
            lookahead: integers(&event.getattr("lookahead")?, "token id")?,
            tier: tier(event)?,
            model: event.getattr("model")?.extract()?,
            adapter: event.getattr("adapter")?.extract()?,
            cache_salt: event.getattr("cache_salt")?.extract()?,
        })
    }
}

fn hashes(event: &Bound<'_, PyAny>) -> PyResult<Vec<EngineHash>> {
    let names = integers::<u64>(&event.getattr("blocks")?, "block hash")?;
    Ok(names.into_iter().map(EngineHash).collect())
}

fn tier(event: &Bound<'_, PyAny>) -> PyResult<Tier> {
    let tier = event.getattr("tier")?;
    match tier.extract() {
        Ok(name) => named("tier", name),
        Err(_) => named("tier", tier.repr()?.to_str()?),
    }
}
