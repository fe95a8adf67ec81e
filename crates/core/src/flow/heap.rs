//! Many small priority queues over shared nodes: leftist heaps (Crane, 1972) in one vector.
//!
//! An item is in at most one heap. Inserting, and removing any item, cost **O(log n)** in the worst
//! case. Only the items' nodes are allocated.
//!
//! Items that arrive in rising order form a chain of left children, with **O(1)** insertion and
//! removal. Most queues are such chains. No crate was found with worst-case removal by index over
//! shared nodes: `priority-queue` and `keyed_priority_queue` allocate and hash for each heap.

use alloc::vec::Vec;

use super::slab::NONE;

/// The nodes of all items, by item number.
#[derive(Debug)]
pub(super) struct HeapArena<K> {
    nodes: Vec<Node<K>>,
}

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

#[derive(Clone, Copy, Debug)]
struct Node<K> {
    /// Not below the parent's key.
    key: K,
    parent: u32,
    /// The child whose nearest gap is farther down.
    left: u32,
    right: u32,
    /// Nodes on the path to the nearest gap, which is the right spine and hence short.
    rank: u32,
}

impl<K: Copy + Ord> HeapArena<K> {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    pub(super) fn key(&self, at: u32) -> K {
        self.nodes[at as usize].key
    }

    /// Inserts an item that is in no heap.
    pub(super) fn insert(&mut self, heap: &mut Heap, at: u32, key: K) {
        let alone = Node { key, parent: NONE, left: NONE, right: NONE, rank: 1 };
        if at as usize >= self.nodes.len() {
            self.nodes.resize(at as usize + 1, alone);
        }
        self.nodes[at as usize] = alone;
        let last = core::mem::replace(&mut heap.last, at);
        if let Some(above) = self.nodes.get_mut(last as usize) {
            if above.left == NONE && above.key <= key {
                above.left = at;
                self.nodes[at as usize].parent = last;
                return;
            }
        }
        // On the right spine, above the greater keys.
        let (mut parent, mut below) = (NONE, heap.first);
        while let Some(node) = self.nodes.get(below as usize).filter(|node| node.key <= key) {
            (parent, below) = (below, node.right);
        }
        let node = &mut self.nodes[at as usize];
        (node.parent, node.left) = (parent, below);
        self.adopt(below, at);
        match self.nodes.get_mut(parent as usize) {
            Some(above) => above.right = at,
            None => heap.first = at,
        }
        self.lean_upwards(parent);
    }

    /// Removes an item from the heap that contains it.
    pub(super) fn remove(&mut self, heap: &mut Heap, at: u32) {
        let Node { parent, left, right, rank, .. } = self.nodes[at as usize];
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
        let above = &mut self.nodes[parent as usize];
        *(if above.left == at { &mut above.left } else { &mut above.right }) = heir;
        if self.rank(heir) != rank {
            self.lean_upwards(parent);
        }
    }

    /// Changes the key of an item.
    pub(super) fn rekey(&mut self, heap: &mut Heap, at: u32, key: K) {
        let node = &mut self.nodes[at as usize];
        let is_alone = heap.first == at && node.left == NONE;
        if is_alone {
            (node.key, heap.last) = (key, at);
        } else if node.key != key {
            self.remove(heap, at);
            self.insert(heap, at, key);
        }
    }

    /// All items with keys up to `limit`, in no defined order.
    pub(super) fn up_to(&self, heap: Heap, limit: K) -> impl Iterator<Item = u32> {
        let mut rest = Vec::from([heap.first]);
        core::iter::from_fn(move || {
            loop {
                let at = rest.pop()?;
                let Some(node) = self.nodes.get(at as usize) else { continue };
                if node.key <= limit {
                    rest.extend([node.right, node.left]);
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
            let (next, later) = self.ordered(self.nodes[at as usize].right, rest);
            self.nodes[at as usize].right = next;
            self.adopt(next, at);
            (at, rest) = (next, later);
        }
        // ... then moves the shorter side to the right on the way up.
        while at != root {
            at = self.nodes[at as usize].parent;
            self.lean(at);
        }
        root
    }

    /// The root with the lesser key, and the other one.
    fn ordered(&self, one: u32, other: u32) -> (u32, u32) {
        let one_first = match (self.nodes.get(one as usize), self.nodes.get(other as usize)) {
            (Some(one), Some(other)) => one.key <= other.key,
            (one, _) => one.is_some(),
        };
        if one_first { (one, other) } else { (other, one) }
    }

    /// Restores the shape above a place where a child was exchanged.
    fn lean_upwards(&mut self, mut at: u32) {
        while at != NONE && self.lean(at) {
            at = self.nodes[at as usize].parent;
        }
    }

    /// Moves the side with the nearer gap to the right. Returns whether the node's rank changed.
    fn lean(&mut self, at: u32) -> bool {
        let Node { left, right, rank, .. } = self.nodes[at as usize];
        let (left_rank, right_rank) = (self.rank(left), self.rank(right));
        let node = &mut self.nodes[at as usize];
        if left_rank < right_rank {
            (node.left, node.right) = (right, left);
        }
        node.rank = left_rank.min(right_rank) + 1;
        node.rank != rank
    }

    fn rank(&self, at: u32) -> u32 {
        self.nodes.get(at as usize).map_or(0, |node| node.rank)
    }

    fn adopt(&mut self, child: u32, parent: u32) {
        if let Some(node) = self.nodes.get_mut(child as usize) {
            node.parent = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl<K: Copy + Ord> HeapArena<K> {
        /// Bytes for each item.
        pub(in crate::flow) const NODE_BYTES: usize = size_of::<Node<K>>();

        /// The items of a heap, after a check of its order and shape.
        pub(in crate::flow) fn members(&self, heap: Heap) -> BTreeSet<u32> {
            let mut found = BTreeSet::new();
            let mut rest = Vec::from([(heap.first, NONE)]);
            while let Some((at, parent)) = rest.pop() {
                let Some(node) = self.nodes.get(at as usize) else { continue };
                assert!(found.insert(at), "{at} is there twice");
                assert_eq!(node.parent, parent);
                assert!(self.nodes.get(parent as usize).is_none_or(|above| above.key <= node.key));
                assert!(self.rank(node.left) >= self.rank(node.right));
                assert_eq!(node.rank, self.rank(node.right) + 1);
                rest.extend([(node.left, at), (node.right, at)]);
            }
            assert!(heap.last == NONE || found.contains(&heap.last));
            found
        }
    }

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
                    let members: BTreeSet<_> = model.iter().map(|(_, at)| *at).collect();
                    prop_assert_eq!(arena.members(*heap), members);
                    prop_assert_eq!(model.first().map_or(NONE, |(_, at)| *at), heap.first);
                    let near: BTreeSet<_> = arena.up_to(*heap, (10, 0)).collect();
                    let model: BTreeSet<_> = model.range(..=(10, 0)).map(|(_, at)| *at).collect();
                    prop_assert_eq!(near, model);
                }
            }
        }
    }
}
