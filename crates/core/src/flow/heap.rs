//! Many small priority queues over shared items: leftist heaps (Crane, 1972) of numbers.
//!
//! An item is in at most one heap of its storage. Inserting, and removing any item, cost
//! **O(log n)** in the worst case. Only the items' keys and links are allocated.
//!
//! Items that arrive in rising order form a chain of left children, with **O(1)** insertion and
//! removal. Most queues are such chains. No crate was found with worst-case removal by index over
//! shared nodes: `priority-queue` and `keyed_priority_queue` allocate and hash for each heap.

#[cfg(test)]
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::slab::NONE;

/// One priority queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heap {
    /// The item with the least key.
    pub(super) first: u32,
    /// The most recent item, or an ancestor of its former place.
    last: u32,
}

impl Heap {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// The place of an item in its heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    parent: u32,
    /// The child whose nearest gap is farther down.
    left: u32,
    right: u32,
    /// Items on the path to the nearest gap, which is the right spine and hence short.
    rank: u32,
}

impl Links {
    /// Of an item without others.
    pub(super) const ALONE: Self = Self { parent: NONE, left: NONE, right: NONE, rank: 1 };
}

/// The storage of items by number, and the heaps over them.
pub(super) trait Heaps {
    type Key: Copy + Ord;

    /// The key of an item, which is not below its parent's, and its links.
    fn get(&self, at: u32) -> Option<(Self::Key, &Links)>;

    fn links_mut(&mut self, at: u32) -> Option<&mut Links>;

    /// Stores an item, which is [alone](Links::ALONE).
    fn put(&mut self, at: u32, key: Self::Key);

    /// Inserts an item that is in no heap.
    fn insert(&mut self, heap: &mut Heap, at: u32, key: Self::Key) {
        self.put(at, key);
        let last = core::mem::replace(&mut heap.last, at);
        if self.get(last).is_some_and(|(above, links)| links.left == NONE && above <= key) {
            self.link(last, |above| above.left = at);
            self.adopt(at, last);
            return;
        }
        // On the right spine, above the greater keys.
        let (mut parent, mut below) = (NONE, heap.first);
        while let Some((_, links)) = self.get(below).filter(|(other, _)| *other <= key) {
            (parent, below) = (below, links.right);
        }
        self.link(at, |links| (links.parent, links.left) = (parent, below));
        self.adopt(below, at);
        if parent == NONE {
            heap.first = at;
        } else {
            self.link(parent, |above| above.right = at);
            self.lean_upwards(parent);
        }
    }

    /// Removes an item from the heap that contains it.
    fn remove(&mut self, heap: &mut Heap, at: u32) {
        let Some((_, &Links { parent, left, right, rank })) = self.get(at) else { return };
        if heap.last == at {
            heap.last = parent;
        }
        // In a chain, the only child moves up.
        let heir = if right == NONE { left } else { self.meld(left, right) };
        self.adopt(heir, parent);
        if parent == NONE {
            heap.first = heir;
            return;
        }
        self.link(parent, |above| {
            *(if above.left == at { &mut above.left } else { &mut above.right }) = heir;
        });
        if self.rank(heir) != rank {
            self.lean_upwards(parent);
        }
    }

    /// Changes the key of an item.
    fn rekey(&mut self, heap: &mut Heap, at: u32, key: Self::Key) {
        let Some((old, links)) = self.get(at) else { return };
        let is_alone = heap.first == at && links.left == NONE;
        if is_alone {
            self.put(at, key);
            heap.last = at;
        } else if old != key {
            self.remove(heap, at);
            self.insert(heap, at, key);
        }
    }

    /// All items with keys up to `limit`, in no defined order.
    fn up_to(&self, heap: Heap, limit: Self::Key) -> impl Iterator<Item = u32> {
        let mut rest = Vec::from([heap.first]);
        core::iter::from_fn(move || {
            loop {
                let at = rest.pop()?;
                let Some((key, links)) = self.get(at) else { continue };
                if key <= limit {
                    rest.extend([links.right, links.left]);
                    return Some(at);
                }
            }
        })
    }

    /// Merges two heaps.
    fn meld(&mut self, one: u32, other: u32) -> u32 {
        let (root, mut rest) = self.ordered(one, other);
        // Merges the two right spines downwards, ...
        let mut at = root;
        while rest != NONE {
            let right = self.get(at).map_or(NONE, |(_, links)| links.right);
            let (next, later) = self.ordered(right, rest);
            self.link(at, |links| links.right = next);
            self.adopt(next, at);
            (at, rest) = (next, later);
        }
        // ... then moves the shorter side to the right on the way up.
        while at != root {
            at = self.get(at).map_or(root, |(_, links)| links.parent);
            self.lean(at);
        }
        root
    }

