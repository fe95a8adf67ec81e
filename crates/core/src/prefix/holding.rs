//! What one endpoint holds, block by block: why we believe it, and which block its cache gives up next.
//!
//! A block is held because requests that we sent there must have left it (*assumed*), because the engine said so
//! (*stored*), or both. Assumed blocks form a list from the least to the most recently used, in which the blocks of one
//! prompt lie tail first: the order in which vLLM frees them. Stored blocks leave when the engine says so.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::event::EngineHash;
use super::hash::BlockHash;
use super::index::Use;
use super::keyed::Keyed;
use super::warm::{Bucket, WarmWindow};
use crate::time::Instant;

/// What one endpoint holds.
#[derive(Debug)]
pub(super) struct Holding {
    places: HashMap<BlockHash, Place, Keyed>,
    blocks: Vec<Block>,
    free: Vec<Place>,
    oldest: Option<Place>,
    newest: Option<Place>,
    names: HashMap<EngineHash, BlockHash, Keyed>,
    assumed_tokens: u64,
    stored_tokens: u64,
    warm: WarmWindow,
}

/// An index into `blocks`.
type Place = u32;

#[derive(Debug)]
struct Block {
    hash: BlockHash,
    tokens: u32,
    /// Neighbours in order of use; only of assumed blocks.
    older: Option<Place>,
    newer: Option<Place>,
    assumed: bool,
    /// Names under which the engine stores it. Usually one; several where the engine tells blocks apart that we do not.
    names: u32,
    /// The dispatch that brought it, and the one that used it last.
    born: u64,
    used: u64,
    bucket: Bucket,
}

impl Holding {
    pub(super) fn new(keyed: Keyed, warm: WarmWindow) -> Self {
        Self {
            places: HashMap::with_hasher(keyed),
            blocks: Vec::new(),
            free: Vec::new(),
            oldest: None,
            newest: None,
            names: HashMap::with_hasher(keyed),
            assumed_tokens: 0,
            stored_tokens: 0,
            warm,
        }
    }

    /// Takes `hash` to be held from now on, most recently used of all; whether it was not held before.
    pub(super) fn assume(&mut self, hash: BlockHash, used: Use) -> bool {
        let (place, new) = self.enter(hash, used);
        let block = &mut self.blocks[place as usize];
        if block.assumed {
            self.unlink(place);
        } else {
            block.assumed = true;
            self.assumed_tokens += u64::from(block.tokens);
        }
        self.link_newest(place);
        new
    }

    /// Counts a use of `hash` that does not make it assumed; nothing happens unless it is held.
    pub(super) fn touch(&mut self, hash: BlockHash, used: Use) {
        if self.places.contains_key(&hash) {
            self.enter(hash, used);
        }
    }

    /// The engine stores `hash` under `name`; whether it was not held before.
    ///
    /// If the name meant another block, that one is no longer stored under it, and is the second answer if it left.
    pub(super) fn store(
        &mut self,
        name: EngineHash,
        hash: BlockHash,
        used: Use,
    ) -> (bool, Option<BlockHash>) {
        let left = match self.names.insert(name, hash) {
            Some(before) if before == hash => return (false, None),
            Some(before) => self.unname(before),
            None => None,
        };
        let (place, new) = self.enter(hash, used);
        let block = &mut self.blocks[place as usize];
        if block.names == 0 {
            self.stored_tokens += u64::from(block.tokens);
        }
        block.names += 1;
        (new, left)
    }

    /// The engine no longer has the block that it calls `name`; returns the block if it left.
    ///
    /// A block that was only assumed under that hash goes too: the engine knows better.
    pub(super) fn remove(&mut self, name: EngineHash) -> Option<BlockHash> {
        let hash = self.names.remove(&name)?;
        self.unname(hash)
    }

    /// Forgets one assumed block if `when` holds for it; returns it if it left.
    pub(super) fn forget(&mut self, hash: BlockHash, when: impl FnOnce(Life) -> bool) -> Option<BlockHash> {
        let place = *self.places.get(&hash)?;
        let block = &self.blocks[place as usize];
        let life = Life { born: block.born, used: block.used, stored: block.names > 0 };
        if block.assumed && when(life) { self.unassume(place) } else { None }
    }

