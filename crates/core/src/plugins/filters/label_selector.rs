//! `label-selector-filter` and `by-label-selector`: endpoints that a Kubernetes label selector
//! matches.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::parameters::checked_parameters;

/// `label-selector-filter`: keeps endpoints that meet all requirements of a Kubernetes
/// `LabelSelector`; an empty one matches every endpoint.
///
/// `by-label-selector` is its deprecated name.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct LabelSelectorFilter {
    /// Labels and the values that they must have.
    pub match_labels: BTreeMap<String, String>,
    /// Requirements beyond equality.
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "the shape of Kubernetes")]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`; empty with the others.
    #[cfg_attr(feature = "serde", serde(default))]
    pub values: Vec<String>,
}

/// How a [`LabelRequirement`] compares a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_enums, reason = "the operators of Kubernetes")]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is missing.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl LabelRequirement {
    /// Whether these labels meet the requirement.
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let has_one = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => has_one,
            LabelOperator::NotIn => !has_one,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

impl Filter for LabelSelectorFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        candidates.retain(|endpoint| {
            self.match_labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
                && self.match_expressions.iter().all(|each| each.is_met(&endpoint.labels))
        });
    }
}

#[cfg(feature = "serde")]
impl LabelSelectorFilter {
    fn check(&self) -> Result<(), &'static str> {
        for LabelRequirement { operator, values, .. } in &self.match_expressions {
            let needs_values = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
            match (needs_values, values.is_empty()) {
                (true, true) => return Err("the operators In and NotIn need at least one value"),
                (false, false) => return Err("Exists and DoesNotExist allow no values"),
                _ => {}
            }
        }
        Ok(())
    }
}

checked_parameters!(LabelSelectorFilter, LabelSelectorFilter::check);
