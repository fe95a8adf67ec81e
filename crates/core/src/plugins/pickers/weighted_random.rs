//! `weighted-random-picker`: higher scores more often.

use super::ln::ln;
use super::random_order::{draw, number};
use crate::plugins::cycle::ScoredEndpoint;
use crate::plugins::picker::Picker;
use crate::rng::Rng;

/// `weighted-random-picker`: selects endpoints at random, with probabilities proportional to their
/// scores, without replacement.
///
/// The algorithm is A-Res (Efraimidis and Spirakis, 2006):
///
/// ```text
/// key = U^(1 / score), U uniform in (0, 1); the highest keys win
/// ```
///
/// Keys are compared as `-ln(U) / score`, where the lowest wins. The order is the same, and no key
/// underflows to zero, as those of small scores do in the reference.
///
/// An endpoint with a score of zero or below is not selected, unless all are: then all are equally
/// likely.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct WeightedRandomPicker {
    /// Most endpoints to select; below 1 counts as 1.
    pub max_num_of_endpoints: i64,
}

impl Default for WeightedRandomPicker {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1 }
    }
}

impl Picker for WeightedRandomPicker {
    fn pick(&self, candidates: &mut [ScoredEndpoint], rng: &mut Rng) -> usize {
        let finite = |candidate: &ScoredEndpoint| candidate.score().min(f64::MAX);
        let eligible = candidates.iter().filter(|candidate| candidate.score() > 0.0).map(finite);
        let (count, highest) = eligible.fold((0, 0.0_f64), |(n, max), s| (n + 1, max.max(s)));
        let selected = number(self.max_num_of_endpoints);
        if count == 0 {
            draw(candidates, selected, rng);
            return selected;
        }
        candidates.sort_by_cached_key(|candidate| {
            if candidate.score() > 0.0 {
                // Relative to the highest score, so that no key of equal scores overflows.
                let key = -ln(open_unit(rng)) * (highest / finite(candidate));
                // Bits of positive floats have the order of the floats.
                key.to_bits()
            } else {
                u64::MAX
            }
        });
        selected.min(count)
    }
}

/// A uniform number in `(0, 1)`: an odd multiple of 2^-53.
fn open_unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
}
