//! `random-picker`: any endpoint.

use super::random_order::{draw, number};
use crate::plugins::cycle::ScoredEndpoint;
use crate::plugins::picker::Picker;
use crate::rng::Rng;

/// `random-picker`: selects endpoints uniformly at random; scores have no effect.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct RandomPicker {
    /// Most endpoints to select; below 1 counts as 1.
    pub max_num_of_endpoints: i64,
}

impl Default for RandomPicker {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1 }
    }
}

impl Picker for RandomPicker {
    fn pick(&self, candidates: &mut [ScoredEndpoint], rng: &mut Rng) -> usize {
        let selected = number(self.max_num_of_endpoints);
        draw(candidates, selected, rng);
        selected
    }
}
