//! Errors to exceptions that keep their kind.
//!
//! An exception's `code` is `Kind:code`, and `Kind:code:field` for an error in one field or at one
//! byte. The package's own layer turns it into the class called `Kind`, with the core's `code`.

use std::fmt;

use slotwise::ConfigError;
use slotwise_gateway::names::{self, Named, UnknownName};
use slotwise_gateway::{Classified, InvalidField};
use slotwise_wire::WireError;

/// What every call gives.
pub type Result<T> = std::result::Result<T, napi::Error<Kind>>;

/// The kind of an error, as JavaScript sees it.
#[derive(Debug)]
pub struct Kind(String);

impl AsRef<str> for Kind {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The scheduler was closed.
pub(crate) fn closed() -> napi::Error<Kind> {
    napi::Error::new(Kind("SlotwiseError:closed".into()), "the scheduler is closed")
}

/// An error of the core as the exception that stands for it.
pub(crate) fn thrown<E: Classified>(error: E) -> napi::Error<Kind> {
    named_error(E::CLASS, error.code(), "", error.to_string())
}

/// An error of a kind that has no class yet.
pub(crate) fn unclassified(error: &dyn fmt::Display) -> napi::Error<Kind> {
    napi::Error::new(Kind("SlotwiseError:unclassified".into()), error.to_string())
}

/// Bytes that could not be read.
pub(crate) fn unreadable(error: WireError) -> napi::Error<Kind> {
    unreadable_part("", error)
}

/// The same of a part of what was given, whose name begins the message.
pub(crate) fn unreadable_part(part: &str, error: WireError) -> napi::Error<Kind> {
    let message = if part.is_empty() { error.to_string() } else { format!("{part}: {error}") };
    named_error(WireError::CLASS, error.code(), &error.offset.to_string(), message)
}

/// A configuration that the core refuses, with the field as JavaScript spells it.
pub(crate) fn invalid_config(error: ConfigError) -> napi::Error<Kind> {
    let unit = if LENGTHS_OF_TIME.contains(&error.field) { "Ms" } else { "" };
    let field = camel_case(error.field) + unit;
    let message = format!("{field} {}", error.expected);
    named_error(ConfigError::CLASS, error.code(), &field, message)
}

/// The same for a field of the gateway crate's configurations.
pub(crate) fn invalid_field(error: &InvalidField) -> napi::Error<Kind> {
    let unit = if LENGTHS_OF_TIME.contains(&&*error.field) { "Ms" } else { "" };
    let field = camel_case(&error.field) + unit;
    let message = format!("{field} {}", error.expected);
    named_error(InvalidField::CLASS, error.code(), &field, message)
}

/// An argument that cannot be used.
pub(crate) fn wrong_argument(error: &dyn fmt::Display) -> napi::Error<Kind> {
    named_error("TypeError", "invalid", "", error.to_string())
}

/// An exception of this class, with its code and the field or byte.
fn named_error(class: &str, code: &str, place: &str, message: String) -> napi::Error<Kind> {
    let colon = if place.is_empty() { "" } else { ":" };
    napi::Error::new(Kind([class, ":", code, colon, place].concat()), message)
}

/// The value of this name in this field.
pub(crate) fn named<T: Named>(field: &str, name: &str) -> std::result::Result<T, Unfit> {
    names::parse(name).map_err(|error| Unfit::unknown(field, error))
}

/// A value that cannot be used: the field, and what it must be. It is one pointer, since each field
/// of a configuration passes it on.
#[derive(Debug)]
pub struct Unfit(Box<UnfitField>);

#[derive(Debug)]
struct UnfitField {
    field: String,
    expected: String,
    kind: &'static str,
}

impl Unfit {
    fn new(field: &str, kind: &'static str, expected: String) -> Self {
        Self(Box::new(UnfitField { field: field.into(), expected, kind }))
    }

    /// A number out of its range.
    pub(crate) fn range(field: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::new(field, "RangeError", format!("must be {expected}, got {got}"))
    }

    /// A value whose reader reports what is wrong.
    pub(crate) fn value(field: &str, error: impl fmt::Display) -> Self {
        Self::new(field, "TypeError", format!("cannot be read: {error}"))
    }

    /// A word that means nothing.
    pub(crate) fn word(field: &str, expected: impl fmt::Display, got: &str) -> Self {
        Self::new(field, "TypeError", format!("must be {expected}, got {got:?}"))
    }

    /// A name that is unknown for this field.
    pub(crate) fn unknown(field: &str, error: UnknownName) -> Self {
        Self::invalid(field, "TypeError", error)
    }

    /// A value of this field that the library rejects.
    pub(crate) fn invalid(field: &str, kind: &'static str, error: impl fmt::Display) -> Self {
        Self::new(field, kind, error.to_string())
    }

    /// The same as a mistake in the configuration.
    pub(crate) fn in_config(self) -> napi::Error<Kind> {
        let UnfitField { field, expected, .. } = &*self.0;
        named_error(ConfigError::CLASS, "config", field, format!("{field} {expected}"))
    }
}

impl From<Unfit> for napi::Error<Kind> {
    fn from(unfit: Unfit) -> Self {
        let UnfitField { field, expected, kind } = &*unfit.0;
        named_error(kind, "invalid", field, format!("{field} {expected}"))
    }
}

/// The fields with which the core may find fault that carry their unit in JavaScript.
const LENGTHS_OF_TIME: [&str; 9] = [
    "autoscaling.ttft",
    "autoscaling.tpot",
    "autoscaling.start_up",
    "flow.saturation.max_queued_prefill",
    "flow.saturation.metrics_staleness_threshold",
    "flow.session_admission.idle_time",
    "flow.session_admission.idle_time_min",
    "heartbeat",
    "silence",
];

/// `prices.decode_cap` as `prices.decodeCap`.
pub(crate) fn camel_case(path: &str) -> String {
    let mut camel = String::with_capacity(path.len());
    let mut upper = false;
    for letter in path.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(letter),
        }
    }
    camel
}
