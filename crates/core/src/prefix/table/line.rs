//! One cache line of the table, with eight entries.

/// The part of a key that a segment stores, never [`EMPTY`].
pub(super) type Tag = u32;

/// Entries are before empty slots.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line {
    pub(super) tags: [Tag; SLOTS],
    pub(super) values: [u32; SLOTS],
}

impl Line {
    #[inline]
    pub(super) fn may_contain(&self, tag: Tag) -> bool {
        self.tags.iter().fold(false, |any, there| any | (*there == tag))
    }

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.tags[SLOTS - 1] != EMPTY
    }

    /// Whether no entry is behind an empty slot.
    pub(super) fn is_dense(&self) -> bool {
        let vacant = self.tags.iter().filter(|tag| **tag == EMPTY).count();
        self.entries().count() + vacant == SLOTS
    }

    /// Number of entries before the last slot: a binary search without branches.
    #[inline]
    pub(super) const fn before_last(&self) -> usize {
        let mut len = 4 * (self.tags[3] != EMPTY) as usize;
        len += 2 * (self.tags[len + 1] != EMPTY) as usize;
        len + (self.tags[len] != EMPTY) as usize
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Tag, u32)> + '_ {
        let slots = self.tags.iter().copied().zip(self.values);
        slots.take_while(|(tag, _)| *tag != EMPTY)
    }

    /// Adds an entry to a line that is not full.
    #[inline]
    pub(super) const fn push(&mut self, tag: Tag, value: u32) {
        self.set(self.before_last(), tag, value);
    }

    /// Empties a slot; the last entry moves into it.
    #[inline]
    pub(super) const fn clear(&mut self, slot: usize) {
        let last = if self.is_full() { SLOTS - 1 } else { self.before_last() - 1 };
        self.set(slot, self.tags[last], self.values[last]);
        self.set(last, EMPTY, 0);
    }

    #[inline]
    pub(super) const fn set(&mut self, slot: usize, tag: Tag, value: u32) {
        (self.tags[slot], self.values[slot]) = (tag, value);
    }

    pub(super) fn words(&self) -> [u64; SLOTS] {
        core::array::from_fn(|at| u64::from(self.tags[at]) << 32 | u64::from(self.values[at]))
    }

    pub(super) fn of_words(words: [u64; SLOTS]) -> Self {
        Self { tags: words.map(|word| (word >> 32) as Tag), values: words.map(|word| word as u32) }
    }
}

/// Entries in a line.
pub(super) const SLOTS: usize = 8;
/// The tag of slots without an entry.
pub(super) const EMPTY: Tag = 0;
