//! The error for an invalid field of a configuration.

use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;

/// A field of a configuration is invalid.
///
/// ```
/// use slotwise_gateway::routing::{Routing, RoutingConfig};
///
/// let mut config = RoutingConfig::default();
/// config.pool("llama").falls_back_to("smal");
/// config.pool("small");
/// let error = Routing::new(config).expect_err("no such pool");
/// assert_eq!(error.field, "pools[0].fallback");
/// assert_eq!(error.expected, "must be 'llama' or 'small', got \"smal\"");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct InvalidField {
    /// The path of the field, such as `keys[3].limits.quotas[0].window`.
    pub field: String,
    /// What the field must be.
    pub expected: String,
}

impl InvalidField {
    pub(crate) fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into() }
    }

    /// The same error within the field `outer`.
    pub(crate) fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }

    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        "config"
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.expected)
    }
}

impl Error for InvalidField {}
