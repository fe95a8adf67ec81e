//! `by-label`: endpoints whose label has one of several values.

use alloc::string::String;
use alloc::vec::Vec;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;
use crate::plugins::parameters::checked_parameters;

/// `by-label`: keeps endpoints whose label has one of these values. Deprecated in the reference in
/// favour of [`LabelSelectorFilter`](super::LabelSelectorFilter).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct ByLabelFilter {
    /// The label.
    #[cfg_attr(feature = "serde", serde(default))]
    pub label: String,
    /// The values that it may have.
    #[cfg_attr(feature = "serde", serde(default))]
    pub valid_values: Vec<String>,
    /// Whether endpoints without the label are kept too.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allows_no_label: bool,
}

impl ByLabelFilter {
    /// Keeps endpoints whose label has one of these values.
    pub fn new(label: impl Into<String>, valid_values: &[&str]) -> Self {
        Self {
            label: label.into(),
            valid_values: valid_values.iter().map(|value| String::from(*value)).collect(),
            allows_no_label: false,
        }
    }
}

impl Filter for ByLabelFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|endpoint| {
            let value = label(endpoint, &self.label);
            value.is_none() && self.allows_no_label
                // In the reference, a missing label has the empty value.
                || self.valid_values.iter().any(|valid| valid == value.unwrap_or(""))
        });
    }
}

/// The value of a label.
pub(super) fn label<'e>(endpoint: &'e EndpointFacts, key: &str) -> Option<&'e str> {
    endpoint.labels.get(key).map(String::as_str)
}

#[cfg(feature = "serde")]
impl ByLabelFilter {
    fn check(&self) -> Result<(), &'static str> {
        if self.label.is_empty() {
            Err("label must not be empty")
        } else if self.valid_values.is_empty() && !self.allows_no_label {
            Err("validValues must not be empty unless allowsNoLabel is true")
        } else {
            Ok(())
        }
    }
}

checked_parameters!(ByLabelFilter, ByLabelFilter::check);
