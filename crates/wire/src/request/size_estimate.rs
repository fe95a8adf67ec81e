//! Bodies of which only the size is used: scores, classes, token ids, audio.
//!
//! They have no prefix. Their work is estimated from their size. They do not count as one long
//! sequence, because engines split them.

use alloc::borrow::Cow;
use core::ops::Range;

use slotwise::{Batch, CacheUse, Prompt};

use super::api::Api;
use super::request_view::RequestView;

/// Bytes of text per token.
const BYTES_PER_TOKEN: u64 = 4;

/// Bytes of audio per token. Encoders produce 50 tokens per second of audio, which takes 16 kB
/// compressed and 32 kB as samples.
const AUDIO_BYTES_PER_TOKEN: u64 = 512;

/// The maximum length of a part's header.
const HEADER_BYTES: usize = 1 << 10;

/// Estimates the work of a body from its size.
pub(super) fn measure(view: &mut RequestView<'_>, body: &[u8]) {
    let per_token = match view.api {
        Api::Transcriptions | Api::Translations => AUDIO_BYTES_PER_TOKEN,
        _ => BYTES_PER_TOKEN,
    };
    view.prompt = Prompt::Text(b"");
    view.prompts = 1;
    view.batch.tokens = (body.len() as u64).div_ceil(per_token);
    view.cache_use = CacheUse::Unread;
}

/// Reads the model of a form; other bodies have no fields.
pub(super) fn of_form(api: Api, body: &[u8]) -> RequestView<'_> {
    let model = field(body, b"name=\"model\"").or_else(|| field(body, b"name=model"));
    let text = model.clone().and_then(|range| core::str::from_utf8(body.get(range)?).ok());
    let stream = field(body, b"name=\"stream\"").and_then(|range| body.get(range));
    let mut view = RequestView {
        api,
        model: text.filter(|model| !model.is_empty()).map(Cow::Borrowed),
        model_range: None,
        prompt: Prompt::Text(b""),
        prompts: 1,
        batch: Batch::default(),
        cache_use: CacheUse::Unread,
        continues: None,
        stream: stream.is_some_and(|stream| stream.eq_ignore_ascii_case(b"true") || stream == b"1"),
        include_usage: false,
        max_tokens: None,
        n: None,
        priority: None,
        session: None,
        session_field: None,
        cache_salt: None,
        adapter: None,
        multimodal: false,
        kv_transfer: false,
        request_id: None,
    };
    measure(&mut view, body);
    view
}

/// Finds the value of a field in `multipart/form-data`. Computes in **O(bytes)**.
fn field(body: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let line = memchr::memchr(b'\n', body)?;
    let boundary = body.get(..line)?.trim_ascii_end();
    if !boundary.starts_with(b"--") || boundary.len() > HEADER_BYTES {
        return None;
    }
    let mut parts = memchr::memmem::find_iter(body, boundary).peekable();
    while let Some(start) = parts.next() {
        let end = *parts.peek()?;
        let part = body.get(start + boundary.len()..end)?;
        let header = part.get(..part.len().min(HEADER_BYTES))?;
        let Some(blank) = memchr::memmem::find(header, b"\r\n\r\n") else { continue };
        let named = memchr::memmem::find(header.get(..blank)?, name).is_some();
        let file = memchr::memmem::find(header.get(..blank)?, b"filename").is_some();
        if named && !file {
            let from = start + boundary.len() + blank + 4;
            let value = body.get(from..end)?;
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            return Some(from..from + value.len());
        }
    }
    None
}
