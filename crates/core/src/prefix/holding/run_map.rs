//! A map from runs to values that grows by one bucket at a time.
//!
//! It is linear hashing: entries are in small *buckets*, and each bucket takes the runs whose hash
//! ends in its number. When buckets are full on average, one more begins. It takes its entries from
//! the bucket whose number is shorter by a bit, so no change moves more than one bucket.
//! `hashbrown::HashMap` moves all entries at once, 11 ms with 115,000 runs.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::prefix::address::RunId;
use crate::prefix::keyed_state::KeyedState;

/// A map from runs to values.
#[derive(Debug)]
pub(super) struct RunMap<V> {
    /// Without buckets, the map is empty.
    buckets: Vec<Vec<V>>,
    len: usize,
    /// Entries for which buckets have memory.
    capacity: usize,
    hash_state: KeyedState,
}

/// A value that knows its run, so that the key takes no memory of its own.
pub(super) trait OfRun {
    fn run(&self) -> RunId;
}

impl<V: OfRun> RunMap<V> {
    pub(super) const fn new(hash_state: KeyedState) -> Self {
        Self { buckets: Vec::new(), len: 0, capacity: 0, hash_state }
    }

    /// The value of a run. Computes in **O(1)**.
    #[inline]
    pub(super) fn get(&self, run: RunId) -> Option<&V> {
        self.buckets.get(self.bucket(run))?.iter().find(|value| value.run() == run)
    }

    /// As [`get`](Self::get).
    #[inline]
    pub(super) fn get_mut(&mut self, run: RunId) -> Option<&mut V> {
        let bucket = self.bucket(run);
        self.buckets.get_mut(bucket)?.iter_mut().find(|value| value.run() == run)
    }

    /// Adds the value of a run that is not in the map. Computes in **O(1)**, and moves at most one
    /// bucket.
    pub(super) fn insert(&mut self, value: V) {
        if self.len >= FULL * self.buckets.len() {
            self.split();
        }
        let at = self.bucket(value.run());
        let bucket = &mut self.buckets[at];
        if bucket.len() == bucket.capacity() {
            self.capacity -= bucket.capacity();
            bucket.reserve_exact(GROWTH);
            self.capacity += bucket.capacity();
        }
        bucket.push(value);
        self.len += 1;
    }

    /// Removes a run, and releases unneeded memory. Computes in **O(1)**.
    pub(super) fn remove(&mut self, run: RunId) -> Option<V> {
        let at = self.bucket(run);
        let bucket = self.buckets.get_mut(at)?;
        let place = bucket.iter().position(|value| value.run() == run)?;
        let value = bucket.swap_remove(place);
        self.len -= 1;
        if self.len < FULL / 2 * (self.buckets.len() - 1) {
            self.merge();
        }
        if self.len == 0 {
            (self.buckets, self.capacity) = (Vec::new(), 0);
        } else {
            self.release(at);
        }
        Some(value)
    }

    /// All values, in no defined order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        self.buckets.iter().flatten()
    }

    /// Allocated bytes without those of values. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.capacity * size_of::<V>() + self.buckets.capacity() * size_of::<Vec<V>>()
    }

    /// Upper limit of additional bytes with this number of new runs.
    pub(super) fn growth(&self, new: usize) -> usize {
        // Each run may find a full bucket and begin another one, and the list may double.
        let entries = 2 * GROWTH * new;
        let list = self.buckets.capacity() + new + LEAST_LIST;
        entries * size_of::<V>() + list * size_of::<Vec<V>>()
    }

    /// The number of the bucket of a run.
    #[inline]
    fn bucket(&self, run: RunId) -> usize {
        let hash = self.hash_state.hash_one(run) as usize;
        let buckets = self.buckets.len();
        let mask = buckets.next_power_of_two() - 1;
        let at = hash & mask;
        if at < buckets { at } else { at & (mask >> 1) }
    }

    /// Begins one more bucket.
    fn split(&mut self) {
        let new = self.buckets.len();
        self.buckets.push(Vec::new());
        let Some(from) = parent(new) else { return };
        let mut entries = core::mem::take(&mut self.buckets[from]);
        self.capacity -= entries.capacity();
        let moves = |value: &V| self.bucket(value.run()) == new;
        let mut moved = Vec::with_capacity(entries.iter().filter(|entry| moves(entry)).count());
        let mut at = 0;
        while let Some(entry) = entries.get(at) {
            if moves(entry) {
                moved.push(entries.swap_remove(at));
            } else {
                at += 1;
            }
        }
        entries.shrink_to_fit();
        self.capacity += entries.capacity() + moved.capacity();
        (self.buckets[from], self.buckets[new]) = (entries, moved);
    }

    /// Ends the last bucket.
    fn merge(&mut self) {
        let Some(last) = self.buckets.pop() else { return };
        let Some(into) = parent(self.buckets.len()) else { return };
        let bucket = &mut self.buckets[into];
        self.capacity -= last.capacity() + bucket.capacity();
        bucket.reserve_exact(last.len());
        bucket.extend(last);
        self.capacity += bucket.capacity();
        if self.buckets.len() < self.buckets.capacity() / 4 {
            self.buckets.shrink_to(2 * self.buckets.len());
        }
    }

    /// Releases unneeded memory of a bucket.
    fn release(&mut self, at: usize) {
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.capacity() > 2 * bucket.len() + GROWTH {
            self.capacity -= bucket.capacity();
            bucket.shrink_to_fit();
            self.capacity += bucket.capacity();
        }
    }
}

