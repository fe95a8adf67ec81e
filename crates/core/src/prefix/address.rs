//! Where blocks are: the run that contains a block, and the block's place in it.

use core::iter;

/// The number of a run.
pub(super) type RunId = u32;

/// The place of one block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) run: RunId,
    pub(super) offset: u16,
}

/// What the table of names stores of an address: lower bits of the run's number and of the offset.
///
/// No two addresses have the same one where there are at most four million runs, of at most 1,024
/// blocks each. Otherwise, the names at the addresses tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hint(pub(super) u32);

impl Hint {
    pub(super) const fn of(Address { run, offset }: Address) -> Self {
        Self(run << OFFSET_BITS | offset as u32 & OFFSETS)
    }

    /// The runs that may have the block.
    #[inline]
    pub(super) fn runs(self) -> impl Iterator<Item = RunId> {
        let step = 1 << (RunId::BITS - OFFSET_BITS);
        iter::successors(Some(self.0 >> OFFSET_BITS), move |run| run.checked_add(step))
    }

    /// The offsets at which the block may be in its run.
    #[inline]
    pub(super) fn offsets(self) -> impl Iterator<Item = u16> {
        let step = 1 << OFFSET_BITS;
        iter::successors(Some((self.0 & OFFSETS) as u16), move |offset| offset.checked_add(step))
    }
}

/// Bits of an offset in a hint.
const OFFSET_BITS: u32 = 10;
const OFFSETS: u32 = (1 << OFFSET_BITS) - 1;

/// Consecutive blocks of a chain that are adjacent in one run: `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) run: RunId,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Stretch {
    pub(super) const fn of_one(Address { run, offset }: Address) -> Self {
        let from = offset as u32;
        Self { run, from, to: from + 1 }
    }

    /// The number of its blocks.
    pub(super) const fn len(self) -> usize {
        (self.to - self.from) as usize
    }

    pub(super) const fn contains(self, Address { run, offset }: Address) -> bool {
        self.run == run && self.from <= offset as u32 && (offset as u32) < self.to
    }

    /// Its first `blocks` blocks.
    pub(super) const fn first(self, blocks: usize) -> Self {
        Self { to: self.from + blocks as u32, ..self }
    }

    /// The address of its last block.
    pub(super) const fn last(self) -> Address {
        Address { run: self.run, offset: (self.to - 1) as u16 }
    }
}

/// How much of a run an endpoint holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Coverage {
    /// The number of blocks up to the first hole.
    pub(super) prefix: u32,
    /// The end of the last block, before or behind a hole.
    pub(super) end: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_leads_to_the_address_and_to_few_others() {
        for run in [0, 1, 77, 1 << 22, (1 << 22) + 77, u32::MAX] {
            for offset in [0, 1, 1_023, 1_024, 5_000, u16::MAX] {
                let hint = Hint::of(Address { run, offset });
                assert_eq!(hint.runs().filter(|there| *there == run).count(), 1);
                assert_eq!(hint.runs().count(), 1 << OFFSET_BITS);
                assert_eq!(hint.offsets().filter(|there| *there == offset).count(), 1);
                assert_eq!(hint.offsets().count(), 1 << (u16::BITS - OFFSET_BITS));
            }
        }
    }
}
