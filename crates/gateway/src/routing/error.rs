//! Why a request has no route.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use slotwise_wire::outcome::Reason;

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

    pub(crate) fn unknown_model(model: &str, known: &[&str]) -> Self {
        Self::UnknownModel(UnknownName::new(model, known.iter().copied()))
    }

    pub(super) fn no_backend(rule: &str) -> Self {
        Self::NoBackend { rule: rule.to_owned() }
    }

    /// The reason, with its status and its code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoRule { .. } => Reason::NoRoute,
            Self::UnknownModel(_) => Reason::ModelNotFound,
            Self::NoBackend { .. } => Reason::NoBackend,
        }
    }

    /// The status of the client's answer.
    pub const fn http_status(&self) -> u16 {
        self.reason().http_status()
    }

    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        self.reason().code()
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
