//! A set of endpoint slots: a short sorted list, or a bitmap where that is smaller. `fixedbitset`
//! and `roaring` were weighed: neither is inline for few members and counts its bytes exactly.

use alloc::vec::Vec;
use core::ops::Range;
use core::{iter, mem, slice};

use smallvec::SmallVec;

/// Endpoint slots, in ascending order.
///
/// Membership is **O(log n)** as a list and **O(1)** as a bitmap. A list takes 4 bytes a member,
/// inline for up to four. A bitmap takes `highest slot / 8` bytes, and is used where it is smaller.
#[derive(Clone, Debug, Default)]
pub struct EndpointSet(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Sorted, without duplicates.
    List(SmallVec<[u32; LIST_MIN]>),
    /// One bit a slot, with the last word not zero; and the number of set bits.
    Bits(Vec<u64>, u32),
}

/// Sets are equal if their members are, in any form.
impl PartialEq for EndpointSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for EndpointSet {}

impl Default for Form {
    fn default() -> Self {
        Self::List(SmallVec::new())
    }
}

/// The members that are left of a list or of a bitmap.
struct Members<'a> {
    list: slice::Iter<'a, u32>,
    words: slice::Iter<'a, u64>,
    /// The bits that are left of one word, and the slot of its first bit.
    word: u64,
    base: u32,
}

impl Iterator for Members<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            let Some(word) = self.words.next() else { return self.list.next().copied() };
            (self.word, self.base) = (*word, self.base.wrapping_add(64));
        }
        let slot = self.base + self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(slot)
    }

    /// Without the checks of [`next`](Self::next), and with a plain loop over a full word.
    #[inline]
    fn fold<B, F: FnMut(B, u32) -> B>(self, init: B, mut f: F) -> B {
        let Self { list, mut words, mut word, mut base } = self;
        let mut folded = init;
        loop {
            if word == u64::MAX {
                folded = (base..=base + 63).fold(folded, &mut f);
                word = 0;
            }
            while word != 0 {
                folded = f(folded, base + word.trailing_zeros());
                word &= word - 1;
            }
            let Some(next) = words.next() else { break };
            (word, base) = (*next, base.wrapping_add(64));
        }
        list.copied().fold(folded, f)
    }
}

impl EndpointSet {
    /// Adds a slot. Returns whether it was new.
    pub(crate) fn insert(&mut self, slot: u32) -> bool {
        match &mut self.0 {
            Form::List(slots) => {
                let Err(place) = slots.binary_search(&slot) else { return false };
                slots.insert(place, slot);
                self.settle();
                true
            }
            Form::Bits(words, len) => {
                let (word, bit) = place(slot);
                if word >= words.len() {
                    words.resize(word + 1, 0);
                }
                let new = words[word] & bit == 0;
                words[word] |= bit;
                *len += u32::from(new);
                new
            }
        }
    }