    /// The assumed block that the cache gives up next.
    pub(super) fn oldest(&self) -> Option<(BlockHash, Life)> {
        let block = &self.blocks[self.oldest? as usize];
        Some((block.hash, Life { born: block.born, used: block.used, stored: block.names > 0 }))
    }

    /// Gives up that block: it is no longer assumed. Returns it if it left.
    pub(super) fn evict_oldest(&mut self) -> Option<BlockHash> {
        self.unassume(self.oldest?)
    }

    /// When `hash` was last used by a dispatch.
    pub(super) fn last_use(&self, hash: BlockHash) -> Option<u64> {
        self.places.get(&hash).map(|place| self.blocks[*place as usize].used)
    }

    /// The block that the engine calls `name`.
    pub(super) fn named(&self, name: EngineHash) -> Option<BlockHash> {
        self.names.get(&name).copied()
    }

    /// All blocks, in no order that means anything but always in the same one.
    pub(super) fn hashes(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.blocks.iter().filter(|block| block.assumed || block.names > 0).map(|block| block.hash)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    pub(super) const fn assumed_tokens(&self) -> u64 {
        self.assumed_tokens
    }

    pub(super) const fn stored_tokens(&self) -> u64 {
        self.stored_tokens
    }

    pub(super) fn warm_tokens(&self, now: Instant) -> u64 {
        self.warm.tokens(now)
    }

    /// Finds or makes the block, and counts the use.
    fn enter(&mut self, hash: BlockHash, used: Use) -> (Place, bool) {
        if let Some(&place) = self.places.get(&hash) {
            let block = &mut self.blocks[place as usize];
            self.warm.remove(block.bucket, block.tokens);
            block.bucket = self.warm.add(used.now, block.tokens);
            block.used = used.stamp;
            return (place, false);
        }
        let block = Block {
            hash,
            tokens: used.block_tokens,
            older: None,
            newer: None,
            assumed: false,
            names: 0,
            born: used.stamp,
            used: used.stamp,
            bucket: self.warm.add(used.now, used.block_tokens),
        };
        let place = if let Some(place) = self.free.pop() {
            self.blocks[place as usize] = block;
            place
        } else {
            self.blocks.push(block);
            (self.blocks.len() - 1) as Place
        };
        self.places.insert(hash, place);
        (place, true)
    }

    fn unname(&mut self, hash: BlockHash) -> Option<BlockHash> {
        let place = *self.places.get(&hash)?;
        let block = &mut self.blocks[place as usize];
        block.names = block.names.saturating_sub(1);
        if block.names > 0 {
            return None;
        }
        self.stored_tokens -= u64::from(block.tokens);
        if block.assumed { self.unassume(place) } else { self.leave(place) }
    }

    fn unassume(&mut self, place: Place) -> Option<BlockHash> {
        self.unlink(place);
        let block = &mut self.blocks[place as usize];
        block.assumed = false;
        self.assumed_tokens -= u64::from(block.tokens);
        if block.names > 0 { None } else { self.leave(place) }
    }

    fn leave(&mut self, place: Place) -> Option<BlockHash> {
        let block = &self.blocks[place as usize];
        let hash = block.hash;
        self.warm.remove(block.bucket, block.tokens);
        self.places.remove(&hash);
        self.free.push(place);
        Some(hash)
    }

    fn link_newest(&mut self, place: Place) {
        let before = self.newest.replace(place);
        let block = &mut self.blocks[place as usize];
        block.older = before;
        block.newer = None;
        match before {
            Some(before) => self.blocks[before as usize].newer = Some(place),
            None => self.oldest = Some(place),
        }
    }

    fn unlink(&mut self, place: Place) {
        let block = &mut self.blocks[place as usize];
        let (older, newer) = (block.older.take(), block.newer.take());
        match older {
            Some(older) => self.blocks[older as usize].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.blocks[newer as usize].older = older,
            None => self.newest = older,
        }
    }
}

/// The dispatches that brought a block and that used it last, and whether the engine says that it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) born: u64,
    pub(super) used: u64,
    pub(super) stored: bool,
}
