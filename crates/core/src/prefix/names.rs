//! What an engine calls the blocks that it stores: a dictionary of its own for each endpoint, since engines need not agree.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use super::event::EngineHash;
use super::hash::BlockHash;
use super::keyed::Keyed;

/// One engine's names.
#[derive(Debug)]
pub(super) struct Names {
    blocks: HashMap<EngineHash, BlockHash, Keyed>,
    /// Names that were removed lately. Engines keep several copies of a block and announce the end of one of them, so
    /// what they call gone may go on to have children.
    removed: VecDeque<(EngineHash, BlockHash)>,
}

/// What a name meant before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Renamed {
    /// What it means now.
    Same,
    /// Another block.
    From(BlockHash),
    /// Nothing.
    New,
}

/// How many removed names are remembered.
const REMOVED: usize = 64;

/// Room that is not worth giving back.
const SPARE: usize = 64;

impl Names {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self { blocks: HashMap::with_hasher(keyed), removed: VecDeque::new() }
    }

    /// The engine calls `hash` by `name` from now on. The block that it called so before, if it was another or none.
    pub(super) fn rename(&mut self, name: EngineHash, hash: BlockHash) -> Renamed {
        match self.blocks.insert(name, hash) {
            Some(before) if before == hash => Renamed::Same,
            Some(before) => Renamed::From(before),
            None => Renamed::New,
        }
    }

    /// The engine no longer calls any block by `name`; the block that it called so.
    pub(super) fn remove(&mut self, name: EngineHash) -> Option<BlockHash> {
        let hash = self.blocks.remove(&name)?;
        if self.removed.len() == REMOVED {
            self.removed.pop_front();
        }
        self.removed.push_back((name, hash));
        if self.blocks.capacity() > 4 * self.blocks.len() + SPARE {
            self.blocks.shrink_to(2 * self.blocks.len());
        }
        Some(hash)
    }

    /// The block that the engine calls `name`, or called so until lately.
    pub(super) fn get(&self, name: EngineHash) -> Option<BlockHash> {
        let removed = || self.removed.iter().rev().find(|(removed, _)| *removed == name);
        self.blocks.get(&name).copied().or_else(|| removed().map(|(_, hash)| *hash))
    }

    /// Whether the engine has a block of that name now.
    pub(super) fn contains(&self, name: EngineHash) -> bool {
        self.blocks.contains_key(&name)
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }
}
