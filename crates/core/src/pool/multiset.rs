//! A multiset: how many endpoints share a property.

use alloc::borrow::Borrow;
use alloc::collections::BTreeMap;

/// Counts by key; a count of zero has no entry.
#[derive(Debug)]
pub(super) struct Multiset<K>(BTreeMap<K, usize>);

impl<K: Ord> Multiset<K> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Each key once, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_key_is_there_as_often_as_it_was_added() {
        let mut multiset = Multiset::new();
        [2, 1, 2].into_iter().for_each(|key| multiset.add(key));
        multiset.remove(&2);
        multiset.remove(&3);
        assert_eq!(multiset.keys().copied().collect::<Vec<_>>(), [1, 2]);
        multiset.remove(&2);
        assert!(multiset.contains(&1) && !multiset.contains(&2));
    }
}
