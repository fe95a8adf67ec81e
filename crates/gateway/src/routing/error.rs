//! Why a request has no route.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use super::Inquiry;
use crate::names::UnknownName;

/// A request has no route.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoRoute {
    /// No rule accepts the request.
    NoRule {
        /// The request's path.
        path: String,
        /// The request's model.
        model: String,
    },
    /// No pool serves the model; the error lists the models that clients may name.
    UnknownModel(UnknownName),
    /// The rule has no pool with a weight above zero.
    NoBackend {
        /// The name of the rule.
        rule: String,
    },
}

impl NoRoute {
    pub(super) fn no_rule(inquiry: &Inquiry<'_>) -> Self {
        Self::NoRule { path: inquiry.path.to_owned(), model: inquiry.model.to_owned() }
    }

    pub(super) fn unknown_model(model: &str, known: &[&str]) -> Self {
        Self::UnknownModel(UnknownName::new(model, known.iter().copied()))
    }

    pub(super) fn no_backend(rule: &str) -> Self {
        Self::NoBackend { rule: rule.to_owned() }
    }

    /// The status of the client's answer.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::NoRule { .. } | Self::UnknownModel(_) => 404,
            Self::NoBackend { .. } => 500,
        }
    }

    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRule { .. } => "no_route",
            Self::UnknownModel(_) => "model_not_found",
            Self::NoBackend { .. } => "no_backend",
        }
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule { path, model } => {
                write!(f, "no rule accepts the path {path:?} with the model {model:?}")
            }
            Self::UnknownModel(names) => write!(f, "the model {names}"),
            Self::NoBackend { rule } => write!(f, "the rule {rule:?} gives no pool any weight"),
        }
    }
}

impl Error for NoRoute {}