    /// Removes a slot. Returns whether it was a member.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        match &mut self.0 {
            Form::List(slots) => {
                let Ok(place) = slots.binary_search(&slot) else { return false };
                slots.remove(place);
                if slots.spilled() && slots.len() < slots.capacity() / 4 {
                    slots.shrink_to_fit();
                }
                true
            }
            Form::Bits(words, len) => {
                let (word, bit) = place(slot);
                if words.get(word).is_none_or(|w| w & bit == 0) {
                    return false;
                }
                words[word] &= !bit;
                *len -= 1;
                while words.last() == Some(&0) {
                    words.pop();
                }
                self.settle();
                true
            }
        }
    }

    /// The intersection.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        if let (Form::Bits(a, _), Form::Bits(b, _)) = (&self.0, &other.0) {
            return Self::of_words(a.iter().zip(b).map(|(a, b)| a & b).collect());
        }
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        let mut both = Self(Form::List(few.iter().filter(|slot| many.contains(*slot)).collect()));
        both.settle();
        both
    }

    /// Number of members that are in `other` too.
    #[inline]
    pub(crate) fn common(&self, other: &Self) -> usize {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        match (&few.0, &many.0) {
            (Form::List(slots), _) => slots.iter().filter(|slot| many.contains(**slot)).count(),
            (Form::Bits(a, _), Form::Bits(b, _)) => {
                a.iter().zip(b).map(|(a, b)| (a & b).count_ones() as usize).sum()
            }
            _ => few.iter().filter(|slot| many.contains(*slot)).count(),
        }
    }

    /// Adds the members of `other`.
    pub(crate) fn union_with(&mut self, other: &Self) {
        let fewer =
            if self.len() < other.len() { &mem::replace(self, other.clone()) } else { other };
        if let (Form::Bits(words, len), Form::Bits(more, _)) = (&mut self.0, &fewer.0) {
            words.resize(words.len().max(more.len()), 0);
            words.iter_mut().zip(more).for_each(|(word, more)| *word |= more);
            *len = words.iter().map(|word| word.count_ones()).sum();
        } else {
            fewer.iter().for_each(|slot| _ = self.insert(slot));
        }
    }

    fn of_words(mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        let len = words.iter().map(|word| word.count_ones()).sum();
        let mut set = Self(Form::Bits(words, len));
        set.settle();
        set
    }

    /// Whether the slot is a member.
    pub fn contains(&self, slot: u32) -> bool {
        match &self.0 {
            Form::List(slots) if slots.len() <= LIST_MIN => slots.contains(&slot),
            Form::List(slots) => slots.binary_search(&slot).is_ok(),
            Form::Bits(words, _) => {
                let (word, bit) = place(slot);
                words.get(word).is_some_and(|w| w & bit != 0)
            }
        }
    }

    /// Number of members. Computes in **O(1)**.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::List(slots) => slots.len(),
            Form::Bits(_, len) => *len as usize,
        }
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this slot is the only member.
    pub(super) fn is_only(&self, slot: u32) -> bool {
        match &self.0 {
            Form::List(slots) => slots[..] == [slot],
            // A bitmap has more members.
            Form::Bits(..) => false,
        }
    }

    /// Whether all its members are in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::List(a), Form::List(b)) if a == b => true,
            (Form::Bits(a, _), Form::Bits(b, _)) => {
                a.len() <= b.len() && a.iter().zip(b).all(|(a, b)| a & !b == 0)
            }
            _ => self.iter().all(|slot| other.contains(slot)),
        }
    }

    /// The members in ascending order. Where most slots are members, `for_each` takes a fraction of
    /// the time that a `for` loop takes.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (list, words): (&[u32], &[u64]) = match &self.0 {
            Form::List(slots) => (slots, &[]),
            Form::Bits(words, _) => (&[], words),
        };
        // The first word that is read begins at slot 0.
        Members { list: list.iter(), words: words.iter(), word: 0, base: 0_u32.wrapping_sub(64) }
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        match &self.0 {
            Form::List(slots) if slots.spilled() => slots.capacity() * size_of::<u32>(),
            Form::List(_) => 0,
            Form::Bits(words, _) => words.capacity() * size_of::<u64>(),
        }
    }

    /// Changes the form once the other is clearly smaller.
    fn settle(&mut self) {
        match &self.0 {
            Form::List(slots) => {
                let words = slots.last().map_or(0, |last| *last as usize / 64 + 1);
                if slots.len() > LIST_MIN && slots.len() > 2 * words {
                    let mut bits = alloc::vec![0; words];
                    for slot in slots {
                        let (word, bit) = place(*slot);
                        bits[word] |= bit;
                    }
                    self.0 = Form::Bits(bits, slots.len() as u32);
                }
            }
            Form::Bits(words, len) => {
                let len = *len as usize;
                if len <= LIST_MIN / 2 || len < words.len() / 2 {
                    self.0 = Form::List(self.iter().collect());
                }
            }
        }
    }

    /// The 64 slots from `64 * at` on, a bit each.
    pub(crate) fn word(&self, at: u32) -> u64 {
        match &self.0 {
            Form::List(slots) => {
                let from = slots.partition_point(|slot| slot / 64 < at);
                let here = slots[from..].iter().take_while(|slot| *slot / 64 == at);
                here.fold(0, |word, slot| word | place(*slot).1)
            }
            Form::Bits(words, _) => words.get(at as usize).copied().unwrap_or(0),
        }
    }

    /// The members in these words of 64 slots: the number of each word that has members, and a bit
    /// for each of them.
    #[inline]
    pub(crate) fn words(&self, words: Range<u32>) -> impl Iterator<Item = (u32, u64)> + '_ {
        let (mut list, bits): (&[u32], &[u64]) = match &self.0 {
            Form::List(slots) => {
                let from = |word| slots.partition_point(|slot| slot / 64 < word);
                (&slots[from(words.start)..from(words.end)], &[])
            }
            Form::Bits(bits, _) => {
                let end = bits.len().min(words.end as usize);
                (&[], bits.get(words.start as usize..end).unwrap_or_default())
            }
        };
        let of_list = iter::from_fn(move || {
            let number = list.first()? / 64;
            let mut word = 0;
            while let Some((slot, rest)) = list.split_first().filter(|(at, _)| *at / 64 == number) {
                word |= place(*slot).1;
                list = rest;
            }
            Some((number, word))
        });
        words.zip(bits.iter().copied()).filter(|(_, word)| *word != 0).chain(of_list)
    }

    /// Becomes equal to `other`, within its own memory if that suffices.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Form::List(slots), Form::List(others)) => slots.clone_from(others),
            (Form::Bits(words, len), Form::Bits(others, count)) => {
                words.clone_from(others);
                *len = *count;
            }
            _ => self.clone_from(other),
        }
    }
}

