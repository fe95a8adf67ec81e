//! `by-label`: endpoints whose label has one of several values.

use alloc::string::String;
use alloc::vec::Vec;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::filter::Filter;

/// `by-label`: keeps endpoints whose label has one of these values. Deprecated in the reference in
/// favour of [`LabelSelectorFilter`](super::LabelSelectorFilter).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", try_from = "Parameters")
)]
#[non_exhaustive]
pub struct ByLabelFilter {
    /// The label.
    pub label: String,
    /// The values that it may have.
    pub valid_values: Vec<String>,
    /// Whether endpoints without the label are kept too.
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

/// The parameters before their validation.
#[cfg(feature = "serde")]
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    label: String,
    valid_values: Vec<String>,
    allows_no_label: bool,
}

#[cfg(feature = "serde")]
impl TryFrom<Parameters> for ByLabelFilter {
    type Error = &'static str;

    fn try_from(parameters: Parameters) -> Result<Self, Self::Error> {
        let Parameters { label, valid_values, allows_no_label } = parameters;
        if label.is_empty() {
            return Err("label must not be empty");
        }
        if valid_values.is_empty() && !allows_no_label {
            return Err("validValues must not be empty unless allowsNoLabel is true");
        }
        Ok(Self { label, valid_values, allows_no_label })
    }
}
