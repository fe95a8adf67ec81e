//! Replaces the model of a request body.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::Range;

use crate::error::WireError;
use crate::json::Reader;

/// A replacement of the model's name in a body. All other bytes stay the same.
///
/// ```
/// use slotwise_wire::request::ModelSplice;
///
/// let body = br#"{ "model":"alias", "n": 1.0 }"#;
/// let splice = ModelSplice::find(body, "llama")?;
/// assert_eq!((splice.range.clone(), &*splice.replacement), (10..17, r#""llama""#));
/// assert_eq!(splice.apply(body), br#"{ "model":"llama", "n": 1.0 }"#);
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ModelSplice {
    /// The bytes to replace: the model with its quotation marks.
    pub range: Range<usize>,
    /// The replacement: a JSON string.
    pub replacement: String,
}

impl ModelSplice {
    pub(super) fn new(range: Range<usize>, model: &str) -> Self {
        Self { range, replacement: quoted(model) }
    }

    /// Finds the model in the top level of a body. Computes in **O(bytes)**.
    ///
    /// If the key occurs several times, the last one is replaced, which is the one that engines
    /// read.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a JSON object or has no model.
    pub fn find(body: &[u8], model: &str) -> Result<Self, WireError> {
        let mut reader = Reader::new(body)?;
        let mut found = None;
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            if key.is("model") {
                found = self::model(&mut reader)?.map(|(_, range)| range);
            } else {
                reader.skip()?;
            }
        }
        let end = reader.at() - 1;
        reader.end()?;
        found.map(|range| Self::new(range, model)).ok_or_else(|| missing(end))
    }

    /// Returns the body with the replacement. For a body other than the one given to
    /// [`find`](Self::find), the range is clamped to its length.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let before = body.get(..self.range.start).unwrap_or(body);
        let after = body.get(self.range.end..).unwrap_or_default();
        let mut new = Vec::with_capacity(before.len() + self.replacement.len() + after.len());
        new.extend_from_slice(before);
        new.extend_from_slice(self.replacement.as_bytes());
        new.extend_from_slice(after);
        new
    }
}

/// Replaces the model of a body with a [`ModelSplice`].
///
/// # Errors
///
/// Returns an error if the body is not a JSON object or has no model.
pub fn rewrite_model(body: &[u8], model: &str) -> Result<Vec<u8>, WireError> {
    ModelSplice::find(body, model).map(|splice| splice.apply(body))
}

/// Reads a model and its range including the quotation marks.
pub(super) fn model<'a>(
    reader: &mut Reader<'a>,
) -> Result<Option<(crate::json::Text<'a>, Range<usize>)>, WireError> {
    let text = super::lenient::string(reader, "a model's name")?;
    Ok(text.map(|text| (text, text.at() - 1..text.at() + text.raw().len() + 1)))
}

pub(super) const fn missing(offset: usize) -> WireError {
    WireError::expected(offset, "a key \"model\"")
}

pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            // Writing to a `String` cannot fail.
            '\0'..' ' => _ = write!(quoted, "\\u{:04x}", u32::from(char)),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
