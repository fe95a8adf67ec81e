//! `header-label-affinity-scorer`: endpoints with the label that a header asks for.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::checked_parameters;
use crate::plugins::scorer::Scorer;

/// `header-label-affinity-scorer`: scores 1 where a label equals a header of the request, else 0.
///
/// A missing or an empty header scores 0 everywhere. Both parameters are required.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct HeaderLabelAffinityScorer {
    /// The header; its case does not matter.
    pub header_name: String,
    /// The label.
    pub label_key: String,
}

impl HeaderLabelAffinityScorer {
    /// Compares this header with this label.
    pub fn new(header_name: impl Into<String>, label_key: impl Into<String>) -> Self {
        Self { header_name: header_name.into(), label_key: label_key.into() }
    }

    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        if self.header_name.is_empty() {
            Err("headerName must not be empty")
        } else if self.label_key.is_empty() {
            Err("labelKey must not be empty")
        } else {
            Ok(())
        }
    }
}

checked_parameters!(HeaderLabelAffinityScorer, HeaderLabelAffinityScorer::check);

impl Scorer for HeaderLabelAffinityScorer {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let wanted = cycle.request.headers.get(&self.header_name.to_lowercase());
        let Some(wanted) = wanted.filter(|value| !value.is_empty()) else { return };
        scores.set_each(|endpoint| match endpoint.labels.get(&self.label_key) {
            Some(label) if label == wanted => 1.0,
            _ => 0.0,
        });
    }
}
