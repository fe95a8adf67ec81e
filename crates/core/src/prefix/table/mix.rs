//! The hash function of the table.

use core::hash::BuildHasher;

use super::line::{EMPTY, Tag};
use crate::prefix::keyed_state::KeyedState;
use crate::rng::Rng;

/// A random linear function; its upper half is used.
///
/// The hashes of any two keys are independent: without the secret, chosen keys collide no more
/// often than random ones. Sequential keys remain a sequence, which can cluster; its lower bits
/// spread them.
#[derive(Debug)]
pub(super) struct Mix {
    pub(super) factor: u128,
    pub(super) term: u128,
}

impl Mix {
    pub(super) fn new(hash_state: KeyedState) -> Self {
        let mut rng = Rng::new(hash_state.hash_one(0_u64));
        let mut wide = || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self { factor: wide(), term: wide() }
    }

    /// A parabola makes tags twice as dense at the end of their range as at its beginning.
    #[inline]
    pub(super) fn tag(&self, key: u64) -> Tag {
        let linear = self.factor.wrapping_mul(key as u128).wrapping_add(self.term);
        let hash = (linear >> 64) as u64;
        let even = (hash >> 32 ^ hash) as Tag;
        let bulge = (even as u64 * !even as u64) >> 32;
        (even + (bulge * 5 / 16) as Tag).max(EMPTY + 1)
    }
}
