//! `endpoint-attribute-filter`: endpoints whose attribute is on the right side of a threshold.

use alloc::string::String;

#[cfg(feature = "serde")]
use crate::plugins::attribute_key;
use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::parameters::checked_parameters;

/// `endpoint-attribute-filter`: keeps endpoints whose attribute meets a condition.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct EndpointAttributeFilter {
    /// The name of the attribute.
    pub attribute: String,
    /// The plugin that produces the attribute; without effect, since facts have no producer.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub producer: Option<String>,
    /// What happens to endpoints without the attribute.
    #[cfg_attr(feature = "serde", serde(default))]
    pub on_missing: OnMissing,
    /// Whether all candidates stay if none meets the condition.
    #[cfg_attr(feature = "serde", serde(default))]
    pub fallback_on_empty: bool,
    /// The condition.
    pub algorithm: FilterAlgorithm,
}

/// What happens to endpoints without the attribute.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_enums, reason = "the two cases")]
pub enum OnMissing {
    /// They are kept.
    #[default]
    #[cfg_attr(feature = "serde", serde(alias = ""))]
    Pass,
    /// They are removed.
    Fail,
}

/// The condition of an [`EndpointAttributeFilter`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum FilterAlgorithm {
    /// A comparison with a number.
    Threshold {
        /// The comparison.
        threshold: Threshold,
    },
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Threshold {
    /// How the attribute compares.
    pub operator: ThresholdOperator,
    /// The number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub value: f64,
}

/// How an attribute compares with a number. NaN is only `NotEqual`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_enums, reason = "all comparisons")]
pub enum ThresholdOperator {
    /// `<`
    LessThan,
    /// `<=`
    LessThanOrEqual,
    /// `>`
    GreaterThan,
    /// `>=`
    GreaterThanOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl EndpointAttributeFilter {
    /// Keeps endpoints whose attribute compares so with `value`, and those without the attribute.
    pub fn new(attribute: impl Into<String>, operator: ThresholdOperator, value: f64) -> Self {
        Self {
            attribute: attribute.into(),
            producer: None,
            on_missing: OnMissing::Pass,
            fallback_on_empty: false,
            algorithm: FilterAlgorithm::Threshold { threshold: Threshold { operator, value } },
        }
    }
}

impl Threshold {
    /// Whether `found` meets the condition.
    #[expect(clippy::float_cmp, reason = "the operators of the reference are exact")]
    fn is_met(self, found: f64) -> bool {
        match self.operator {
            ThresholdOperator::LessThan => found < self.value,
            ThresholdOperator::LessThanOrEqual => found <= self.value,
            ThresholdOperator::GreaterThan => found > self.value,
            ThresholdOperator::GreaterThanOrEqual => found >= self.value,
            ThresholdOperator::Equal => found == self.value,
            ThresholdOperator::NotEqual => found != self.value,
        }
    }
}

impl Filter for EndpointAttributeFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let FilterAlgorithm::Threshold { threshold } = self.algorithm;
        candidates.retain_or_fall_back(self.fallback_on_empty, |endpoint| {
            match endpoint.attributes.get(&self.attribute) {
                Some(found) => threshold.is_met(*found),
                None => self.on_missing == OnMissing::Pass,
            }
        });
    }
}

#[cfg(feature = "serde")]
impl EndpointAttributeFilter {
    fn check(&self) -> Result<(), &'static str> {
        if self.attribute.is_empty() {
            return Err("attribute must not be empty");
        }
        attribute_key::check(&self.attribute, self.producer.as_deref())
    }
}

checked_parameters!(EndpointAttributeFilter, EndpointAttributeFilter::check);
