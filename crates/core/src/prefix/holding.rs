//! What one endpoint holds, block by block: why we believe it, and which block its cache gives up next.
//!
//! A block is held because requests that we sent there must have left it (*assumed*), because the engine said so
//! (*stored*), or both. Assumed blocks form a list from the least to the most recently used, in which the blocks of one
//! prompt lie tail first: the order in which vLLM frees them. Stored blocks leave when the engine says so.

use alloc::collections::VecDeque;
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
    /// Densely packed: a block that leaves is replaced by the last one.
    blocks: Vec<Block>,
    oldest: Option<Place>,
    newest: Option<Place>,
    names: HashMap<EngineHash, BlockHash, Keyed>,
    /// Names that were removed lately. Engines keep several copies of a block and announce the end of one of them, so
    /// what they call gone may go on to have children.
    removed_names: VecDeque<(EngineHash, BlockHash)>,
    assumed: Tally,
    stored: Tally,
    warm: WarmWindow,
    /// The engine publishes events: only blocks that it has named are sure to be warm. Others may be the same text twice.
    precise: bool,
}

/// An index into `blocks`.
type Place = u32;

/// Blocks, and their tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    blocks: usize,
    tokens: u64,
}

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
    used: u64,
    computed: bool,
    /// The time of its last use, if it counts as warm.
    bucket: Option<Bucket>,
}

/// What is known of a block that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// The last use.
    pub(super) used: u64,
    /// Whether it has been there, and not only on its way.
    pub(super) computed: bool,
    /// Whether the engine says that it is there.
    pub(super) stored: bool,
}

/// How many removed names are remembered.
const REMOVED_NAMES: usize = 64;

impl Holding {
    pub(super) fn new(keyed: Keyed, warm: WarmWindow, precise: bool) -> Self {
        Self {
            places: HashMap::with_hasher(keyed),
            blocks: Vec::new(),
            oldest: None,
            newest: None,
            names: HashMap::with_hasher(keyed),
            removed_names: VecDeque::new(),
            assumed: Tally::default(),
            stored: Tally::default(),
            warm,
            precise,
        }
    }

    /// Takes `hash` to be held from now on, most recently used of all; whether it was not held before.
    pub(super) fn assume(&mut self, hash: BlockHash, used: Use) -> bool {
        let (place, new) = self.enter(hash, used);
        self.touch(place, used);
        let block = &mut self.blocks[place as usize];
        block.computed |= used.computed;
        if block.assumed {
            self.unlink(place);
        } else {
            block.assumed = true;
            self.assumed.add(block.tokens);
        }
        self.link_newest(place);
        new
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
        block.computed = true;
        if block.names == 0 {
            self.stored.add(block.tokens);
        }
        block.names += 1;
        self.touch(place, used);
        (new, left)
    }

    /// The engine no longer has the block that it calls `name`; returns the block if it left.
    ///
    /// A block that was only assumed under that hash goes too: the engine knows better.
    pub(super) fn remove(&mut self, name: EngineHash) -> Option<BlockHash> {
        let hash = self.names.remove(&name)?;
        if self.removed_names.len() == REMOVED_NAMES {
            self.removed_names.pop_front();
        }
        self.removed_names.push_back((name, hash));
        let left = self.unname(hash);
        if self.names.capacity() > 4 * self.names.len() + SPARE {
            self.names.shrink_to(2 * self.names.len());
        }
        left
    }

    /// Forgets one assumed block if `when` holds for it; returns it if it left.
    pub(super) fn forget(&mut self, hash: BlockHash, when: impl FnOnce(Life) -> bool) -> Option<BlockHash> {
        let place = *self.places.get(&hash)?;
        let block = &self.blocks[place as usize];
        if block.assumed && when(block.life()) { self.unassume(place) } else { None }
    }

    /// The assumed block that the cache gives up next.
    pub(super) fn oldest(&self) -> Option<Life> {
        Some(self.blocks[self.oldest? as usize].life())
    }

    /// Gives up that block: it is no longer assumed. Returns it if it left.
    pub(super) fn evict_oldest(&mut self) -> Option<BlockHash> {
        self.unassume(self.oldest?)
    }

    /// That block has turned out to be gone. It still counts as warm for as long as it would have: it was wanted lately, and
    /// an endpoint that loses what is wanted has no room to spare.
    pub(super) fn lose_oldest(&mut self) -> Option<BlockHash> {
        let place = self.oldest?;
        self.blocks[place as usize].bucket = None;
        self.unassume(place)
    }

    pub(super) fn life(&self, hash: BlockHash) -> Option<Life> {
        self.places.get(&hash).map(|place| self.blocks[*place as usize].life())
    }

