//! Lookup: how much of a prompt each endpoint holds.

use alloc::borrow::Cow;
use core::mem;

use super::Runs;
use super::run::Run;
use crate::prefix::address::Address;
use crate::prefix::hash::BlockHash;
use crate::prefix::set::EndpointSet;

/// The blocks of a prompt that a run begins with.
struct Step<'a> {
    run: &'a Run,
    blocks: u32,
    /// Number of the prompt's blocks before them.
    depth: u32,
    /// Where the prompt continues.
    next: Option<Address>,
}

/// The endpoints that hold the whole prompt so far, in disjoint sets.
#[derive(Default)]
struct Reach<'a> {
    /// The sets of parts, as they are: copying them would take most of a lookup.
    parts: [Option<&'a EndpointSet>; FEW],
    /// All other endpoints.
    others: EndpointSet,
}

impl Runs {
    /// Visits levels: an endpoint holds as many blocks of `chain`, from the first on, as the
    /// deepest level that contains it. A level may include endpoints of deeper ones, and there may
    /// be several of a depth. Computes in **O(runs of the chain × their parts)**, and allocates
    /// only for endpoints with holes, and where a prompt leaves many parts at once.
    #[inline]
    pub(in crate::prefix) fn levels(
        &self,
        chain: &[BlockHash],
        visit: impl FnMut(u32, &EndpointSet),
    ) {
        // Most prompts without a match end here, at the cost of one filter.
        let Some(first) = chain.first() else { return };
        if self.heads.may_contain(*first) {
            self.levels_from(*first, chain, visit);
        }
    }

    /// The levels of a prompt whose first block passed the filter.
    #[inline(never)]
    fn levels_from(
        &self,
        first: BlockHash,
        chain: &[BlockHash],
        mut visit: impl FnMut(u32, &EndpointSet),
    ) {
        let Some(first) = self.find_head(first) else { return };
        let (mut step, mut reach) = (self.step(first, chain, 0), Reach::default());
        for (length, endpoints) in step.run.parts.prefixes() {
            if step.is_passed_by(length) {
                reach.add(Cow::Borrowed(endpoints));
            } else {
                visit(step.depth_of(length), endpoints);
            }
        }
        while let Some(next) = step.next {
            step = self.step(next, chain, step.end());
            let (before, mut reached) = (mem::take(&mut reach), 0);
            for (length, endpoints) in step.run.parts.prefixes() {
                let both = before.meet(endpoints);
                reached += both.len();
                if step.is_passed_by(length) {
                    reach.add(both);
                } else if !both.is_empty() {
                    visit(step.depth_of(length), &both);
                }
            }
            if reached < before.len() {
                before.sets().for_each(|endpoints| visit(step.depth, endpoints));
            }
        }
    }

    /// The blocks of the prompt from block `depth` on, which is the first of a run.
    #[inline(always)]
    fn step(&self, head: Address, chain: &[BlockHash], depth: usize) -> Step<'_> {
        let run = &self.slab[head.run];
        let blocks = run.extent(0, &chain[depth..]);
        let next = chain.get(depth + blocks).and_then(|next| self.head(*next));
        Step { run, blocks: blocks as u32, depth: depth as u32, next }
    }
}

impl Step<'_> {
    /// The number of the prompt's blocks up to its end.
    const fn end(&self) -> usize {
        (self.depth + self.blocks) as usize
    }

    /// Whether the prompt continues, and endpoints with so much of the run hold all of it so far.
    const fn is_passed_by(&self, length: u32) -> bool {
        self.next.is_some() && length >= self.blocks
    }

    /// The number of the prompt's blocks that endpoints with so much of the run hold.
    fn depth_of(&self, length: u32) -> u32 {
        self.depth + length.min(self.blocks)
    }
}

impl<'a> Reach<'a> {
    /// The sets that have members.
    fn sets(&self) -> impl Iterator<Item = &EndpointSet> {
        let others = Some(&self.others).filter(|others| !others.is_empty());
        self.parts.iter().copied().flatten().chain(others)
    }

    fn len(&self) -> usize {
        self.sets().map(EndpointSet::len).sum()
    }

    /// The members of `endpoints` in reach; borrowed if all are.
    fn meet(&self, endpoints: &'a EndpointSet) -> Cow<'a, EndpointSet> {
        let mut missing = endpoints.len();
        for set in self.sets() {
            missing -= endpoints.common(set);
            if missing == 0 {
                return Cow::Borrowed(endpoints);
            }
        }
        let mut both = EndpointSet::default();
        self.sets().for_each(|set| both.union_with(&endpoints.intersection(set)));
        Cow::Owned(both)
    }

    /// Adds endpoints of another part.
    #[inline]
    fn add(&mut self, endpoints: Cow<'a, EndpointSet>) {
        match (endpoints, self.parts.iter_mut().find(|part| part.is_none())) {
            (Cow::Borrowed(set), Some(part)) => *part = Some(set),
            (set, _) => self.others.union_with(&set),
        }
    }
}

/// Parts whose sets are kept apart.
const FEW: usize = 4;
