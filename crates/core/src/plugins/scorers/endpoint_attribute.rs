//! `endpoint-attribute-scorer`: a numeric attribute, such as a custom metric.

use alloc::string::String;
use core::cmp::Ordering;

#[cfg(feature = "serde")]
use crate::plugins::attribute_key;
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::facts::EndpointFacts;
use crate::plugins::parameters::checked_parameters;
use crate::plugins::scorer::Scorer;

/// `endpoint-attribute-scorer`: prefers low or high values of an attribute.
///
/// ```text
/// share = (value - min) / (max - min)
/// score = share if higher is better, 1 - share if lower is better, 0 without a value
/// ```
///
/// With a fixed range, the share is clamped to 0 to 1. With an adaptive one, min and max are those
/// of the candidates that have a value, and equal values score 1.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct EndpointAttributeScorer {
    /// The attribute.
    pub attribute_key: String,
    /// The producer of the attribute; without effect, as facts name attributes alone.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub producer: Option<String>,
    /// How values become scores.
    pub algorithm: AttributeAlgorithm,
}

/// How values of an attribute become scores.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct AttributeAlgorithm {
    /// Which values are better.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: LinearAlgorithm,
    /// The range of values.
    #[cfg_attr(feature = "serde", serde(default))]
    pub normalization: Normalization,
}

/// Which values of an attribute are better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(clippy::exhaustive_enums, reason = "a number has two directions")]
pub enum LinearAlgorithm {
    /// Low values.
    LinearLowerIsBetter,
    /// High values.
    LinearHigherIsBetter,
}

/// The range of an attribute's values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Ranges", into = "Ranges")
)]
#[non_exhaustive]
pub enum Normalization {
    /// That of the candidates.
    #[default]
    AdaptiveRange,
    /// This one.
    FixedRange {
        /// The lower end.
        min: f64,
        /// The upper end; above the lower one.
        max: f64,
    },
}

impl EndpointAttributeScorer {
    /// Scores this attribute.
    pub fn new(
        attribute_key: impl Into<String>,
        kind: LinearAlgorithm,
        normalization: Normalization,
    ) -> Self {
        let algorithm = AttributeAlgorithm { kind, normalization };
        Self { attribute_key: attribute_key.into(), producer: None, algorithm }
    }

    /// The range, if a candidate needs one.
    fn range(&self, scores: &Scores<'_>) -> (f64, f64) {
        match self.algorithm.normalization {
            Normalization::FixedRange { min, max } => (min, max),
            Normalization::AdaptiveRange => {
                let values = scores.endpoints().filter_map(|endpoint| self.value(endpoint));
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
                    (min.min(value), max.max(value))
                })
            }
        }
    }

    fn value(&self, endpoint: &EndpointFacts) -> Option<f64> {
        endpoint.attributes.get(&self.attribute_key).copied()
    }

    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        if self.attribute_key.is_empty() {
            return Err("attributeKey must not be empty");
        }
        attribute_key::check(&self.attribute_key, self.producer.as_deref())
    }
}

checked_parameters!(EndpointAttributeScorer, EndpointAttributeScorer::check);

impl Scorer for EndpointAttributeScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let (min, max) = self.range(scores);
        let adaptive = self.algorithm.normalization == Normalization::AdaptiveRange;
        scores.set_each(|endpoint| {
            let Some(value) = self.value(endpoint) else { return 0.0 };
            if adaptive && min.partial_cmp(&max) == Some(Ordering::Equal) {
                return 1.0;
            }
            let share = ((value - min) / (max - min)).clamp(0.0, 1.0);
            match self.algorithm.kind {
                LinearAlgorithm::LinearHigherIsBetter => share,
                LinearAlgorithm::LinearLowerIsBetter => 1.0 - share,
            }
        });
    }
}

/// The ranges as the reference spells them: at most one of both.
#[cfg(feature = "serde")]
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Ranges {
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_range: Option<FixedRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adaptive_range: Option<AdaptiveRange>,
}

#[cfg(feature = "serde")]
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FixedRange {
    min: f64,
    max: f64,
}

#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AdaptiveRange {}

#[cfg(feature = "serde")]
impl TryFrom<Ranges> for Normalization {
    type Error = &'static str;

    fn try_from(ranges: Ranges) -> Result<Self, Self::Error> {
        match ranges.fixed_range {
            None => Ok(Self::AdaptiveRange),
            Some(_) if ranges.adaptive_range.is_some() => {
                Err("normalization takes at most one of fixedRange and adaptiveRange")
            }
            Some(FixedRange { min, max }) if min < max => Ok(Self::FixedRange { min, max }),
            Some(_) => Err("fixedRange needs min < max"),
        }
    }
}

#[cfg(feature = "serde")]
impl From<Normalization> for Ranges {
    fn from(normalization: Normalization) -> Self {
        match normalization {
            Normalization::AdaptiveRange => {
                Self { fixed_range: None, adaptive_range: Some(AdaptiveRange {}) }
            }
            Normalization::FixedRange { min, max } => {
                Self { fixed_range: Some(FixedRange { min, max }), adaptive_range: None }
            }
        }
    }
}
