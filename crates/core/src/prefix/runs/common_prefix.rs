//! The common prefix of two chains of block hashes.

use crate::prefix::hash::BlockHash;

/// Number of equal blocks of two chains, from the first on. Equal hashes mean equal blocks before
/// them, so comparing the last decides most cases; others take a search.
#[inline]
pub(super) fn common(there: &[BlockHash], here: &[BlockHash]) -> usize {
    let most = there.len().min(here.len());
    let (there, here) = (&there[..most], &here[..most]);
    if there.last() == here.last() {
        return most;
    }
    let (mut equal, mut unequal) = (0, most);
    // Three independent comparisons at a time, whose cache misses overlap.
    while unequal - equal > FEW {
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

/// Blocks, of two cache lines, that are compared one by one.
const FEW: usize = 16;
