//! Lookup: how much of a prompt each endpoint holds.

use super::Runs;
use crate::prefix::address::Address;
use crate::prefix::hash::BlockHash;
use crate::prefix::set::EndpointSet;

/// The endpoints that hold the whole prompt so far.
enum Reach<'a> {
    Everyone,
    These(&'a EndpointSet),
    Some(EndpointSet),
}

impl Runs {
    /// Visits levels: an endpoint holds as many blocks of `chain`, from the first on, as the
    /// deepest level that contains it. A level may include endpoints of deeper ones. Computes in
    /// **O(runs of the chain × their parts)**, and allocates only for endpoints with holes.
    #[inline]
    pub(in crate::prefix) fn levels(
        &self,
        chain: &[BlockHash],
        visit: impl FnMut(u32, &EndpointSet),
    ) {
        // Most prompts without a match end here, at the cost of one filter.
        if let Some(first) = chain.first().and_then(|first| self.head(*first)) {
            self.levels_from(first, chain, visit);
        }
    }

    /// The levels of a prompt whose first block is at `first`.
    #[inline(never)]
    fn levels_from(
        &self,
        first: Address,
        chain: &[BlockHash],
        mut visit: impl FnMut(u32, &EndpointSet),
    ) {
        let mut reach = Reach::Everyone;
        let mut depth = 0;
        let mut begin = Some(first);
        while let Some(at) = begin {
            let stretch = self.extent(at, &chain[depth..]);
            let whole = stretch.len();
            let mut next: Option<Reach<'_>> = None;
            for (held, endpoints) in self.slab[stretch.run].parts.prefixes() {
                let here = reach.meet(endpoints);
                let held = held as usize;
                if held < whole {
                    if let Some(endpoints) =
                        here.endpoints().filter(|endpoints| !endpoints.is_empty())
                    {
                        visit((depth + held) as u32, endpoints);
                    }
                } else {
                    next = Some(match next {
                        None => here,
                        Some(before) => before.join(&here),
                    });
                }
            }
            let next = next.unwrap_or_else(|| Reach::Some(EndpointSet::default()));
            if let Some(endpoints) =
                reach.endpoints().filter(|endpoints| next.len() < endpoints.len())
            {
                visit(depth as u32, endpoints);
            }
            reach = next;
            depth += whole;
            if reach.len() == 0 {
                return;
            }
            begin = chain.get(depth).and_then(|next| self.head(*next));
        }
        if let Some(endpoints) = reach.endpoints() {
            visit(depth as u32, endpoints);
        }
    }
}

impl<'a> Reach<'a> {
    fn endpoints(&self) -> Option<&EndpointSet> {
        match self {
            Self::Everyone => None,
            Self::These(endpoints) => Some(endpoints),
            Self::Some(endpoints) => Some(endpoints),
        }
    }

    fn len(&self) -> usize {
        self.endpoints().map_or(usize::MAX, EndpointSet::len)
    }

    /// The members of `endpoints` in reach; borrowed if all are.
    fn meet(&self, endpoints: &'a EndpointSet) -> Self {
        match self.endpoints() {
            None => Self::These(endpoints),
            Some(reach) if endpoints.is_subset(reach) => Self::These(endpoints),
            Some(reach) => Self::Some(endpoints.intersection(reach)),
        }
    }

    fn join(self, other: &Self) -> Self {
        match (self.endpoints(), other.endpoints()) {
            (Some(a), Some(b)) => Self::Some(a.union(b)),
            _ => Self::Everyone,
        }
    }
}
