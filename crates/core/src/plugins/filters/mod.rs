//! The reference's filters, one a file.

mod label_selector;

pub use label_selector::LabelSelectorFilter;

use super::filter::Filter;
use super::registry::plugin_family;

plugin_family! {
    /// A filter by its name in the reference, with its parameters.
    FilterPlugin: Filter {
        "label-selector-filter" => LabelSelector(LabelSelectorFilter),
    }
}
