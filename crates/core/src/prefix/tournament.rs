//! A tournament tree: which slot has the largest count, while counts change one by one.

use alloc::vec;
use alloc::vec::Vec;

/// Counts by slot. A change computes in **O(log slots)**, and ends at the first match whose winner
/// has the same count as before. The winner is found in **O(log slots)**.
#[derive(Debug, Default)]
pub(super) struct Tournament {
    /// A binary tree in an array: the children of node `i` are `2i` and `2i + 1`, the root is node
    /// 1, and the second half are the slots. Each node has the larger count of its children.
    counts: Vec<u32>,
}

impl Tournament {
    /// Sets the count of a slot; slots without one have zero. Counts above 32 bits are equal.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.count(slot) == count {
            return;
        }
        if slot as usize >= self.leaves() {
            self.grow(slot as usize + 1);
        }
        let mut node = self.leaves() + slot as usize;
        self.counts[node] = count;
        while node > 1 {
            let larger = self.counts[node].max(self.counts[node ^ 1]);
            node /= 2;
            if core::mem::replace(&mut self.counts[node], larger) == larger {
                break;
            }
        }
    }

    /// The slot with the largest count, the lowest one of equals, and the count. `None` if all
    /// counts are zero.
    pub(super) fn winner(&self) -> Option<(u32, u32)> {
        let most = self.counts.get(1).copied().filter(|most| *most > 0)?;
        let mut node = 1;
        while node < self.leaves() {
            node *= 2;
            node += usize::from(self.counts[node] != most);
        }
        Some(((node - self.leaves()) as u32, most))
    }

    /// The count of a slot.
    pub(super) fn count(&self, slot: u32) -> u32 {
        self.counts.get(self.leaves() + slot as usize).copied().unwrap_or(0)
    }

    fn leaves(&self) -> usize {
        self.counts.len() / 2
    }

    /// Makes room for so many slots, and at least doubles the tree.
    fn grow(&mut self, slots: usize) {
        let leaves = slots.next_power_of_two();
        let earlier = core::mem::replace(&mut self.counts, vec![0; 2 * leaves]);
        let known = &earlier[earlier.len() / 2..];
        self.counts[leaves..leaves + known.len()].copy_from_slice(known);
        for node in (1..leaves).rev() {
            self.counts[node] = self.counts[2 * node].max(self.counts[2 * node + 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_winner_is_that_of_a_search(
            changes in prop::collection::vec((0_u32..40, 0_u32..6), 0..200),
        ) {
            let (mut tournament, mut naive) = (Tournament::default(), BTreeMap::new());
            for (slot, count) in changes {
                tournament.set(slot, count as usize);
                naive.insert(slot, count);
                let most = naive.iter().map(|(slot, count)| (*count, u32::MAX - slot)).max();
                let expected = most.filter(|(count, _)| *count > 0);
                let expected = expected.map(|(count, slot)| (u32::MAX - slot, count));
                prop_assert_eq!(tournament.winner(), expected);
                prop_assert!(naive.iter().all(|(slot, count)| tournament.count(*slot) == *count));
            }
        }
    }
}
