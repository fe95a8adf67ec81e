//! JSON between this crate and hosts of other languages.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | arguments, their error, and numbers |
//! | `bits` | integers of 64 bits |
//! | `values` | configurations and endpoints |

mod bits;
mod values;

use alloc::format;
use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::tree::{self, Node, ReadError};

pub(crate) use bits::Bits;
pub use values::{read_config, read_endpoint, read_peers_config, write_config, write_endpoint};

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
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ArgumentError {}

impl From<ReadError> for ArgumentError {
    fn from(error: ReadError) -> Self {
        Self::of(&error)
    }
}

/// Parses a text.
pub(crate) fn parse(text: &str) -> Result<Node, ArgumentError> {
    serde_json::from_str(text).map_err(|error| {
        // The position has no meaning for hosts.
        let message = error.to_string();
        ArgumentError::new(message.split(" at line ").next().unwrap_or_default().to_string())
    })
}

/// Reads arguments with the liberties of hosts.
pub(crate) fn read<T: DeserializeOwned>(arguments: &Node) -> Result<T, ArgumentError> {
    Ok(tree::read_of_host(arguments)?)
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
