//! The reference's pickers, one a file.

mod max_score;

pub use max_score::MaxScorePicker;

use super::picker::Picker;
use super::registry::plugin_family;

plugin_family! {
    /// A picker by its name in the reference, with its parameters.
    PickerPlugin: Picker {
        "max-score-picker" => MaxScore(MaxScorePicker),
    }
}

impl Default for PickerPlugin {
    fn default() -> Self {
        Self::MaxScore(MaxScorePicker::default())
    }
}
