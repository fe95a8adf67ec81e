//! What all pickers share: random order, and the number of endpoints.

use crate::plugins::cycle::ScoredEndpoint;
use crate::rng::Rng;

/// The number of endpoints that `maxNumOfEndpoints` means: an invalid one means the default.
pub(super) fn number(max_num_of_endpoints: i64) -> usize {
    usize::try_from(max_num_of_endpoints).unwrap_or(0).max(1)
}

/// Puts candidates into a uniformly random order (Fisher and Yates).
pub(super) fn shuffle(candidates: &mut [ScoredEndpoint], rng: &mut Rng) {
    for last in (1..candidates.len()).rev() {
        candidates.swap(last, rng.below(last as u64 + 1) as usize);
    }
}
