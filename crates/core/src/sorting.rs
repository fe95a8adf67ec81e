//! A sort that is compiled once for all types.
//!
//! `slice::sort_by` is compiled for each type and order, at 4 to 13 KB. Off the decision path, few
//! bytes are worth more than speed.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Sorts with little code, for lists that are sorted rarely. Equal items keep their order. Computes
/// in **O(n log n)**, with 24 bytes for each item.
pub(crate) fn sort_rarely<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut ranks = ranks(items.len(), &|one, other| compare(&items[one], &items[other]));
    for at in 0..items.len() {
        // Each swap brings one item to its rank.
        while ranks[at] != at {
            let rank = ranks[at];
            items.swap(at, rank);
            ranks.swap(at, rank);
        }
    }
}

/// The rank of each of `count` positions.
fn ranks(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    let mut ranks = vec![0; count];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(keys in vec(0_u8..9, 0..40)) {
            let mut items: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            sort_rarely(&mut items, |(one, _), (other, _)| one.cmp(other));
            prop_assert_eq!(items, expected);
        }
    }
}
