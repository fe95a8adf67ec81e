//! The runs by their first blocks, with a filter before the table, as most blocks begin no run.
//!
//! The table reads a segment and then a line: two cache misses, of which the second waits for the
//! first. The filter is one array of words. Each run sets two bits of one word, so most blocks cost
//! one cache miss and no read of the table.
//!
//! The filter takes its bits from the hash as it is: every block of a new prompt asks it. Hashes
//! that were chosen to meet pass the filter, and the table's secret keeps them apart.
//!
//! Bits are never cleared. A filter that is full, or too large, is replaced by a new one, which is
//! filled with some runs in each later change, in the order of their numbers.

use alloc::boxed::Box;
use core::mem;

use super::slab::Slab;
use crate::prefix::address::{Address, RunId};
use crate::prefix::codec::{Reader, SnapshotError, Writer};
use crate::prefix::hash::BlockHash;
use crate::prefix::keyed_state::KeyedState;
use crate::prefix::table::Table;

/// A table that rejects most blocks with which no run begins at the cost of one cache line.
#[derive(Debug)]
pub(super) struct Heads {
    table: Table,
    /// Has the bits of every run; without words, of every possible block.
    filter: Filter,
    /// The filter that will replace it; without words, none is being filled.
    next: Filter,
    /// The runs with numbers below this one are in `next`.
    filled: usize,
}

/// Two bits of one word for each block that was added.
#[derive(Debug, Default)]
struct Filter {
    words: Box<[u64]>,
    /// Number of blocks, including those that begin no run any more.
    added: usize,
}

impl Heads {
    /// An empty table, without allocation.
    pub(super) fn new(hash_state: KeyedState) -> Self {
        let (filter, next) = (Filter::default(), Filter::default());
        Self { table: Table::new(hash_state), filter, next, filled: 0 }
    }

    /// Whether a run may begin with this block.
    #[inline]
    pub(super) fn may_contain(&self, head: BlockHash) -> bool {
        self.filter.may_contain(head)
    }

    /// The run that begins with this block, of those for which `is` holds.
    #[inline]
    pub(super) fn get(
        &self,
        head: BlockHash,
        mut is: impl FnMut(Address) -> bool,
    ) -> Option<Address> {
        self.table.get(head.0, |run| Some(Address { run, offset: 0 }).filter(|at| is(*at)))
    }

    /// As [`Table::touch`].
    pub(super) fn touch(&self, head: BlockHash) {
        self.table.touch(self.table.place(head.0));
    }

    /// Adds a run of the slab, which has no blocks yet. Computes in **O(1)**, and in **O(runs /
    /// [`STEPS`])** while a filter is being filled.
    pub(super) fn insert(&mut self, slab: &Slab, head: BlockHash, run: RunId) {
        self.table.insert_at(self.table.place(head.0), run);
        self.fill(slab, self.table.len() >= FEW && self.filter.is_full());
        self.filter.add(head);
        if (run as usize) < self.filled {
            self.next.add(head);
        }
    }

    /// Removes a run, which has no blocks any more. Computes as an insertion.
    pub(super) fn remove(&mut self, slab: &Slab, head: BlockHash, run: RunId) {
        self.table.remove_at(self.table.place(head.0), run);
        if self.table.len() == 0 {
            (self.filter, self.next, self.filled) = (Filter::default(), Filter::default(), 0);
        }
        self.fill(slab, self.filter.words.len() > Filter::words_for(4 * self.table.len()));
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    /// The runs, in no defined order.
    pub(super) fn iter(&self) -> impl Iterator<Item = RunId> + '_ {
        self.table.iter()
    }

    /// Writes the table; the filter follows from the runs.
    pub(super) fn save(&self, writer: &mut Writer) {
        self.table.save(writer);
    }

    /// As [`Table::load`]. [`fill_all`](Self::fill_all) adds the filter, once there are runs.
    pub(super) fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.table.load(reader)
    }

    /// Makes the filter for all runs.
    pub(super) fn fill_all(&mut self, slab: &Slab) {
        self.fill(slab, self.table.len() >= FEW);
        while !self.next.words.is_empty() {
            self.fill(slab, false);
        }
    }

    /// Allocated bytes. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.table.allocated() + self.filter.allocated() + self.next.allocated()
    }

    /// Upper limit of additional bytes with these runs. Computes in **O(runs)**.
    pub(super) fn growth(&self, heads: &[BlockHash]) -> usize {
        if heads.is_empty() {
            return 0;
        }
        // At most one filter that is full and one that is being filled.
        let one = Filter::words_for(self.table.len() + heads.len()) * size_of::<u64>();
        let filters = 2 * one - one.min(self.filter.allocated() + self.next.allocated());
        self.table.growth(heads.iter().map(|head| head.0)) + filters
    }

    /// Adds some more runs to the next filter. With `begin`, starts one.
    fn fill(&mut self, slab: &Slab, begin: bool) {
        if self.next.words.is_empty() {
            if !begin {
                return;
            }
            self.next = Filter::new(self.table.len());
        }
        let runs = slab.len();
        let end = runs.min(self.filled + LEAST_STEP.max(runs.div_ceil(STEPS)));
        for run in self.filled..end {
            let run = slab.get(run as RunId).filter(|run| !run.blocks.is_empty());
            run.into_iter().for_each(|run| self.next.add(run.first));
        }
        self.filled = end;
        if end == runs {
            (self.filter, self.filled) = (mem::take(&mut self.next), 0);
        }
    }
}

impl Filter {
    /// A filter that this number of blocks leaves half full.
    fn new(blocks: usize) -> Self {
        Self { words: alloc::vec![0; Self::words_for(blocks)].into(), added: 0 }
    }

