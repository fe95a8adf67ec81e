//! `label-selector-filter`: endpoints with certain labels.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;

/// `label-selector-filter`: keeps endpoints that have all these labels.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct LabelSelectorFilter {
    /// Labels and their values.
    pub match_labels: BTreeMap<String, String>,
}

impl Filter for LabelSelectorFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|endpoint| {
            self.match_labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
        });
    }
}
