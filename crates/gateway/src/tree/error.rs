//! Why a value cannot be read.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::Place;

/// Why a value cannot be read, and where. It is one pointer, since each type that is read passes it
/// on for each of its fields.
#[derive(Debug)]
pub(crate) struct ReadError(Box<Details>);

#[derive(Debug)]
struct Details {
    /// As hosts of other languages get it: the text of serde.
    for_hosts: String,
    /// As files get it, after their place and path.
    for_files: String,
    place: Option<Place>,
    path: String,
}

impl ReadError {
    fn new(for_hosts: impl fmt::Display, for_files: String) -> Self {
        let for_hosts = for_hosts.to_string();
        Self(Box::new(Details { for_hosts, for_files, place: None, path: String::new() }))
    }

    /// The same error, at this place unless an inner one is known.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// The same error within the field `key`.
    pub(super) fn in_field(mut self, key: &str) -> Self {
        self.0.path = joined(key, &self.0.path);
        self
    }

    /// The same error within item number `at`.
    pub(super) fn in_item(self, at: usize) -> Self {
        self.in_field(&format!("[{at}]"))
    }

    /// The path to the value; empty for the whole.
    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    /// Place, path and message for a file.
    #[cfg(feature = "config")]
    pub(crate) fn into_parts(self) -> (Option<Place>, String, String) {
        let Details { for_files, place, path, .. } = *self.0;
        (place, path, for_files)
    }
}

/// The text for hosts.
impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.for_hosts)
    }
}

impl core::error::Error for ReadError {}

/// The errors of JSON: its `null` is no unit.
type Json = serde_json::Error;

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Self::new(&message, message.clone())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("must be {expected}, got {}", Found(found));
        Self::new(Json::invalid_type(found, expected), message)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("must be {expected}, got {}", Found(found));
        Self::new(Json::invalid_value(found, expected), message)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let message = format!("must be {expected}, got {length} items");
        Self::new(Json::invalid_length(length, expected), message)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Json::unknown_variant(name, known), unknown("value", name, known))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Json::unknown_field(name, known), unknown("field", name, known))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Json::missing_field(name), format!("lacks the field {name:?}"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(Json::duplicate_field(name), format!("has the field {name:?} twice"))
    }
}

/// What was found, as the file has it.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(value) => write!(f, "{value}"),
            Unexpected::Signed(value) => write!(f, "{value}"),
            Unexpected::Float(value) => write!(f, "{value}"),
            Unexpected::Str(value) => write!(f, "{value:?}"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a map"),
            other => write!(f, "{other}"),
        }
    }
}

/// A path from its first step and the rest.
fn joined(step: &str, rest: &str) -> String {
    let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
    [step, dot, rest].concat()
}

/// The known name that the given one is probably meant to be, else the known names.
pub(crate) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let near = known.iter().map(|name| (strsim::damerau_levenshtein(given, name), name));
    // A third of the letters may differ: `modls` is near `models`, and `pool` is not near `seed`.
    let nearest = near.min().filter(|(distance, name)| distance * 3 <= name.len().max(3));
    match (nearest, known) {
        (Some((_, name)), _) => format!("unknown {what} {given:?}; did you mean {name:?}?"),
        (None, []) => format!("unknown {what} {given:?}; none is accepted here"),
        (None, known) => format!("unknown {what} {given:?}; known are {}", known.join(", ")),
    }
}
