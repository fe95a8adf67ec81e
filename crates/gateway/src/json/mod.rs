//! JSON between this crate and hosts of other languages.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | arguments, their error, and numbers |
//! | `reader` | arguments, as hosts write them |

mod reader;

use alloc::format;
use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use reader::{Bits, Parameters, Reader};

/// An argument of a call is invalid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArgumentError {
    message: String,
}

impl ArgumentError {
    pub(crate) const fn new(message: String) -> Self {
        Self { message }
    }

    /// The error of what was made of the arguments.
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self::new(error.to_string())
    }

    /// The error of a value in this field.
    pub(crate) fn at(field: &str, error: &dyn Error) -> Self {
        Self::new(format!("{field} {error}"))
    }

    /// The reader's error without a position, which has no meaning for hosts.
    fn of_reader(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        Self::new(message.split(" at line ").next().unwrap_or_default().to_string())
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ArgumentError {}

/// Parses a text.
pub(crate) fn parse(text: &str) -> Result<Value, ArgumentError> {
    serde_json::from_str(text).map_err(|error| ArgumentError::of_reader(&error))
}

/// Reads arguments with the liberties of a [`Reader`].
pub(crate) fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, ArgumentError> {
    T::deserialize(Reader(arguments)).map_err(|error| ArgumentError::of_reader(&error))
}

/// A float as JSON; text for those that JSON has no numbers for.
pub(crate) fn number(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        value.into()
    }
}

pub(crate) fn numbers(values: impl IntoIterator<Item = f64>) -> Value {
    values.into_iter().map(number).collect()
}
