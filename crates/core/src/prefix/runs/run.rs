//! One run: its blocks, their names, and the holders of each stretch.

use alloc::vec::Vec;

use super::common_prefix::common;
use super::parts::{Extent, Parts};
use crate::prefix::address::Coverage;
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

    /// How many blocks of `rest` are here from `from` on, of which the first is.
    #[inline]
    pub(super) fn extent(&self, from: usize, rest: &[BlockHash]) -> usize {
        let whole = self.blocks.len() - from;
        match rest.get(whole - 1) {
            Some(hash) if *hash == self.last => whole,
            _ => common(&self.blocks[from..], rest),
        }
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        self.columns() + self.parts.allocated() + self.sets
    }

    /// Of those, the bytes of the columns.
    pub(super) fn columns(&self) -> usize {
        (self.blocks.capacity() + self.names.capacity()) * size_of::<BlockHash>()
    }

    /// Records how much the endpoint holds by changing the only part, if the endpoint is alone in
    /// it and has no hole, as in an answer. Otherwise, nothing changed.
    #[inline]
    pub(super) fn shift(&mut self, slot: u32, before: Coverage, after: Coverage) -> bool {
        let is_whole = |held: Coverage| held.prefix == held.end && held.end > 0;
        let part = self.parts.only_mut().filter(|_| is_whole(before) && is_whole(after));
        let part = part.filter(|part| part.endpoints.is_only(slot));
        if let Some(part) = part {
            part.extent = Extent::Prefix(after.prefix);
            return true;
        }
        false
    }

    /// Records how much the endpoint holds.
    pub(super) fn settle(&mut self, slot: u32, before: Coverage, after: Coverage) {
        for (old, new) in extents(before).into_iter().zip(extents(after)) {
            if old != new {
                old.into_iter().for_each(|old| self.leave(old, slot));
                new.into_iter().for_each(|new| self.enter(new, slot));
            }
        }
    }

    fn enter(&mut self, extent: Extent, slot: u32) {
        let endpoints = &mut self.parts.get_or_insert(extent).endpoints;
        self.sets -= endpoints.allocated();
        endpoints.insert(slot);
        self.sets += endpoints.allocated();
    }

    fn leave(&mut self, extent: Extent, slot: u32) {
        let Some(part) = self.parts.get_mut(extent) else { return };
        let endpoints = &mut part.endpoints;
        self.sets -= endpoints.allocated();
        endpoints.remove(slot);
        if endpoints.is_empty() {
            self.parts.remove(extent);
        } else {
            self.sets += endpoints.allocated();
        }
    }
}

/// The prefix and the rest behind a hole, as far as there are any.
fn extents(Coverage { prefix, end }: Coverage) -> [Option<Extent>; 2] {
    let (is_held, has_rest) = (prefix > 0, end > prefix);
    [is_held.then_some(Extent::Prefix(prefix)), has_rest.then_some(Extent::Rest(end))]
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
