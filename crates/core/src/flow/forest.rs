//! Many small priority queues over the same things: leftist heaps (Crane, 1972), woven through one vector.
//!
//! A thing is in one heap of a forest at most. Inserting, and removing from anywhere, cost **O(log n)** at worst, not only on
//! average, and nothing is allocated but the things' knots.
//!
//! What comes in rising order hangs on one side, each thing below the one before: a list, to which and from which things come and go
//! in **O(1)**. Most queues are such lists.

use alloc::vec::Vec;

use super::slab::NONE;

/// Knots of all things, by their numbers.
#[derive(Debug)]
pub(super) struct Forest<K> {
    knots: Vec<Knot<K>>,
}

/// One priority queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heap {
    /// The thing with the least key.
    pub(super) first: u32,
    /// The thing that came last, if it is still there, or one that is above where it was.
    last: u32,
}

impl Heap {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }
}

#[derive(Clone, Copy, Debug)]
struct Knot<K> {
    /// Not below the parent's.
    key: K,
    parent: u32,
    /// The child whose next gap is farther down.
    left: u32,
    right: u32,
    /// Knots on the way to the next gap below: to the right all the way, and hence few.
    rank: u32,
}

impl<K: Copy + Ord> Forest<K> {
    pub(super) const fn new() -> Self {
        Self { knots: Vec::new() }
    }

    pub(super) fn key(&self, at: u32) -> K {
        self.knots[at as usize].key
    }

    /// Puts a thing, which must be in no heap, into this one.
    pub(super) fn insert(&mut self, heap: &mut Heap, at: u32, key: K) {
        let alone = Knot { key, parent: NONE, left: NONE, right: NONE, rank: 1 };
        if at as usize >= self.knots.len() {
            self.knots.resize(at as usize + 1, alone);
        }
        self.knots[at as usize] = alone;
        let last = core::mem::replace(&mut heap.last, at);
        match self.knots.get_mut(last as usize) {
            Some(above) if above.left == NONE && above.key <= key => {
                above.left = at;
                self.knots[at as usize].parent = last;
            }
            _ => heap.first = self.meld(heap.first, at),
        }
    }

    /// Takes a thing, which must be in it, out of a heap.
    pub(super) fn remove(&mut self, heap: &mut Heap, at: u32) {
        let Knot { parent, left, right, .. } = self.knots[at as usize];
        if heap.last == at {
            heap.last = parent;
        }
        for child in [left, right] {
            self.adopt(child, NONE);
        }
        let heir = self.meld(left, right);
        self.adopt(heir, parent);
        if parent == NONE {
            heap.first = heir;
            return;
        }
        let above = &mut self.knots[parent as usize];
        *(if above.left == at { &mut above.left } else { &mut above.right }) = heir;
        let mut at = parent;
        while at != NONE && self.lean(at) {
            at = self.knots[at as usize].parent;
        }
    }

    /// Gives a thing another key.
    pub(super) fn rekey(&mut self, heap: &mut Heap, at: u32, key: K) {
        if self.key(at) != key {
            self.remove(heap, at);
            self.insert(heap, at, key);
        }
    }

    /// All things of a heap whose keys are not above `limit`, and none below one that is; in no telling order.
    pub(super) fn up_to(&self, heap: Heap, limit: K) -> impl Iterator<Item = u32> {
        let mut rest = Vec::from([heap.first]);
        core::iter::from_fn(move || {
            loop {
                let at = rest.pop()?;
                let Some(knot) = self.knots.get(at as usize) else { continue };
                if knot.key <= limit {
                    rest.extend([knot.right, knot.left]);
                    return Some(at);
                }
            }
        })
    }

    /// One heap of two.
    fn meld(&mut self, one: u32, other: u32) -> u32 {
        let (root, mut rest) = self.ordered(one, other);
        // Down both right spines, which become one, ...
        let mut at = root;
        while rest != NONE {
            let (next, later) = self.ordered(self.knots[at as usize].right, rest);
            self.knots[at as usize].right = next;
            self.adopt(next, at);
            (at, rest) = (next, later);
        }
        // ... and up again, where the shorter side is put to the right.
        while at != root {
            at = self.knots[at as usize].parent;
            self.lean(at);
        }
        root
    }

