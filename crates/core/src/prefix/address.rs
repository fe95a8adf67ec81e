//! Where blocks are: the run that contains a block, and the block's place in it.

/// The number of a run.
pub(super) type RunId = u32;

/// The place of one block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) run: RunId,
    pub(super) offset: u16,
}

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
