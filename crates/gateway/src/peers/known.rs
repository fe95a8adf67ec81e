//! Prompts that all gateways know, so that a message has only the blocks of a prompt that are new.

use alloc::vec::Vec;

use slotwise::BlockHash;

/// Prompts by their last block. A turn of a conversation begins with the prompt of the turn before,
/// so that one is found by its last block.
///
/// The table has a fixed number of places; a prompt takes the place of another one. Memory is at
/// most the limit of blocks.
#[derive(Debug)]
pub(super) struct KnownPrompts {
    places: Vec<Option<Vec<BlockHash>>>,
    blocks: usize,
    limit: usize,
    /// The place that is cleared next when there are too many blocks.
    next: usize,
}

impl KnownPrompts {
    pub(super) fn new(limit: usize) -> Self {
        let places = (limit / BLOCKS_OF_A_PROMPT).next_power_of_two();
        Self { places: (0..places).map(|_| None).collect(), blocks: 0, limit, next: 0 }
    }

    /// How many of the first blocks are a known prompt. Computes in **O(blocks)**.
    pub(super) fn beginning(&self, blocks: &[BlockHash]) -> usize {
        let is_known = |end: &usize| self.at(blocks[end - 1]).is_some_and(|it| it.len() == *end);
        (1..=blocks.len()).rev().find(is_known).unwrap_or(0)
    }

    /// The known prompt that ends with this block.
    pub(super) fn ending_in(&self, last: BlockHash) -> Option<&[BlockHash]> {
        self.at(last)
    }

    /// Learns a prompt, in place of the one that it continues.
    pub(super) fn learn(&mut self, continues: Option<BlockHash>, blocks: Vec<BlockHash>) {
        let Some(last) = blocks.last().copied().filter(|_| blocks.len() <= self.limit) else {
            return;
        };
        if let Some(before) = continues.filter(|before| self.at(*before).is_some()) {
            self.clear(self.place(before));
        }
        let place = self.place(last);
        self.clear(place);
        self.blocks += blocks.len();
        self.places[place] = Some(blocks);
        while self.blocks > self.limit {
            self.next = (self.next + 1) % self.places.len();
            if self.next != place {
                self.clear(self.next);
            }
        }
    }

    fn at(&self, last: BlockHash) -> Option<&[BlockHash]> {
        let known = self.places[self.place(last)].as_deref();
        known.filter(|known| known.last() == Some(&last))
    }

    fn place(&self, last: BlockHash) -> usize {
        last.0 as usize & (self.places.len() - 1)
    }

    fn clear(&mut self, place: usize) {
        if let Some(known) = self.places[place].take() {
            self.blocks -= known.len();
        }
    }
}

/// Blocks of a short prompt, which set the number of places. A place takes 24 bytes.
const BLOCKS_OF_A_PROMPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(blocks: core::ops::Range<u64>) -> Vec<BlockHash> {
        blocks.map(|block| BlockHash(block.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    }

    #[test]
    fn a_turn_is_found_by_the_end_of_the_turn_before() {
        let mut known = KnownPrompts::new(1_000);
        known.learn(None, chain(1..10));
        assert_eq!(known.beginning(&chain(1..15)), 9);
        let end = chain(1..10)[8];
        assert_eq!(known.ending_in(end), Some(&*chain(1..10)));
        known.learn(Some(end), chain(1..15));
        assert_eq!(known.ending_in(end), None, "the longer prompt has replaced it");
        assert_eq!(known.beginning(&chain(1..15)), 14);
    }

    #[test]
    fn blocks_are_limited() {
        let mut known = KnownPrompts::new(1_000);
        for first in (1..100_000).step_by(100) {
            known.learn(None, chain(first..first + 100));
            assert!(known.blocks <= 1_000);
            assert_eq!(known.beginning(&chain(first..first + 100)), 100);
        }
        known.learn(None, chain(0..1_001));
        assert_eq!(known.beginning(&chain(0..1_001)), 0, "too long to be remembered");
    }
}