    /// The block that the engine calls `name`, or called so until lately.
    pub(super) fn named(&self, name: EngineHash) -> Option<BlockHash> {
        let removed = || self.removed_names.iter().rev().find(|(removed, _)| *removed == name);
        self.names.get(&name).copied().or_else(|| removed().map(|(_, hash)| *hash))
    }

    /// Whether the engine has a block of that name now.
    pub(super) fn has_name(&self, name: EngineHash) -> bool {
        self.names.contains_key(&name)
    }

    pub(super) fn holds(&self, hash: BlockHash) -> bool {
        self.places.contains_key(&hash)
    }

    /// All blocks, in no order that means anything but always in the same one.
    pub(super) fn hashes(&self) -> impl Iterator<Item = BlockHash> + '_ {
        self.blocks.iter().map(|block| block.hash)
    }

    /// Blocks and names.
    pub(super) fn entries(&self) -> usize {
        self.blocks.len() + self.names.len()
    }

    /// Blocks and names that stay until the engine says otherwise.
    pub(super) fn fixed_entries(&self) -> usize {
        self.stored.blocks + self.names.len()
    }

    pub(super) const fn assumed_blocks(&self) -> usize {
        self.assumed.blocks
    }

    pub(super) const fn assumed_tokens(&self) -> u64 {
        self.assumed.tokens
    }

    pub(super) const fn stored_tokens(&self) -> u64 {
        self.stored.tokens
    }

    pub(super) fn warm_tokens(&self, now: Instant) -> u64 {
        self.warm.tokens(now)
    }

    pub(super) const fn is_precise(&self) -> bool {
        self.precise
    }

    /// Finds or makes the block.
    fn enter(&mut self, hash: BlockHash, used: Use) -> (Place, bool) {
        if let Some(&place) = self.places.get(&hash) {
            return (place, false);
        }
        let place = self.blocks.len() as Place;
        self.blocks.push(Block {
            hash,
            tokens: used.block_tokens,
            older: None,
            newer: None,
            assumed: false,
            names: 0,
            used: used.stamp,
            computed: false,
            bucket: None,
        });
        self.places.insert(hash, place);
        (place, true)
    }

    fn touch(&mut self, place: Place, used: Use) {
        let block = &mut self.blocks[place as usize];
        block.used = used.stamp;
        self.warm.remove(block.bucket.take(), block.tokens);
        if !self.precise || block.names > 0 {
            block.bucket = Some(self.warm.add(used.now, block.tokens));
        }
    }

    fn unname(&mut self, hash: BlockHash) -> Option<BlockHash> {
        let place = *self.places.get(&hash)?;
        let block = &mut self.blocks[place as usize];
        block.names = block.names.saturating_sub(1);
        if block.names > 0 {
            return None;
        }
        self.stored.remove(block.tokens);
        if block.assumed { self.unassume(place) } else { self.leave(place) }
    }

    fn unassume(&mut self, place: Place) -> Option<BlockHash> {
        self.unlink(place);
        let block = &mut self.blocks[place as usize];
        block.assumed = false;
        self.assumed.remove(block.tokens);
        if block.names > 0 { None } else { self.leave(place) }
    }

    fn leave(&mut self, place: Place) -> Option<BlockHash> {
        let block = self.blocks.swap_remove(place as usize);
        self.warm.remove(block.bucket, block.tokens);
        self.places.remove(&block.hash);
        if self.blocks.len() > place as usize {
            self.moved(place);
        }
        if self.blocks.capacity() > 4 * self.blocks.len() + SPARE {
            self.blocks.shrink_to(2 * self.blocks.len());
            self.places.shrink_to(2 * self.blocks.len());
        }
        Some(block.hash)
    }

    /// The block at `place` came from elsewhere: whoever points at it learns that.
    fn moved(&mut self, place: Place) {
        let Block { hash, older, newer, assumed, .. } = self.blocks[place as usize];
        self.places.insert(hash, place);
        if assumed {
            match older {
                Some(older) => self.blocks[older as usize].newer = Some(place),
                None => self.oldest = Some(place),
            }
            match newer {
                Some(newer) => self.blocks[newer as usize].older = Some(place),
                None => self.newest = Some(place),
            }
        }
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

/// Room that is not worth giving back.
const SPARE: usize = 1_024;

impl Block {
    const fn life(&self) -> Life {
        Life { used: self.used, computed: self.computed, stored: self.names > 0 }
    }
}

impl Tally {
    fn add(&mut self, tokens: u32) {
        self.blocks += 1;
        self.tokens += u64::from(tokens);
    }

    fn remove(&mut self, tokens: u32) {
        self.blocks -= 1;
        self.tokens -= u64::from(tokens);
    }
}
