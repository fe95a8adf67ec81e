//! One run: its blocks, their names, and the holders of each stretch.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::prefix::event::EngineHash;
use crate::prefix::hash::BlockHash;
use crate::prefix::set::EndpointSet;

/// A lookup reads two adjacent cache lines: both ends of the run, and its first part.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Run {
    /// The first block, to confirm a match: the table stores only a part of its hash.
    pub(super) first: BlockHash,
    /// The last block; a prompt with it at this place contains the whole run.
    pub(super) last: BlockHash,
    /// By begin, longer ones first.
    pub(super) parts: SmallVec<[Part; 1]>,
    pub(super) blocks: Vec<BlockHash>,
    /// The names of the blocks; empty if none has one.
    pub(super) names: Vec<EngineHash>,
    /// Bytes allocated by the parts' sets.
    pub(super) sets: usize,
}

/// The endpoints that hold exactly this stretch of a run.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) endpoints: EndpointSet,
}

impl Run {
    pub(super) fn new() -> Self {
        let (parts, blocks, names) = (SmallVec::new(), Vec::new(), Vec::new());
        Self { first: BlockHash(0), last: BlockHash(0), parts, blocks, names, sets: 0 }
    }

    pub(super) fn begins_with(&self, hash: BlockHash) -> bool {
        self.first == hash && !self.blocks.is_empty()
    }

    /// The end of the last held block.
    pub(super) fn end(&self) -> u32 {
        self.parts.iter().map(|part| part.to).max().unwrap_or(0)
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        let parts =
            if self.parts.spilled() { self.parts.capacity() * size_of::<Part>() } else { 0 };
        (self.blocks.capacity() + self.names.capacity()) * size_of::<BlockHash>()
            + parts
            + self.sets
    }

    fn part(&self, (from, to): (u32, u32)) -> Result<usize, usize> {
        self.parts.binary_search_by(|part| part.from.cmp(&from).then(to.cmp(&part.to)))
    }

    /// Moves the endpoint to another stretch, with its part if it is the only member.
    pub(super) fn shift(&mut self, before: (u32, u32), after: (u32, u32), slot: u32) {
        match &mut self.parts[..] {
            [part] if part.endpoints.len() == 1 && (part.from, part.to) == before => {
                (part.from, part.to) = after;
            }
            _ => {
                self.leave(before, slot);
                self.enter(after, slot);
            }
        }
    }

    pub(super) fn enter(&mut self, stretch: (u32, u32), slot: u32) {
        let at = self.part(stretch).unwrap_or_else(|at| {
            let (from, to) = stretch;
            self.parts.insert(at, Part { from, to, endpoints: EndpointSet::default() });
            at
        });
        let endpoints = &mut self.parts[at].endpoints;
        self.sets -= endpoints.allocated();
        endpoints.insert(slot);
        self.sets += endpoints.allocated();
    }

    pub(super) fn leave(&mut self, stretch: (u32, u32), slot: u32) {
        let Ok(at) = self.part(stretch) else { return };
        let endpoints = &mut self.parts[at].endpoints;
        self.sets -= endpoints.allocated();
        endpoints.remove(slot);
        if endpoints.is_empty() {
            self.parts.remove(at);
            if self.parts.spilled() && self.parts.len() < self.parts.capacity() / 4 {
                self.parts.shrink_to_fit();
            }
        } else {
            self.sets += endpoints.allocated();
        }
    }
}

/// Appends to a column, which grows by a quarter: doubling would waste memory on most.
pub(super) fn extend(column: &mut Vec<BlockHash>, blocks: &[BlockHash]) {
    grow(column, blocks.len());
    column.extend_from_slice(blocks);
}

pub(super) fn grow<T>(column: &mut Vec<T>, more: usize) {
    if column.len() + more > column.capacity() {
        let quarter = if column.is_empty() { 0 } else { (column.len() / GROWTH).max(SPARE_BLOCKS) };
        column.reserve_exact(more.max(quarter));
    }
}

/// Blocks of capacity that are not worth releasing.
pub(super) const SPARE_BLOCKS: usize = 16;

/// A column grows by one part in this many.
pub(super) const GROWTH: usize = 4;