    /// The root that comes first, and the other one.
    fn ordered(&self, one: u32, other: u32) -> (u32, u32) {
        let one_first = match (self.knots.get(one as usize), self.knots.get(other as usize)) {
            (Some(one), Some(other)) => one.key <= other.key,
            (one, _) => one.is_some(),
        };
        if one_first { (one, other) } else { (other, one) }
    }

    /// Puts the side with the nearer gap to the right: whether that changes what is seen from above.
    fn lean(&mut self, at: u32) -> bool {
        let Knot { left, right, rank, .. } = self.knots[at as usize];
        let (left_rank, right_rank) = (self.rank(left), self.rank(right));
        let knot = &mut self.knots[at as usize];
        if left_rank < right_rank {
            (knot.left, knot.right) = (right, left);
        }
        knot.rank = left_rank.min(right_rank) + 1;
        knot.rank != rank
    }

    fn rank(&self, at: u32) -> u32 {
        self.knots.get(at as usize).map_or(0, |knot| knot.rank)
    }

    fn adopt(&mut self, child: u32, parent: u32) {
        if let Some(knot) = self.knots.get_mut(child as usize) {
            knot.parent = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl<K: Copy + Ord> Forest<K> {
        /// Bytes for each thing.
        pub(in crate::flow) const KNOT: usize = size_of::<Knot<K>>();

        /// The things of a heap, whose order and lean are checked.
        pub(in crate::flow) fn members(&self, heap: Heap) -> BTreeSet<u32> {
            let mut found = BTreeSet::new();
            let mut rest = Vec::from([(heap.first, NONE)]);
            while let Some((at, parent)) = rest.pop() {
                let Some(knot) = self.knots.get(at as usize) else { continue };
                assert!(found.insert(at), "{at} is there twice");
                assert_eq!(knot.parent, parent);
                assert!(self.knots.get(parent as usize).is_none_or(|above| above.key <= knot.key));
                assert!(self.rank(knot.left) >= self.rank(knot.right));
                assert_eq!(knot.rank, self.rank(knot.right) + 1);
                rest.extend([(knot.left, at), (knot.right, at)]);
            }
            assert!(heap.last == NONE || found.contains(&heap.last));
            found
        }
    }

    proptest! {
        /// Two heaps between which things wander hold what two sorted sets hold.
        #[test]
        fn a_forest_is_a_few_sorted_sets(steps in prop::collection::vec((0u32..40, 0usize..3, 0u8..20), 1..400)) {
            let mut forest = Forest::new();
            let mut heaps = [Heap::EMPTY; 2];
            let mut twins: [BTreeSet<(u8, u32)>; 2] = Default::default();
            for (at, number, key) in steps {
                for (heap, twin) in heaps.iter_mut().zip(&mut twins) {
                    let old = twin.iter().find(|(_, member)| *member == at).copied();
                    if let Some(old) = old {
                        forest.remove(heap, at);
                        twin.remove(&old);
                    }
                }
                if number < 2 {
                    forest.insert(&mut heaps[number], at, (key, at));
                    twins[number].insert((key, at));
                }
                for (heap, twin) in heaps.iter().zip(&twins) {
                    let members: BTreeSet<_> = twin.iter().map(|(_, at)| *at).collect();
                    prop_assert_eq!(forest.members(*heap), members);
                    prop_assert_eq!(twin.first().map_or(NONE, |(_, at)| *at), heap.first);
                    let near: BTreeSet<_> = forest.up_to(*heap, (10, 0)).collect();
                    let twin: BTreeSet<_> = twin.range(..=(10, 0)).map(|(_, at)| *at).collect();
                    prop_assert_eq!(near, twin);
                }
            }
        }
    }
}
