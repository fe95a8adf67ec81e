//! A table of the runs' first blocks, with a filter before it, as most keys are absent.
//!
//! The table reads a segment and then a line: two cache misses, of which the second waits for the
//! first. The filter is one array of words. Each key sets two bits of one word, so most absent keys
//! cost one cache miss and no read of the table.
//!
//! Bits are never cleared. A filter that is full, or too large, is replaced by a new one, which is
//! filled with one segment of the table in each later change, in the order of tags. So no change
//! takes longer than the growth of a segment.

use alloc::boxed::Box;
use core::mem;

use super::line::Tag;
use super::{ALL_TAGS, Place, Table};
use crate::prefix::address::Address;
use crate::prefix::codec::{Reader, SnapshotError, Writer};
use crate::prefix::keyed_state::KeyedState;

/// A [`Table`] that rejects most absent keys at the cost of one cache line.
#[derive(Debug)]
pub(in crate::prefix) struct FilteredTable {
    table: Table,
    /// Has the bits of every key of the table; without words, of every possible key.
    filter: Filter,
    /// The filter that will replace it; without words, none is being filled.
    next: Filter,
    /// The keys with tags below this one are in `next`.
    filled: u64,
}

/// Two bits of one word for each key that was added.
#[derive(Debug, Default)]
struct Filter {
    words: Box<[u64]>,
    /// Number of keys, including those that have left the table.
    added: usize,
}

impl FilteredTable {
    /// An empty table, without allocation.
    pub(in crate::prefix) fn new(hash_state: KeyedState) -> Self {
        Self {
            table: Table::new(hash_state),
            filter: Filter::default(),
            next: Filter::default(),
            filled: 0,
        }
    }

    /// Where `key` belongs, unless the filter rejects it.
    #[inline]
    pub(in crate::prefix) fn candidate(&self, key: u64) -> Option<Place> {
        let place = self.table.place(key);
        self.filter.may_contain(place).then_some(place)
    }

    /// As [`Table::get_at`].
    #[inline]
    pub(in crate::prefix) fn get_at(
        &self,
        place: Place,
        mut is: impl FnMut(Address) -> bool,
    ) -> Option<Address> {
        self.table.get_at(place, |run| Some(Address { run, offset: 0 }).filter(|at| is(*at)))
    }

    /// As [`Table::touch`].
    pub(in crate::prefix) fn touch(&self, key: u64) {
        self.table.touch(self.table.place(key));
    }

    /// As [`Table::insert_at`].
    pub(in crate::prefix) fn insert(&mut self, key: u64, address: Address) {
        let place = self.table.place(key);
        self.table.insert_at(place, address.run);
        self.filter.add(place);
        if u64::from(place.0) < self.filled {
            self.next.add(place);
        }
        self.fill(self.table.len >= FEW && self.filter.is_full());
    }

    /// As [`Table::remove_at`].
    pub(in crate::prefix) fn remove(&mut self, key: u64, address: Address) -> bool {
        let removed = self.table.remove_at(self.table.place(key), address.run);
        if self.table.len == 0 {
            (self.filter, self.next, self.filled) = (Filter::default(), Filter::default(), 0);
        }
        self.fill(self.filter.words.len() > Filter::words_for(4 * self.table.len));
        removed
    }

    #[cfg(any(test, feature = "internals"))]
    pub(in crate::prefix) const fn len(&self) -> usize {
        self.table.len
    }

    /// As [`Table::iter`].
    pub(in crate::prefix) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        self.table.iter().map(|run| Address { run, offset: 0 })
    }

    /// Writes the table; the filter follows from it.
    pub(in crate::prefix) fn save(&self, writer: &mut Writer) {
        self.table.save(writer);
    }

    /// As [`Table::load`].
    pub(in crate::prefix) fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.table.load(reader)?;
        self.fill(self.table.len >= FEW);
        while self.filled > 0 {
            self.fill(false);
        }
        Ok(())
    }

    /// Allocated bytes. Computes in **O(1)**.
    pub(in crate::prefix) fn allocated(&self) -> usize {
        self.table.allocated() + self.filter.allocated() + self.next.allocated()
    }

    /// Upper limit of additional bytes with these keys. Computes in **O(keys)**.
    pub(in crate::prefix) fn growth(&self, keys: impl ExactSizeIterator<Item = u64>) -> usize {
        if keys.len() == 0 {
            return 0;
        }
        // At most one filter that is full and one that is being filled.
        let one = Filter::words_for(self.table.len + keys.len()) * size_of::<u64>();
        let filters = 2 * one - one.min(self.filter.allocated() + self.next.allocated());
        self.table.growth(keys) + filters
    }

    /// Adds the keys of one more segment to the next filter. With `begin`, starts one.
    fn fill(&mut self, begin: bool) {
        if self.next.words.is_empty() {
            if !begin {
                return;
            }
            self.next = Filter::new(self.table.len);
        }
        let (tags, end) = self.table.tags_around(self.filled as Tag);
        tags.for_each(|tag| self.next.add(Place(tag)));
        self.filled = end;
        if end == ALL_TAGS {
            (self.filter, self.filled) = (mem::take(&mut self.next), 0);
        }
    }
}

