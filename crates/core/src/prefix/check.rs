//! The invariants of the index, for tests.

#[cfg(feature = "internals")]
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
#[cfg(feature = "internals")]
use core::ops::Range;

use super::address::{Address, Stretch};
use super::event::{EngineHash, Tier};
#[cfg(feature = "internals")]
use super::hash::BlockHash;
use super::index::PrefixIndex;
#[cfg(feature = "internals")]
use super::set::EndpointSet;

impl PrefixIndex {
    /// Returns the first broken invariant. Computes in **O(size of the index)**.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.runs.check()?;
        for (slot, member) in (0..).zip(&self.endpoints) {
            let Some(member) = member else { continue };
            let mut here: Vec<_> = member.holding.runs().collect();
            here.sort_unstable_by_key(|(run, _)| *run);
            if !here.into_iter().eq(self.runs.held_by(slot)) {
                return Err("runs and holdings agree on who holds what");
            }
            member.holding.check()?;
            if self.estimates.count(slot) as usize != member.holding.estimated_blocks() {
                return Err("each endpoint's estimate is counted");
            }
            let shared = |(stretch, _): (Stretch, Tier)| {
                (0..stretch.len()).all(|at| self.runs.name(stretch.first(at + 1).last()).is_some())
            };
            if !member.holding.names.are_own() && !member.holding.stored().all(shared) {
                return Err("what an engine stores has a name");
            }
            let stored = |(_, address, tier): (EngineHash, Address, Tier)| {
                member.holding.state(address).is_some_and(|state| state.copies(tier) > 0)
            };
            if !member.holding.names.iter().all(stored) {
                return Err("what an engine has a name for is stored");
            }
        }
        let members = self.endpoints.iter().flatten();
        let allocated = members.clone().map(|member| member.holding.allocated()).sum::<usize>();
        let pairs: usize = members.map(|member| member.holding.held()).sum();
        if pairs != self.pairs || allocated != self.allocated {
            return Err("pairs and bytes add up");
        }
        if self.allocated() > self.limits.bytes { Err("the limit is a limit") } else { Ok(()) }
    }

    #[cfg(feature = "internals")]
    /// The numbers of runs, of blocks in them, and of shared engine hashes.
    pub(crate) fn census(&self) -> (usize, usize, usize) {
        self.runs.census()
    }

    #[cfg(feature = "internals")]
    /// Visits the holders of each range of `chain`, including ranges behind a hole, up to the first
    /// unknown block. Computes in **O(runs of the chain × endpoints × their spans)**.
    pub(crate) fn holders(
        &self,
        chain: &[BlockHash],
        mut visit: impl FnMut(Range<usize>, &EndpointSet),
    ) {
        for (at, stretch) in self.runs.walk(chain) {
            let mut ranges = BTreeMap::<_, EndpointSet>::new();
            for (slot, member) in (0..).zip(&self.endpoints) {
                let holding = member.iter().map(|member| &member.holding);
                for (from, to) in holding.flat_map(|holding| holding.stretches(stretch.run)) {
                    if from < stretch.to {
                        ranges.entry((from, to.min(stretch.to))).or_default().insert(slot);
                    }
                }
            }
            for ((from, to), endpoints) in ranges {
                visit(at + from as usize..at + to as usize, &endpoints);
            }
        }
    }
}
