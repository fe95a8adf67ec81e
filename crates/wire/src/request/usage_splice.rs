//! Requests usage in a body's stream.

use alloc::vec::Vec;
use core::ops::Range;

use super::api::Api;
use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader};

/// A change of a body that requests usage at the end of its stream. All other bytes stay the same.
///
/// Streams of chat completions and completions have usage only if `stream_options.include_usage` is
/// set. Other answers always have it. A client that did not ask for usage receives one more chunk,
/// which [`AnswerFilter`](crate::response::AnswerFilter) removes.
///
/// ```
/// use slotwise_wire::request::{Api, UsageSplice};
///
/// let body = br#"{"messages": [], "stream": true}"#;
/// let splice = UsageSplice::find(Api::ChatCompletions, body)?.expect("the client did not ask");
/// assert_eq!(
///     splice.apply(body),
///     br#"{"messages": [], "stream": true,"stream_options":{"include_usage":true}}"#,
/// );
/// assert_eq!(UsageSplice::find(Api::Responses, br#"{"input": "Hi", "stream": true}"#)?, None);
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UsageSplice {
    /// The bytes to replace.
    pub range: Range<usize>,
    /// The replacement.
    pub replacement: &'static str,
}

impl UsageSplice {
    /// Finds the change for a body. Computes in **O(bytes)**.
    ///
    /// Returns `None` if the client asks for usage itself, or if the answer always has it. If a key
    /// occurs several times, the last value counts, as in engines.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a JSON object, or if `stream` or `stream_options` has a
    /// type that engines reject.
    pub fn find(api: Api, body: &[u8]) -> Result<Option<Self>, WireError> {
        if !matches!(api, Api::ChatCompletions | Api::Completions) {
            return Ok(None);
        }
        let mut reader = Reader::new(body)?;
        let mut stream = false;
        let mut options = None;
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            match &*key.read() {
                "stream" => stream = lenient::flag(&mut reader, "true or false")?,
                "stream_options" => options = Some(Self::options(&mut reader)?),
                _ => _ = reader.skip()?,
            }
        }
        let end = reader.at() - 1;
        reader.end()?;
        Ok(match options {
            _ if !stream => None,
            None => Some(Self {
                range: end..end,
                replacement: ",\"stream_options\":{\"include_usage\":true}",
            }),
            Some(splice) => splice,
        })
    }

    /// Finds the change within `stream_options`.
    fn options(reader: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
        let kind = reader.kind()?;
        let start = reader.at();
        if kind == Kind::Null {
            reader.null()?;
            let range = start..reader.at();
            return Ok(Some(Self { range, replacement: "{\"include_usage\":true}" }));
        }
        let mut found = None;
        let mut empty = true;
        if lenient::object(reader, "stream options")? {
            while let Some(key) = reader.next_key()? {
                empty = false;
                if key.is("include_usage") {
                    reader.kind()?;
                    let from = reader.at();
                    let asked = lenient::flag(reader, "true or false")?;
                    found = Some((asked, from..reader.at()));
                } else {
                    reader.skip()?;
                }
            }
        }
        let end = reader.at() - 1;
        Ok(match found {
            Some((true, _)) => None,
            Some((false, range)) => Some(Self { range, replacement: "true" }),
            None if empty => Some(Self { range: end..end, replacement: "\"include_usage\":true" }),
            None => Some(Self { range: end..end, replacement: ",\"include_usage\":true" }),
        })
    }

    /// Returns the changed body. For a body other than the one given to [`find`](Self::find), the
    /// range is clamped to its length.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let before = body.get(..self.range.start).unwrap_or(body);
        let after = body.get(self.range.end..).unwrap_or_default();
        [before, self.replacement.as_bytes(), after].concat()
    }
}

/// Requests usage in a body with a [`UsageSplice`]; `None` if no change is needed.
///
/// # Errors
///
/// As for [`UsageSplice::find`].
pub fn add_usage(api: Api, body: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
    Ok(UsageSplice::find(api, body)?.map(|splice| splice.apply(body)))
}
