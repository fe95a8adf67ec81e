//! Who holds how much of a prompt.

use core::ops::Range;

use super::{Runs, Stretch};
use crate::prefix::hash::BlockHash;
use crate::prefix::set::EndpointSet;

/// Who can still hold all of a prompt.
enum Reach<'a> {
    Everyone,
    These(&'a EndpointSet),
    Some(EndpointSet),
}

impl Runs {
    /// Visits levels: an endpoint holds as many blocks of `chain`, from the first on, as the deepest level that it is in says. A
    /// level may list endpoints that are in a deeper one too. Computes in **O(runs on the way × their parts)**, and allocates
    /// only where endpoints have holes.
    pub(in crate::prefix) fn levels(
        &self,
        chain: &[BlockHash],
        mut visit: impl FnMut(u32, &EndpointSet),
    ) {
        let mut reach = Reach::Everyone;
        let mut depth = 0;
        while let Some(stretch) = self.stretch(None, chain, depth) {
            let whole = stretch.len();
            let mut next: Option<Reach<'_>> = None;
            for part in
                self.slab[stretch.run as usize].parts.iter().take_while(|p| p.from <= stretch.from)
            {
                if part.to <= stretch.from {
                    continue;
                }
                let here = reach.meet(&part.endpoints);
                let held = (part.to - stretch.from) as usize;
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
        }
        if let Some(endpoints) = reach.endpoints() {
            visit(depth as u32, endpoints);
        }
    }

    /// Visits who holds which blocks of `chain`, as far as its blocks exist without a gap.
    pub(in crate::prefix) fn holders(
        &self,
        chain: &[BlockHash],
        mut visit: impl FnMut(Range<usize>, &EndpointSet),
    ) {
        for (at, Stretch { run, from, to }) in self.walk(chain) {
            for part in self.slab[run as usize].parts.iter().take_while(|part| part.from < to) {
                let (begin, end) = (part.from.max(from), part.to.min(to));
                if begin < end {
                    visit(
                        at + (begin - from) as usize..at + (end - from) as usize,
                        &part.endpoints,
                    );
                }
            }
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

    /// Those of `endpoints` that are within reach; borrowed if all are.
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

/// How many blocks two chains have in common, from the first on. Equal blocks mean equal blocks before them, so one look at the
/// last decides most cases, and a search the others.
pub(super) fn common(there: &[BlockHash], here: &[BlockHash]) -> usize {
    let most = there.len().min(here.len());
    let (there, here) = (&there[..most], &here[..most]);
    if there.last() == here.last() {
        return most;
    }
    let (mut equal, mut unequal) = (0, most);
    // Three looks at a time: none waits for the memory that another waits for.
    while unequal - equal > 3 {
        let quarter = (unequal - equal) / 4;
        let looks = [1, 2, 3].map(|at| equal + at * quarter);
        let [first, second, third] = looks.map(|at| there[at] == here[at]);
        (equal, unequal) = match (first, second, third) {
            (false, ..) => (equal, looks[0]),
            (_, false, _) => (looks[0] + 1, looks[1]),
            (.., false) => (looks[1] + 1, looks[2]),
            _ => (looks[2] + 1, unequal),
        };
    }
    equal
        + there[equal..unequal]
            .iter()
            .zip(&here[equal..unequal])
            .take_while(|(a, b)| a == b)
            .count()
}
