//! The same body, asking for usage.

use alloc::vec::Vec;
use core::ops::Range;

use super::api::Api;
use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader};

/// What to replace in a body so that its stream ends with the usage, and is the same otherwise, byte for byte.
///
/// Streams of chat completions and completions bring usage only if `stream_options.include_usage` says so. Other answers have
/// it anyway. A client that did not ask gets one chunk more: take it out of the answer again.
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
    /// The bytes that go.
    pub range: Range<usize>,
    /// What comes instead.
    pub replacement: &'static str,
}

impl UsageSplice {
    /// What to replace in this body: nothing if the client asks for usage itself, or if the answer brings it anyway. Of
    /// keys that come twice, the last counts, as for engines. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// If the body is no JSON object, or if `stream` or `stream_options` are of a type that engines refuse.
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

    /// The same within `stream_options`.
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

    /// The body that asks. A body other than the one that it was made for is cut where it ends.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let before = body.get(..self.range.start).unwrap_or(body);
        let after = body.get(self.range.end..).unwrap_or_default();
        [before, self.replacement.as_bytes(), after].concat()
    }
}

/// The body of a request that asks for usage, as [`UsageSplice`] makes it; `None` if there is nothing to do.
///
/// # Errors
///
/// As [`UsageSplice::find`].
pub fn add_usage(api: Api, body: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
    Ok(UsageSplice::find(api, body)?.map(|splice| splice.apply(body)))
}