impl Filter {
    /// A filter that this number of keys leaves half full.
    fn new(keys: usize) -> Self {
        Self { words: alloc::vec![0; Self::words_for(keys)].into(), added: 0 }
    }

    const fn words_for(keys: usize) -> usize {
        keys.div_ceil(KEYS / 2) + KEYS
    }

    const fn is_full(&self) -> bool {
        self.added >= KEYS * self.words.len()
    }

    #[inline]
    fn add(&mut self, Place(tag): Place) {
        let word = self.word(tag);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bits(tag);
            self.added += 1;
        }
    }

    /// Whether the key may have been added.
    #[inline]
    fn may_contain(&self, Place(tag): Place) -> bool {
        let bits = bits(tag);
        self.words.get(self.word(tag)).is_none_or(|word| word & bits == bits)
    }

    #[inline]
    const fn word(&self, tag: Tag) -> usize {
        ((tag as u64 * self.words.len() as u64) >> 32) as usize
    }

    const fn allocated(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

/// The key's bits in its word. The word follows from the tag's upper bits.
#[inline]
const fn bits(tag: Tag) -> u64 {
    1 << (tag % 64) | 1 << ((tag / 64) % 64)
}

/// Keys of a word in a full filter: one absent key in fifty passes it.
const KEYS: usize = 4;
/// Below this number of keys, the table is in the nearest cache and needs no filter.
const FEW: usize = 32;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::super::Segment;
    use super::*;
    use crate::rng::Rng;

    const fn at(run: u32) -> Address {
        Address { run, offset: 0 }
    }

    /// Filters lack no key of the table, and their bytes have a limit.
    fn check(table: &FilteredTable) {
        let tags = || table.table.segments.iter().flat_map(Segment::tags);
        assert!(tags().all(|tag| table.filter.may_contain(Place(tag))));
        let filled = |tag: &Tag| u64::from(*tag) < table.filled;
        assert!(tags().filter(filled).all(|tag| table.next.may_contain(Place(tag))));
        assert_eq!(table.next.words.is_empty(), table.filled == 0);
        let steps = table.table.segments.len();
        assert!(table.filter.words.len() <= Filter::words_for(4 * (table.len() + steps)));
    }

    proptest! {
        /// Keys arrive and leave in waves, compared with a set.
        #[test]
        fn finds_every_key(waves in prop::collection::vec((0u64..700, 0u64..700), 1..6)) {
            let (mut table, mut model) = (FilteredTable::new(KeyedState::new(1)), BTreeSet::new());
            let key = |number: u64| Rng::new(number).next_u64();
            for (arrive, leave) in waves {
                for number in 0..arrive {
                    if model.insert(number) {
                        let foreseen = table.allocated() + table.growth([key(number)].into_iter());
                        table.insert(key(number), at(number as u32));
                        prop_assert!(table.allocated() <= foreseen);
                    }
                }
                check(&table);
                for number in (0..leave).rev().step_by(3).chain(0..leave) {
                    let removed = table.remove(key(number), at(number as u32));
                    prop_assert_eq!(removed, model.remove(&number));
                }
                check(&table);
                for number in 0..700 {
                    let is = |other| other == at(number as u32);
                    let place = table.candidate(key(number));
                    let found = place.and_then(|place| table.get_at(place, is));
                    prop_assert_eq!(found.is_some(), model.contains(&number));
                }
            }
        }
    }

    #[test]
    fn few_absent_keys_pass() {
        let mut table = FilteredTable::new(KeyedState::new(2));
        let mut rng = Rng::new(3);
        for run in 0..20_000 {
            table.insert(rng.next_u64(), at(run));
            if run % 1_000 == 999 {
                let passes = |key: u64| table.filter.may_contain(table.table.place(key));
                let passed = (0..1_000).filter(|_| passes(rng.next_u64())).count();
                assert!(passed < 60, "{passed} of 1,000 pass with {run} keys");
            }
        }
        check(&table);
    }

    #[test]
    fn churn_leaves_the_filter_as_large_as_it_was() {
        let mut table = FilteredTable::new(KeyedState::new(4));
        let mut rng = Rng::new(5);
        let keys: Vec<_> = (0..20_000).map(|_| rng.next_u64()).collect();
        for (run, key) in (0..).zip(&keys) {
            table.insert(*key, at(run));
            if run >= 1_000 {
                let oldest = run - 1_000;
                assert!(table.remove(keys[oldest as usize], at(oldest)));
                let words = table.filter.words.len() + table.next.words.len();
                assert!(words <= 2 * Filter::words_for(1_001), "{words} words for 1,000 keys");
            }
        }
    }
}