/// Up to this length, a list is inline and always kept.
const LIST_MIN: usize = 4;

const fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn built(slots: &BTreeSet<u32>) -> EndpointSet {
        let mut set = EndpointSet::default();
        for slot in slots {
            set.insert(*slot);
        }
        set
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(
            ops in prop::collection::vec((any::<bool>(), 0u32..400), 0..600),
        ) {
            let (mut set, mut model) = (EndpointSet::default(), BTreeSet::new());
            let mut copy = EndpointSet::default();
            for (insert, slot) in ops {
                if insert {
                    prop_assert_eq!(set.insert(slot), model.insert(slot));
                } else {
                    prop_assert_eq!(set.remove(slot), model.remove(&slot));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.contains(slot), model.contains(&slot));
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert_eq!(&set, &built(&model));
                copy.copy_from(&set);
                prop_assert_eq!(&copy, &set);
                let members = model.range(slot / 64 * 64..slot / 64 * 64 + 64);
                let word = members.fold(0, |word, s| word | 1 << (s % 64));
                prop_assert_eq!(set.word(slot / 64), word);
            }
            for (from, to) in [(0, u32::MAX), (1, 4), (3, 3), (9, 12)] {
                let expected = (from..to.min(7)).map(|number| (number, set.word(number)));
                prop_assert!(set.words(from..to).eq(expected.filter(|(_, word)| *word != 0)));
            }
        }

        #[test]
        fn sets_meet_and_join(
            a in prop::collection::btree_set(0u32..300, 0..200),
            b in prop::collection::btree_set(0u32..300, 0..200),
        ) {
            prop_assert_eq!(built(&a).is_subset(&built(&b)), a.is_subset(&b));
            prop_assert!(built(&a).intersection(&built(&b)).iter().eq(a.intersection(&b).copied()));
            prop_assert_eq!(built(&a).common(&built(&b)), a.intersection(&b).count());
            let mut either = built(&a);
            either.union_with(&built(&b));
            prop_assert_eq!(either, built(&a.union(&b).copied().collect()));
        }
    }
}
