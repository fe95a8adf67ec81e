//! What is wrong with a configuration, and where.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use crate::tree::{Place, ReadError};

/// One thing that is wrong with a file: its place, its path, and what is expected.
///
/// Its text is a line such as `gateway.yaml:7:5: pools[0].models: must be a list, got "llama"`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the file, as it was passed.
    pub file: String,
    /// The place in the file, if it is known.
    pub place: Option<Place>,
    /// The path of the field: `pools[0].models`; empty for the whole document.
    pub path: String,
    /// What is expected, and what was found.
    pub message: String,
}

impl Problem {
    /// A problem whose place and path the caller adds.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The same problem, at this place unless an inner one is known.
    pub(super) fn at(self, place: Place) -> Self {
        Self { place: self.place.or(Some(place)), ..self }
    }

    /// The same problem within the field `key`.
    pub(crate) fn in_field(self, key: &str) -> Self {
        Self { path: joined(key, &self.path), ..self }
    }

    /// The same problem within item number `at`.
    pub(crate) fn in_item(self, at: usize) -> Self {
        Self { path: joined(&format!("[{at}]"), &self.path), ..self }
    }

    /// The same problem in this file.
    pub(super) fn in_file(self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self }
    }
}

/// A path from its first step and the rest.
fn joined(step: &str, rest: &str) -> String {
    if rest.is_empty() || rest.starts_with('[') {
        format!("{step}{rest}")
    } else {
        format!("{step}.{rest}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for Problem {}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let (place, path, message) = error.into_parts();
        Self { file: String::new(), place, path, message }
    }
}

/// Names with a separator between them.
pub(super) fn listed(names: &[&str], separator: &str) -> String {
    names.join(separator)
}
