//! A map whose keys only rise.

use alloc::collections::VecDeque;

/// Values by rising keys: a new one is appended, and the oldest is usually the next to leave.
///
/// A tree would search the place of each and split its nodes. Here a value that leaves from the
/// middle leaves a gap, and gaps are closed once they prevail. Adding computes in **O(1)** and
/// removing in **O(log n)**, on average over all changes. The memory is in proportion to the
/// values. Closing the gaps moves all of them, so it is not for millions.
#[derive(Clone, Debug)]
pub(crate) struct RisingMap<T> {
    /// By rising keys. The first is no gap.
    entries: VecDeque<(u64, Option<T>)>,
    len: usize,
}

/// Gaps and free entries of a map that is nearly empty.
const FEW: usize = 16;

impl<T> RisingMap<T> {
    /// Adds the value of a key that is above all others.
    pub(crate) fn push(&mut self, key: u64, value: T) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < key), "invariant: rises");
        if self.entries.len() == self.entries.capacity() && self.entries.len() >= 2 * self.len {
            self.close_gaps();
        }
        self.entries.push_back((key, Some(value)));
        self.len += 1;
    }

    /// Removes the value of a key.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let at = self.find(key)?;
        let value = self.entries.get_mut(at)?.1.take()?;
        self.len -= 1;
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
        }
        if self.entries.capacity() > 4 * self.len + FEW {
            self.close_gaps();
            self.entries.shrink_to(2 * self.len);
        }
        Some(value)
    }

    fn close_gaps(&mut self) {
        self.entries.retain(|(_, value)| value.is_some());
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        self.entries.get(self.find(key)?)?.1.as_ref()
    }

    /// The lowest key and its value.
    pub(crate) fn first(&self) -> Option<(u64, &T)> {
        let (key, value) = self.entries.front()?;
        Some((*key, value.as_ref()?))
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn find(&self, key: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&key, |(key, _)| *key).ok()
    }
}

impl<T> Default for RisingMap<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares with a sorted map: additions, removals of every so many keys, and of any key.
        #[test]
        fn it_equals_a_sorted_map(
            steps in prop::collection::vec((0..5_u8, 1..400_u64, 1..9_u64), 1..40),
        ) {
            let (mut map, mut model) = (RisingMap::default(), BTreeMap::new());
            let mut newest = 0;
            for (step, count, gap) in steps {
                let keys: Vec<u64> = match step {
                    0 | 1 => {
                        for _ in 0..count {
                            newest += gap;
                            map.push(newest, newest ^ 1);
                            model.insert(newest, newest ^ 1);
                            prop_assert!(map.entries.capacity() <= 4 * model.len() + FEW);
                        }
                        Vec::new()
                    }
                    2 => model.keys().copied().take(count as usize).collect(),
                    3 => model.keys().copied().skip(count as usize).step_by(gap as usize).collect(),
                    _ => Vec::from([count]),
                };
                for key in keys {
                    prop_assert_eq!(map.get(key), model.get(&key));
                    prop_assert_eq!(map.remove(key), model.remove(&key));
                    prop_assert_eq!(map.get(key), None);
                    prop_assert!(map.entries.capacity() <= 4 * model.len() + FEW);
                }
                prop_assert_eq!(map.len(), model.len());
                let first = model.first_key_value().map(|(key, value)| (*key, value));
                prop_assert_eq!(map.first(), first);
                prop_assert!(map.entries.front().is_none_or(|(_, value)| value.is_some()));
            }
        }
    }
}
