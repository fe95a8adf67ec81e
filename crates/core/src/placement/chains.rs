//! A prompt's blocks, once for each layout in the pool, and how many of them each endpoint has
//! cached.

use alloc::vec::Vec;

use super::span::{CachedPrefix, Span};
use crate::pool::{BlockLayout, Slot};
use crate::prefix::{BlockHash, EndpointSet, PrefixIndex};

/// The prompt's blocks, one chain for each layout in the pool.
#[derive(Debug, Default)]
pub(super) struct Chains {
    list: Vec<Chain>,
    used: usize,
    /// The one chain serves all endpoints.
    pub(super) any_layout: bool,
}

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) layout: BlockLayout,
    pub(super) span: Span,
    pub(super) hashes: Vec<BlockHash>,
    pub(super) levels: Levels,
}

/// Endpoints by the number of a chain's blocks that they have cached, deepest first. An endpoint's
/// level is the first that contains it; the last level contains all endpoints.
#[derive(Debug, Default)]
pub(super) struct Levels {
    list: Vec<Level>,
    used: usize,
}

/// Endpoints that have equally many blocks cached.
#[derive(Debug, Default)]
pub(super) struct Level {
    depth: u32,
    /// The cached prefix that they can use.
    pub(super) cached: CachedPrefix,
    holders: EndpointSet,
}

/// A level of a chain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LevelId {
    pub(super) chain: u32,
    pub(super) level: u32,
}

impl Level {
    /// Blocks that its endpoints have cached.
    pub(super) const fn depth(&self) -> u32 {
        self.depth
    }

    /// The endpoints in the level; `None` if it contains all.
    pub(super) fn holders(&self) -> Option<&EndpointSet> {
        (self.depth > 0).then_some(&self.holders)
    }

    /// The 64 slots from `64 * at` on: a bit is set where the slot is in the level.
    pub(super) fn word(&self, at: u32) -> u64 {
        self.holders().map_or(u64::MAX, |holders| holders.word(at))
    }

    /// The level's slots in words of 64, from word number `first` on, `count` words at most: the
    /// number of each word that has any, and a bit for each slot.
    #[inline]
    pub(super) fn words(&self, first: u32, count: u32, mut each: impl FnMut(u32, u64)) {
        match self.holders() {
            None => (first..first + count).for_each(|at| each(at, u64::MAX)),
            Some(holders) => {
                holders.words(first..first + count).for_each(|(at, word)| each(at, word));
            }
        }
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        self.holders().is_none_or(|holders| holders.contains(slot))
    }
}

impl Chain {
    /// Reads the levels from the index.
    pub(super) fn look_up(&mut self, prefixes: &PrefixIndex) {
        self.levels.used = 0;
        self.levels.next();
        prefixes.levels(&self.hashes, |depth, holders| match self.levels.last() {
            Some(level) if level.depth == depth => level.holders.union_with(holders),
            _ => {
                let level = self.levels.next();
                level.depth = depth;
                level.holders.copy_from(holders);
            }
        });
        let levels = &mut self.levels.list[..self.levels.used];
        levels.sort_unstable_by_key(|level| core::cmp::Reverse(level.depth));
        levels.iter_mut().for_each(|level| level.cached = self.span.cached(level.depth));
    }

    /// Keeps only the level of all endpoints, for a request that does not read the cache.
    pub(super) fn look_at_nothing(&mut self) {
        self.levels.used = 0;
        self.levels.next();
    }

    pub(super) fn best_hit(&self) -> u32 {
        self.levels.iter().next().map_or(0, |deepest| deepest.cached.tokens)
    }
}

impl Levels {
    /// Appends a level that contains all endpoints.
    pub(super) fn next(&mut self) -> &mut Level {
        if self.used == self.list.len() {
            self.list.push(Level::default());
        }
        self.used += 1;
        let level = &mut self.list[self.used - 1];
        level.depth = 0;
        level
    }

    fn last(&mut self) -> Option<&mut Level> {
        self.list[..self.used].last_mut()
    }

    pub(super) fn get(&self, at: usize) -> &Level {
        &self.list[at]
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Level> {
        self.list[..self.used].iter()
    }
}

impl Chains {
    /// Empties the chains and fills one for each layout.
    pub(super) fn reset(
        &mut self,
        layouts: impl Iterator<Item = BlockLayout>,
        mut fill: impl FnMut(BlockLayout, &mut Chain),
    ) {
        self.used = 0;
        self.any_layout = false;
        for layout in layouts {
            if self.used == self.list.len() {
                let span = Span::of_tokens(0, layout.block_size);
                self.list.push(Chain {
                    layout,
                    span,
                    hashes: Vec::new(),
                    levels: Levels::default(),
                });
            }
            let chain = &mut self.list[self.used];
            chain.layout = layout;
            chain.hashes.clear();
            fill(layout, chain);
            self.used += 1;
        }
    }

    /// One chain for each layout.
    pub(super) fn as_slice(&self) -> &[Chain] {
        &self.list[..self.used]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.list[..self.used].iter_mut()
    }

    pub(super) fn place_of(&self, layout: BlockLayout) -> Option<usize> {
        let chains = &self.list[..self.used];
        let exactly = chains.iter().position(|chain| self.any_layout || chain.layout == layout);
        // A queued request may have been hashed before the endpoint's layout changed. Its prompt is
        // not found there, but the endpoint can still serve it.
        exactly.or_else(|| {
            chains.iter().position(|chain| chain.layout.block_size == layout.block_size)
        })
    }

    pub(super) fn get(&self, place: usize) -> &Chain {
        &self.list[place]
    }

    pub(super) fn of_mut(&mut self, slot: &Slot) -> Option<&mut Chain> {
        self.place_of(slot.layout).map(|place| &mut self.list[place])
    }
}
