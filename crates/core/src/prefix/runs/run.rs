//! One run: its blocks, their names, and the holders of each stretch.

use alloc::vec::Vec;

use super::parts::Parts;
use crate::prefix::event::EngineHash;
use crate::prefix::hash::BlockHash;

/// A lookup reads two adjacent cache lines: both ends of the run, and its first part.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Run {
    /// The first block, to confirm a match: the table stores only a part of its hash.
    pub(super) first: BlockHash,
    /// The last block; a prompt with it at this place contains the whole run.
    pub(super) last: BlockHash,
    /// By begin, longer ones first.
    pub(super) parts: Parts,
    pub(super) blocks: Vec<BlockHash>,
    /// The names of the blocks; empty if none has one.
    pub(super) names: Vec<EngineHash>,
    /// Bytes allocated by the parts' sets.
    pub(super) sets: usize,
}

impl Run {
    pub(super) fn new() -> Self {
        let (parts, blocks, names) = (Parts::new(), Vec::new(), Vec::new());
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
        self.columns() + self.parts.allocated() + self.sets
    }

    /// Of those, the bytes of the columns.
    pub(super) fn columns(&self) -> usize {
        (self.blocks.capacity() + self.names.capacity()) * size_of::<BlockHash>()
    }

    /// Moves the only part to another stretch, if the endpoint is its only member.
    pub(super) fn shift(&mut self, before: (u32, u32), after: (u32, u32), slot: u32) -> bool {
        let Some(part) = self.parts.only_mut() else { return false };
        let alone = part.endpoints.is_only(slot) && (part.from, part.to) == before;
        if alone {
            (part.from, part.to) = after;
        }
        alone
    }

    pub(super) fn enter(&mut self, stretch: (u32, u32), slot: u32) {
        let endpoints = &mut self.parts.get_or_insert(stretch).endpoints;
        self.sets -= endpoints.allocated();
        endpoints.insert(slot);
        self.sets += endpoints.allocated();
    }

    pub(super) fn leave(&mut self, stretch: (u32, u32), slot: u32) {
        let Some(part) = self.parts.get_mut(stretch) else { return };
        let endpoints = &mut part.endpoints;
        self.sets -= endpoints.allocated();
        endpoints.remove(slot);
        if endpoints.is_empty() {
            self.parts.remove(stretch);
        } else {
            self.sets += endpoints.allocated();
        }
    }
}

/// Appends to a column, which grows by a quarter: doubling would waste memory on most.
pub(super) fn extend<T: Copy>(column: &mut Vec<T>, more: &[T]) {
    grow(column, more.len());
    column.extend_from_slice(more);
}

/// Appends one item to a column.
#[inline]
pub(super) fn push<T>(column: &mut Vec<T>, item: T) {
    if column.len() == column.capacity() {
        grow(column, 1);
    }
    column.push(item);
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
