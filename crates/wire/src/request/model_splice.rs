//! Another model in the same body.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::Range;

use crate::error::WireError;
use crate::json::Reader;

/// What to replace in a body, so that it asks for another model and is the same otherwise, byte for byte.
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
    /// The bytes that go: the model with its quotation marks.
    pub range: Range<usize>,
    /// What comes instead: a string of JSON.
    pub replacement: String,
}

impl ModelSplice {
    pub(super) fn new(range: Range<usize>, model: &str) -> Self {
        Self { range, replacement: quoted(model) }
    }

    /// What to replace in this body, of which only the outermost keys are looked at. If there are several models, the last
    /// is replaced, which is the one that engines read. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// If the body is no JSON object, or names no model.
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

    /// The body with the other model. A body other than the one that it was made for is cut where it ends.
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

/// The body of a request with another model, as [`ModelSplice`] makes it.
///
/// # Errors
///
/// If the body is no JSON object, or names no model.
pub fn rewrite_model(body: &[u8], model: &str) -> Result<Vec<u8>, WireError> {
    ModelSplice::find(body, model).map(|splice| splice.apply(body))
}

/// Reads a model, and where it stands with its quotation marks.
pub(super) fn model<'a>(
    reader: &mut Reader<'a>,
) -> Result<Option<(crate::json::Text<'a>, Range<usize>)>, WireError> {
    let text = super::lenient::string(reader, "a model's name")?;
    Ok(text.map(|text| (text, text.at() - 1..text.at() + text.raw().len() + 1)))
}

pub(super) const fn missing(offset: usize) -> WireError {
    WireError::expected(offset, "a key \"model\"")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            // A `String` takes whatever is written.
            '\0'..' ' => _ = write!(quoted, "\\u{:04x}", u32::from(char)),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
