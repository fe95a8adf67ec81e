//! The reference's pickers, one a file.

mod ln;
mod max_score;
mod random;
mod random_order;
#[cfg(test)]
mod tests;
mod weighted_random;

pub use max_score::MaxScorePicker;
pub use random::RandomPicker;
pub(crate) use random_order::ScoreOrder;
pub use weighted_random::WeightedRandomPicker;

use super::picker::Picker;
use super::registry::plugin_family;

plugin_family! {
    /// A picker by its name in the reference, with its parameters.
    PickerPlugin: Picker {
        "max-score-picker" => MaxScore(MaxScorePicker),
        "random-picker" => Random(RandomPicker),
        "weighted-random-picker" => WeightedRandom(WeightedRandomPicker),
    }
}

impl Default for PickerPlugin {
    fn default() -> Self {
        Self::MaxScore(MaxScorePicker::default())
    }
}