    const fn words_for(blocks: usize) -> usize {
        blocks.div_ceil(BLOCKS / 2) + BLOCKS
    }

    const fn is_full(&self) -> bool {
        self.added >= BLOCKS * self.words.len()
    }

    #[inline]
    fn add(&mut self, block: BlockHash) {
        let (word, bits) = self.place(block);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bits;
            self.added += 1;
        }
    }

    /// Whether the block may have been added.
    #[inline]
    fn may_contain(&self, block: BlockHash) -> bool {
        let (word, bits) = self.place(block);
        self.words.get(word).is_none_or(|word| word & bits == bits)
    }

    /// The block's word, and its bits there. A multiplication spreads hashes that are small.
    #[inline]
    const fn place(&self, BlockHash(hash): BlockHash) -> (usize, u64) {
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = ((mixed >> 32) * self.words.len() as u64) >> 32;
        (word as usize, 1 << (mixed % 64) | 1 << (mixed / 64 % 64))
    }

    const fn allocated(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

/// Blocks of a word in a full filter: one unknown block in fifty passes it.
const BLOCKS: usize = 4;
/// Below this number of runs, the table is in the nearest cache and needs no filter.
const FEW: usize = 32;
/// The most changes in which a filter is filled.
const STEPS: usize = 1_024;
/// The least runs that a change adds to the next filter.
const LEAST_STEP: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::super::run::Run;
    use super::*;
    use crate::rng::Rng;

    /// Runs of one block, as they begin and end.
    #[derive(Debug)]
    struct Model {
        heads: Heads,
        slab: Slab,
        free: Vec<RunId>,
        runs: BTreeMap<BlockHash, RunId>,
    }

    impl Model {
        fn new(seed: u64) -> Self {
            let heads = Heads::new(KeyedState::new(seed));
            Self { heads, slab: Slab::default(), free: Vec::new(), runs: BTreeMap::new() }
        }

        fn begin(&mut self, head: BlockHash) {
            let Self { heads, slab, free, runs } = self;
            let run = free.pop().unwrap_or_else(|| slab.push(Run::new()));
            let foreseen = heads.allocated() + heads.growth(&[head]);
            slab[run].first = head;
            heads.insert(slab, head, run);
            assert!(heads.allocated() <= foreseen);
            slab[run].blocks.push(head);
            runs.insert(head, run);
        }

        fn end(&mut self, head: BlockHash) {
            let Some(run) = self.runs.remove(&head) else { return };
            self.slab[run] = Run::new();
            self.free.push(run);
            self.heads.remove(&self.slab, head, run);
        }

        /// Filters lack no run, and their bytes have a limit.
        fn check(&self) {
            let Self { heads, slab, runs, .. } = self;
            assert_eq!(heads.len(), runs.len());
            for (head, run) in runs {
                assert!(heads.may_contain(*head));
                assert!(*run as usize >= heads.filled || heads.next.may_contain(*head));
                let is = |at: Address| slab[at.run].begins_with(*head);
                assert_eq!(heads.get(*head, is), Some(Address { run: *run, offset: 0 }));
            }
            assert!(heads.next.words.is_empty() || heads.filled < slab.len());
            assert!(heads.filter.words.len() <= Filter::words_for(4 * (runs.len() + slab.len())));
        }
    }

    proptest! {
        /// Runs begin and end in waves, compared with a map. Small hashes are no exception.
        #[test]
        fn finds_every_run(
            waves in prop::collection::vec((0u64..700, 0u64..700), 1..6),
            small in any::<bool>(),
        ) {
            let mut model = Model::new(1);
            let head = |number| BlockHash(if small { number } else { Rng::new(number).next_u64() });
            for (begin, end) in waves {
                for number in 0..begin {
                    if !model.runs.contains_key(&head(number)) {
                        model.begin(head(number));
                    }
                }
                model.check();
                (0..end).rev().step_by(3).chain(0..end).for_each(|number| model.end(head(number)));
                model.check();
                for number in 0..700 {
                    let is_run = model.runs.contains_key(&head(number));
                    let is = |at: Address| model.slab[at.run].begins_with(head(number));
                    let found = model.heads.get(head(number), is);
                    prop_assert_eq!(found.is_some(), is_run);
                    prop_assert!(!is_run || model.heads.may_contain(head(number)));
                }
            }
        }
    }

    #[test]
    fn few_unknown_blocks_pass() {
        for of in [|rng: &mut Rng| rng.next_u64(), |rng: &mut Rng| rng.next_u64() >> 32] {
            let (mut model, mut rng) = (Model::new(2), Rng::new(3));
            for run in 0..20_000 {
                model.begin(BlockHash(of(&mut rng)));
                if run % 1_000 == 999 {
                    let passes = |rng: &mut Rng| model.heads.may_contain(BlockHash(of(rng)));
                    let passed = (0..1_000).filter(|_| passes(&mut rng)).count();
                    assert!(passed < 60, "{passed} of 1,000 pass with {run} runs");
                }
            }
            model.check();
        }
    }

    #[test]
    fn churn_leaves_the_filter_as_large_as_it_was() {
        let (mut model, mut rng) = (Model::new(4), Rng::new(5));
        let heads: Vec<_> = (0..20_000).map(|_| BlockHash(rng.next_u64())).collect();
        for (run, head) in heads.iter().enumerate() {
            model.begin(*head);
            if run >= 1_000 {
                model.end(heads[run - 1_000]);
                let words = model.heads.filter.words.len() + model.heads.next.words.len();
                assert!(words <= 2 * Filter::words_for(1_001), "{words} words for 1,000 runs");
            }
        }
        model.check();
    }
}
