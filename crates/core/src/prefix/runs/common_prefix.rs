//! How far two chains of block hashes agree.

use crate::prefix::hash::BlockHash;

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
