//! Many small priority queues over the same things: leftist heaps (Crane, 1972), woven through one vector.
//!
//! A thing is in one heap of a forest at most, and a heap is known by its root. Inserting, removing from anywhere and
//! melding cost **O(log n)** at worst, not only on average, and allocate nothing but the things' knots.

use alloc::vec::Vec;

use super::slab::NONE;

/// Knots of all things, by their numbers.
#[derive(Debug)]
pub(super) struct Forest<K> {
    knots: Vec<Knot<K>>,
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

    /// Puts a thing, which must be in no heap, into the heap of that root.
    pub(super) fn insert(&mut self, root: &mut u32, at: u32, key: K) {
        let alone = Knot { key, parent: NONE, left: NONE, right: NONE, rank: 1 };
        if at as usize >= self.knots.len() {
            self.knots.resize(at as usize + 1, alone);
        }
        self.knots[at as usize] = alone;
        *root = self.meld(*root, at);
    }

    /// Takes a thing, which must be in it, out of the heap of that root.
    pub(super) fn remove(&mut self, root: &mut u32, at: u32) {
        let Knot { parent, left, right, .. } = self.knots[at as usize];
        for child in [left, right] {
            self.adopt(child, NONE);
        }
        let heir = self.meld(left, right);
        self.adopt(heir, parent);
        if parent == NONE {
            *root = heir;
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
    pub(super) fn rekey(&mut self, root: &mut u32, at: u32, key: K) {
        if self.key(at) != key {
            self.remove(root, at);
            self.insert(root, at, key);
        }
    }

    /// All things of a heap whose keys are not above `limit`, and none below one that is; in no telling order.
    pub(super) fn up_to(&self, root: u32, limit: K) -> impl Iterator<Item = u32> {
        let mut rest = Vec::from([root]);
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
        /// The things of a heap, whose order and lean are checked.
        pub(in crate::flow) fn members(&self, root: u32) -> BTreeSet<u32> {
            let mut found = BTreeSet::new();
            let mut rest = Vec::from([(root, NONE)]);
            while let Some((at, parent)) = rest.pop() {
                let Some(knot) = self.knots.get(at as usize) else { continue };
                assert!(found.insert(at), "{at} is there twice");
                assert_eq!(knot.parent, parent);
                assert!(self.knots.get(parent as usize).is_none_or(|above| above.key <= knot.key));
                assert!(self.rank(knot.left) >= self.rank(knot.right));
                assert_eq!(knot.rank, self.rank(knot.right) + 1);
                rest.extend([(knot.left, at), (knot.right, at)]);
            }
            found
        }
    }

    proptest! {
        /// Two heaps between which things wander hold what two sorted sets hold.
        #[test]
        fn a_forest_is_a_few_sorted_sets(steps in prop::collection::vec((0u32..40, 0usize..3, 0u8..20), 1..400)) {
            let mut forest = Forest::new();
            let mut roots = [NONE; 2];
            let mut twins: [BTreeSet<(u8, u32)>; 2] = Default::default();
            for (at, heap, key) in steps {
                for (root, twin) in roots.iter_mut().zip(&mut twins) {
                    let old = twin.iter().find(|(_, member)| *member == at).copied();
                    if let Some(old) = old {
                        forest.remove(root, at);
                        twin.remove(&old);
                    }
                }
                if heap < 2 {
                    forest.insert(&mut roots[heap], at, (key, at));
                    twins[heap].insert((key, at));
                }
                for (root, twin) in roots.iter().zip(&twins) {
                    let members: BTreeSet<_> = twin.iter().map(|(_, at)| *at).collect();
                    prop_assert_eq!(forest.members(*root), members);
                    prop_assert_eq!(twin.first().map_or(NONE, |(_, at)| *at), *root);
                    let near: BTreeSet<_> = forest.up_to(*root, (10, 0)).collect();
                    let twin: BTreeSet<_> = twin.range(..=(10, 0)).map(|(_, at)| *at).collect();
                    prop_assert_eq!(near, twin);
                }
            }
        }
    }
}