/// The bucket from which this one takes its entries: its number without the highest bit.
const fn parent(bucket: usize) -> Option<usize> {
    match bucket.checked_ilog2() {
        Some(highest) => Some(bucket & !(1 << highest)),
        None => None,
    }
}

/// Entries of a bucket, on average, with which another one begins.
const FULL: usize = 8;
/// Entries by which a bucket grows.
const GROWTH: usize = 2;
/// The least capacity of a list that is not empty.
const LEAST_LIST: usize = 4;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Map = RunMap<Value>;

    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    struct Value {
        run: RunId,
        content: [u64; 7],
    }

    impl OfRun for Value {
        fn run(&self) -> RunId {
            self.run
        }
    }

    fn value(run: RunId) -> Value {
        Value { run, content: [u64::from(run); 7] }
    }

    /// Every entry is in its bucket, and memory is what was counted.
    fn check(map: &Map) {
        let buckets = || map.buckets.iter();
        assert_eq!(buckets().map(Vec::len).sum::<usize>(), map.len);
        assert_eq!(buckets().map(Vec::capacity).sum::<usize>(), map.capacity);
        for (number, bucket) in buckets().enumerate() {
            assert!(bucket.iter().all(|value| map.bucket(value.run) == number));
            assert!(bucket.capacity() <= 2 * bucket.len() + GROWTH);
        }
        assert!(map.len <= FULL * map.buckets.len());
        assert_eq!(map.len == 0, map.allocated() == 0);
    }

    proptest! {
        /// Runs arrive and leave in waves, compared with a sorted map.
        #[test]
        fn behaves_like_a_sorted_map(
            waves in prop::collection::vec((any::<bool>(), 0u32..900, 1u32..70, 0usize..400), 0..9),
        ) {
            let (mut map, mut model) = (Map::new(KeyedState::new(7)), BTreeMap::new());
            for (add, begin, step, count) in waves {
                for run in (begin..).step_by(step as usize).take(count) {
                    let known = model.contains_key(&run);
                    prop_assert_eq!(map.get(run).is_some(), known);
                    prop_assert_eq!(map.get_mut(run).is_some(), known);
                    if !add {
                        prop_assert_eq!(map.remove(run), model.remove(&run));
                    } else if !known {
                        let foreseen = map.allocated() + map.growth(1);
                        map.insert(value(run));
                        model.insert(run, value(run));
                        prop_assert!(map.allocated() <= foreseen);
                    }
                }
                check(&map);
                let entries: BTreeMap<_, _> = map.iter().map(|value| (value.run, *value)).collect();
                prop_assert_eq!(&entries, &model);
            }
        }
    }

    #[test]
    fn many_runs_stay_in_small_buckets_without_much_spare_memory() {
        // The runs of one of 64 endpoints that take turns.
        for step in [1, 64, 4_096] {
            let mut map = Map::new(KeyedState::new(3));
            for number in 0..120_000 {
                map.insert(value(number * step));
                if number % 10_000 == 9_999 {
                    check(&map);
                    let longest = map.buckets.iter().map(Vec::len).max();
                    assert!(longest < Some(6 * FULL), "{longest:?} entries move at once");
                    let each = map.allocated() / map.len;
                    assert!(each < size_of::<Value>() * 4 / 3 + 6, "{each} bytes a run");
                }
            }
        }
    }

    #[test]
    fn the_growth_for_many_runs_is_foreseen() {
        for (before, new) in [(0, 1), (0, 500), (40, 3), (63, 900), (5_000, 5_000)] {
            let mut map = Map::new(KeyedState::new(1));
            (0..before).for_each(|run| map.insert(value(run)));
            let foreseen = map.allocated() + map.growth(new as usize);
            (before..before + new).for_each(|run| map.insert(value(run)));
            assert!(map.allocated() <= foreseen, "{new} behind {before}");
        }
    }
}