    /// The root with the lesser key, and the other one.
    fn ordered(&self, one: u32, other: u32) -> (u32, u32) {
        let one_first = match (self.get(one), self.get(other)) {
            (Some((one, _)), Some((other, _))) => one <= other,
            (one, _) => one.is_some(),
        };
        if one_first { (one, other) } else { (other, one) }
    }

    /// Restores the shape above a place where a child was exchanged.
    fn lean_upwards(&mut self, mut at: u32) {
        while self.lean(at) {
            at = self.get(at).map_or(NONE, |(_, links)| links.parent);
        }
    }

    /// Moves the side with the nearer gap to the right. Returns whether the item's rank changed.
    fn lean(&mut self, at: u32) -> bool {
        let Some((_, &Links { left, right, rank, .. })) = self.get(at) else { return false };
        let (left_rank, right_rank) = (self.rank(left), self.rank(right));
        let leaned = left_rank.min(right_rank) + 1;
        self.link(at, |links| {
            if left_rank < right_rank {
                (links.left, links.right) = (right, left);
            }
            links.rank = leaned;
        });
        leaned != rank
    }

    fn rank(&self, at: u32) -> u32 {
        self.get(at).map_or(0, |(_, links)| links.rank)
    }

    fn adopt(&mut self, child: u32, parent: u32) {
        self.link(child, |links| links.parent = parent);
    }

    fn link(&mut self, at: u32, change: impl FnOnce(&mut Links)) {
        if let Some(links) = self.links_mut(at) {
            change(links);
        }
    }

    /// The items of a heap, after a check of its order and shape.
    #[cfg(test)]
    fn members(&self, heap: Heap) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut rest = Vec::from([(heap.first, NONE)]);
        while let Some((at, parent)) = rest.pop() {
            let Some((key, links)) = self.get(at) else { continue };
            assert!(found.insert(at), "{at} is there twice");
            assert_eq!(links.parent, parent);
            assert!(self.get(parent).is_none_or(|(above, _)| above <= key));
            assert!(self.rank(links.left) >= self.rank(links.right));
            assert_eq!(links.rank, self.rank(links.right) + 1);
            rest.extend([(links.left, at), (links.right, at)]);
        }
        assert!(heap.last == NONE || found.contains(&heap.last));
        found
    }
}

/// Items that are stored for their heaps only.
#[derive(Debug)]
pub(super) struct HeapArena<K> {
    items: Vec<(K, Links)>,
}

impl<K: Copy + Ord> HeapArena<K> {
    pub(super) const fn new() -> Self {
        Self { items: Vec::new() }
    }

    pub(super) fn key(&self, at: u32) -> K {
        self.items[at as usize].0
    }
}

impl<K: Copy + Ord> Heaps for HeapArena<K> {
    type Key = K;

    fn get(&self, at: u32) -> Option<(K, &Links)> {
        self.items.get(at as usize).map(|(key, links)| (*key, links))
    }

    fn links_mut(&mut self, at: u32) -> Option<&mut Links> {
        self.items.get_mut(at as usize).map(|(_, links)| links)
    }

    fn put(&mut self, at: u32, key: K) {
        let alone = (key, Links::ALONE);
        if at as usize >= self.items.len() {
            self.items.resize(at as usize + 1, alone);
        }
        self.items[at as usize] = alone;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares two heaps that exchange items with two sorted sets.
        #[test]
        fn heaps_equal_sorted_sets(
            steps in prop::collection::vec((0u32..40, 0usize..3, 0u8..20), 1..400),
        ) {
            let mut arena = HeapArena::new();
            let mut heaps = [Heap::EMPTY; 2];
            let mut models: [BTreeSet<(u8, u32)>; 2] = Default::default();
            for (at, number, key) in steps {
                for (heap, model) in heaps.iter_mut().zip(&mut models) {
                    let old = model.iter().find(|(_, member)| *member == at).copied();
                    if let Some(old) = old {
                        arena.remove(heap, at);
                        model.remove(&old);
                    }
                }
                if number < 2 {
                    arena.insert(&mut heaps[number], at, (key, at));
                    models[number].insert((key, at));
                }
                for (heap, model) in heaps.iter().zip(&models) {
                    let expected: BTreeSet<_> = model.iter().map(|(_, at)| *at).collect();
                    prop_assert_eq!(arena.members(*heap), expected);
                    prop_assert_eq!(model.first().map_or(NONE, |(_, at)| *at), heap.first);
                    let near: BTreeSet<_> = arena.up_to(*heap, (10, 0)).collect();
                    let model: BTreeSet<_> = model.range(..=(10, 0)).map(|(_, at)| *at).collect();
                    prop_assert_eq!(near, model);
                }
            }
        }
    }
}
