//! Parses a request body into a view.

use super::api::{Api, Form};
use super::fields::{Buffers, Fields};
use super::request_view::RequestView;
use super::size_estimate;
use crate::error::{ErrorKind, WireError};
use crate::json::{Kind, Reader};

type Result<T> = core::result::Result<T, WireError>;

/// Parses request bodies. Its buffers are reused, so one reader per thread is enough.
///
/// ```
/// use slotwise::Prompt;
/// use slotwise_wire::request::{Api, RequestReader};
///
/// let mut reader = RequestReader::new();
/// let turn = |reader: &mut RequestReader, body: &str| {
///     let view = reader.read(Api::ChatCompletions, body.as_bytes()).expect("valid");
///     let Prompt::Text(text) = view.prompt else { panic!("no token ids in there") };
///     text.to_vec()
/// };
/// let first = turn(&mut reader, r#"{"model": "m", "messages": [
///     {"role": "user", "content": "Hi"}]}"#);
/// let second = turn(&mut reader, r#"{"model": "m", "messages": [
///     {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
///     {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye"}]}"#);
/// assert!(second.starts_with(&first));
/// ```
#[derive(Clone, Debug)]
pub struct RequestReader {
    limit: usize,
    buffers: Buffers,
}

impl RequestReader {
    /// The default limit of a body in bytes: 100 MiB.
    pub const DEFAULT_LIMIT: usize = 100 << 20;

    /// Creates a reader for bodies of up to [100 MiB](Self::DEFAULT_LIMIT).
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// Creates a reader for bodies of up to `bytes`. Its buffers grow to a small multiple of the
    /// largest body.
    pub fn with_limit(bytes: usize) -> Self {
        Self { limit: bytes, buffers: Buffers::default() }
    }

    /// Shrinks each buffer to at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.buffers.shrink_to(bytes);
    }

    /// Parses a body. Computes in **O(bytes)**.
    ///
    /// Unknown keys are skipped. If a key occurs several times, the last value counts. Strings
    /// without escapes are borrowed from the body.
    ///
    /// # Errors
    ///
    /// Returns an error in these cases:
    ///
    /// - The body is longer than the limit, not UTF-8, not JSON, or not an object.
    /// - Arrays and objects are nested deeper than 128 levels.
    /// - A field has a type that engines reject, such as a number as the model or a token id beyond
    ///   32 bits.
    /// - The body has nothing that its API accepts as a prompt ([`ErrorKind::NoPrompt`]), as a body
    ///   of another API.
    pub fn read<'r>(&'r mut self, api: Api, body: &'r [u8]) -> Result<RequestView<'r>> {
        if body.len() > self.limit {
            return Err(WireError::new(self.limit, ErrorKind::TooLong(self.limit)));
        }
        self.buffers.clear();
        if api.form() == Form::File && !body.trim_ascii_start().starts_with(b"{") {
            return Ok(size_estimate::of_form(api, body));
        }
        let mut reader = Reader::new(body)?;
        let mut fields = Fields::default();
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "an object"));
        }
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            fields.read(api, &key.read(), &mut reader, &mut self.buffers)?;
        }
        reader.end()?;
        fields.check(api)?;
        let mut view = fields.view(api, &mut self.buffers);
        if api.form() != Form::Prompt {
            size_estimate::measure(&mut view, body);
        }
        Ok(view)
    }
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}
