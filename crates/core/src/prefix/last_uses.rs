//! The last uses of the blocks that a request is expected to find in a cache.

use super::address::Stretch;
use super::hash::BlockHash;
use super::holding::Holding;
use super::index::PrefixIndex;

/// The stamps of the last uses of a chain's first block and of another one, each if the block was
/// computed. An expected block is no evidence about evictions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LastUses {
    pub(crate) first: Option<u64>,
    pub(crate) last: Option<u64>,
}

impl LastUses {
    /// Reads the first block and block `at` of a chain, if they are in a stretch that begins at
    /// this place of the chain.
    pub(super) fn note(
        &mut self,
        holding: &Holding,
        (begin, stretch): (usize, Stretch),
        at: usize,
    ) {
        let last_use = |stretch: Stretch| {
            let state = holding.state(stretch.last());
            state.filter(|state| state.computed).map(|state| state.used)
        };
        if begin == 0 {
            self.first = last_use(stretch.first(1));
        }
        if (begin..begin + stretch.len()).contains(&at) {
            self.last = last_use(stretch.first(at - begin + 1));
        }
    }
}

impl PrefixIndex {
    /// The last uses of the first block of `chain` and of block `at` on this endpoint.
    pub(crate) fn last_uses(&self, slot: u32, chain: &[BlockHash], at: usize) -> Option<LastUses> {
        let holding = &self.member(slot)?.holding;
        let mut uses = LastUses::default();
        for (begin, stretch) in self.runs.walk(chain).take_while(|(begin, _)| *begin <= at) {
            uses.note(holding, (begin, stretch), at);
        }
        Some(uses)
    }
}
