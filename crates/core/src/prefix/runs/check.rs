//! The invariants of runs, for tests.

use alloc::vec::Vec;

use super::parts::{Extent, Part};
use super::run::Run;
use super::{ANONYMOUS, Runs};
use crate::prefix::address::{Address, Coverage, RunId};
use crate::prefix::event::EngineHash;
use crate::prefix::hash::BlockHash;

impl Runs {
    #[cfg(feature = "internals")]
    /// The numbers of runs, of blocks in them, and of shared engine hashes.
    pub(in crate::prefix) fn census(&self) -> (usize, usize, usize) {
        (self.heads.len(), self.slab.iter().map(|run| run.blocks.len()).sum(), self.names.len())
    }

    /// How much the endpoint holds of each run, by its parts.
    pub(in crate::prefix) fn held_by(
        &self,
        slot: u32,
    ) -> impl Iterator<Item = (RunId, Coverage)> + '_ {
        let runs = self.slab.iter().zip(0..);
        runs.filter_map(move |(run, id)| {
            let mine = run.parts.iter().filter(|part| part.endpoints.contains(slot));
            let add = |mut sum: Coverage, part: &Part| {
                match part.extent {
                    Extent::Prefix(length) => sum.prefix += length,
                    Extent::Rest(end) => sum.end += end,
                }
                sum
            };
            let Coverage { prefix, end } = mine.fold(Coverage::default(), add);
            let end = if end == 0 { prefix } else { end };
            (end > 0).then_some((id, Coverage { prefix, end }))
        })
    }

    /// Returns the first broken invariant. Computes in **O(size of the runs)**.
    pub(in crate::prefix) fn check(&self) -> Result<(), &'static str> {
        let live = self.slab.iter().filter(|run| !run.blocks.is_empty()).count();
        let named =
            self.slab.iter().flat_map(|run| &run.names).filter(|name| **name != ANONYMOUS).count();
        if live != self.heads.len()
            || named != self.names.len()
            || live + self.free.len() != self.slab.len()
        {
            return Err("every run has a head, every name a block, and free runs are free");
        }
        if self.slab.iter().map(Run::allocated).sum::<usize>() != self.allocated {
            return Err("what runs have allocated is counted");
        }
        for (run, id) in self.slab.iter().zip(0..) {
            let is_head =
                |hash: &BlockHash| self.head(*hash) == Some(Address { run: id, offset: 0 });
            if !run.blocks.first().is_none_or(|first| *first == run.first && is_head(first))
                || run.blocks.last().is_some_and(|last| *last != run.last)
            {
                return Err("a run is found by its head, and known by its end");
            }
            let at = |(name, offset): (&EngineHash, u16)| {
                *name == ANONYMOUS || self.named(*name) == Some(Address { run: id, offset })
            };
            if !(run.names.is_empty() || run.names.len() == run.blocks.len())
                || !run.names.iter().zip(0..).all(at)
            {
                return Err("a name leads to its block");
            }
            if !run.parts.iter().is_sorted_by(|a, b| a.extent.rank() < b.extent.rank())
                || run.parts.iter().any(|part| part.endpoints.is_empty())
            {
                return Err("parts are sorted, and none is empty");
            }
            if run.sets != run.parts.iter().map(|part| part.endpoints.allocated()).sum::<usize>() {
                return Err("what sets have allocated is counted");
            }
            if run.parts.end() as usize != run.blocks.len()
                || run.blocks.is_empty() != self.free.contains(&id)
            {
                return Err("a run ends at its last held block, and is free without one");
            }
        }
        let mut blocks: Vec<_> = self.slab.iter().flat_map(|run| &run.blocks).collect();
        blocks.sort_unstable();
        if blocks.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a block is in one place");
        }
        Ok(())
    }
}
