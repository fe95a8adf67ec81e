//! Content: a string, or an array of parts.

use super::canonical_text::{CanonicalText, Mark};
use super::lenient::{self, Deferred, Value};
use super::tool::Call;
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// The texts that engines drop, and the current nesting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Omit {
    /// A system text by which Claude Code tags a single request. vLLM drops it so that prompts
    /// share a prefix.
    pub(super) billing: bool,
    /// The content of a part is being read. Deeper parts are copied as written, which keeps the
    /// work linear.
    pub(super) nested: bool,
}

const BILLING: &str = "x-anthropic-billing-header";

/// The keys with a part's media; the first one counts.
const MEDIA: [&str; 14] = [
    "image_url",
    "video_url",
    "audio_url",
    "input_audio",
    "source",
    "image",
    "video",
    "audio",
    "file",
    "file_data",
    "file_url",
    "file_id",
    "image_embeds",
    "audio_embeds",
];

/// The keys within the media object.
const INSIDE: [&str; 6] = ["data", "url", "file_data", "file_url", "file_id", "image_url"];

/// Converts deferred content.
pub(super) fn kept(
    content: Deferred<'_>,
    canonical: &mut CanonicalText,
    mark: Mark,
    omit: Omit,
) -> Result<()> {
    match content {
        Deferred::Nothing => Ok(()),
        Deferred::Text(text) => {
            canonical.text_if_any(mark, Some(text).filter(|text| !omit.leaves_out(*text)));
            Ok(())
        }
        Deferred::At(mut reader) => parts(&mut reader, canonical, mark, omit),
    }
}

/// Converts an array of parts.
pub(super) fn parts(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    mark: Mark,
    omit: Omit,
) -> Result<()> {
    if reader.kind()? != Kind::Array {
        return Err(WireError::expected(reader.at(), "a string or an array of parts"));
    }
    reader.open_array()?;
    while reader.next_item()? {
        match reader.kind()? {
            Kind::Text => canonical.text_if_any(mark, Some(reader.text()?)),
            Kind::Object => {
                let plain = |reader: &mut Reader<'_>, canonical: &mut CanonicalText| {
                    plain_part(reader, canonical, mark, omit)
                };
                if !canonical.attempt(reader, plain) {
                    part(reader, canonical, mark, omit)?;
                }
            }
            Kind::Null => _ = reader.null()?,
            _ => return Err(WireError::expected(reader.at(), "a part")),
        }
    }
    Ok(())
}

impl Omit {
    pub(super) fn leaves_out(self, text: Text<'_>) -> bool {
        let mut differs =
            text.raw().bytes().zip(BILLING.bytes()).skip_while(|(is, wanted)| is == wanted);
        self.billing
            && match differs.next() {
                None => text.raw().len() >= BILLING.len(),
                // Only an escape can make an equal text look different.
                Some((is, _)) => is == b'\\' && text.read().starts_with(BILLING),
            }
    }
}

/// Converts a part of a usual type, whose keys come in the order of the canonical text, in the
/// pass that reads it.
fn plain_part(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    mark: Mark,
    omit: Omit,
) -> Option<()> {
    reader.plain_open(b'{')?;
    let first = reader.plain_goes_on(b'}')? && reader.plain_key()? == "type";
    match reader.plain_text().filter(|_| first && !omit.billing)? {
        "text" | "input_text" | "output_text" => plain_text(reader, canonical, "text", mark),
        "thinking" => {
            let start = canonical.len();
            plain_text(reader, canonical, "thinking", Mark::Reasoning)?;
            canonical.mark_reasoning(start);
            Some(())
        }
        "tool_use" => plain_call(reader, canonical),
        "tool_result" if !omit.nested => plain_result(reader, canonical),
        _ => None,
    }
}

/// Converts the rest of a part with a text under `name`.
fn plain_text(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    name: &str,
    mark: Mark,
) -> Option<()> {
    let mut found = false;
    while reader.plain_goes_on(b'}')? {
        match reader.plain_key()? {
            key if key == name && !found => {
                canonical.read_text(mark, reader)?;
                found = true;
            }
            "type" | "text" | "thinking" => return None,
            _ => _ = reader.skip().ok()?,
        }
    }
    Some(())
}

/// Converts the rest of a tool call.
fn plain_call(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Option<()> {
    let mut call = Call::default();
    while reader.plain_goes_on(b'}')? {
        match reader.plain_key()? {
            "id" => call.id = lenient::any_string(reader).ok()?,
            "name" => call.name = lenient::any_string(reader).ok()?,
            "input" => call.arguments = lenient::value(reader).ok()?,
            "type" => return None,
            _ => _ = reader.skip().ok()?,
        }
    }
    call.write(canonical);
    Some(())
}

/// Converts the rest of the result of a tool.
fn plain_result(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Option<()> {
    let start = canonical.len();
    if !reader.plain_goes_on(b'}')? || reader.plain_key()? != "tool_use_id" {
        return None;
    }
    canonical.text(Mark::Result, reader.text().ok()?);
    let (mut found, mut failed) = (false, false);
    while reader.plain_goes_on(b'}')? {
        match reader.plain_key()? {
            "content" if !found => {
                plain_content(reader, canonical, Omit { nested: true, ..Omit::default() })?;
                found = true;
            }
            "type" | "tool_use_id" | "content" => return None,
            "is_error" => failed = reader.skip().ok()? == "true",
            _ => _ = reader.skip().ok()?,
        }
    }
    if failed {
        canonical.raw(Mark::Failed, "");
    }
    canonical.raw(Mark::End, "");
    canonical.result(start);
    Some(())
}

/// Converts content in the pass that reads it. `None` if it is neither a string, parts nor `null`.
pub(super) fn plain_content(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    omit: Omit,
) -> Option<()> {
    match reader.kind().ok()? {
        Kind::Text => canonical.read_text(Mark::Text, reader),
        Kind::Array => parts(reader, canonical, Mark::Text, omit).ok(),
        Kind::Null => reader.null().ok().map(|_| ()),
        _ => None,
    }
}

#[derive(Default)]
struct Part<'a> {
    kind: Option<Text<'a>>,
    text: Option<Text<'a>>,
    thinking: Option<Text<'a>>,
    refusal: Option<Text<'a>>,
    media: Option<(usize, Value<'a>)>,
    uuid: Option<Text<'a>>,
    id: Option<Text<'a>>,
    call: Option<Text<'a>>,
    name: Option<Text<'a>>,
    input: Option<Value<'a>>,
    content: Deferred<'a>,
    failed: bool,
}

fn part(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    mark: Mark,
    omit: Omit,
) -> Result<()> {
    let mut again = reader.clone();
    let mut part = Part::default();
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "type" => part.kind = lenient::any_string(reader)?,
            "text" => part.text = lenient::any_string(reader)?,
            "thinking" => part.thinking = lenient::any_string(reader)?,
            "refusal" => part.refusal = lenient::any_string(reader)?,
            "uuid" => part.uuid = lenient::any_string(reader)?,
            "id" => part.id = lenient::any_string(reader)?,
            "tool_use_id" => part.call = lenient::any_string(reader)?,
            "name" => part.name = lenient::any_string(reader)?,
            "input" => part.input = lenient::value(reader)?,
            "content" => part.content = lenient::keep(reader)?,
            "is_error" => part.failed = reader.skip()? == "true",
            other => match MEDIA.iter().position(|name| *name == other) {
                Some(rank) if part.media.is_none_or(|(best, _)| rank <= best) => {
                    part.media = media(reader)?.map(|media| (rank, media)).or(part.media);
                }
                _ => _ = reader.skip()?,
            },
        }
    }
    let kind = part.kind.map(Text::read).unwrap_or_default();
    match &*kind {
        "" if part.text.is_some() => {
            canonical.text_if_any(mark, part.text.filter(|text| !omit.leaves_out(*text)));
        }
        "text" | "input_text" | "output_text" | "summary_text" => {
            canonical.text_if_any(mark, part.text.filter(|text| !omit.leaves_out(*text)));
        }
        "thinking" | "reasoning_text" => {
            let start = canonical.len();
            canonical.text_if_any(Mark::Reasoning, part.thinking.or(part.text));
            canonical.mark_reasoning(start);
        }
        // Encrypted by the provider that wrote it.
        "redacted_thinking" => {}
        "refusal" => canonical.text_if_any(mark, part.refusal),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            Call { name: part.name, arguments: part.input, id: part.id }.write(canonical);
        }
        _ if part.call.is_some() && !omit.nested => {
            let start = canonical.len();
            canonical.raw(Mark::Result, "");
            if let Some(call) = part.call {
                canonical.plain(call);
            }
            if kind != "tool_result" {
                canonical.raw(Mark::Other, &kind);
            }
            kept(part.content, canonical, Mark::Text, Omit { nested: true, ..omit })?;
            if part.failed {
                canonical.raw(Mark::Failed, "");
            }
            canonical.raw(Mark::End, "");
            canonical.result(start);
        }
        _ if part.uuid.is_some() || part.media.is_some() => {
            canonical.raw(Mark::Media, &kind);
            // The client's name for the media replaces it: engines then do not read the content.
            match (part.uuid, part.media) {
                (Some(uuid), _) => canonical.hashed(Mark::MediaName, &uuid.read()),
                (None, Some((_, Value::Text(text)))) => canonical.hashed(Mark::Hash, &text.read()),
                (None, Some((_, Value::Json(json)))) => canonical.hashed(Mark::Hash, json),
                (None, None) => {}
            }
        }
        _ => unknown(&mut again, canonical)?,
    }
    Ok(())
}

/// Copies a part of unknown type without its cache breakpoints.
fn unknown(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Result<()> {
    canonical.raw(Mark::Other, "");
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        let json = reader.skip()?;
        if !key.is("cache_control") {
            canonical.text(Mark::Name, key);
            canonical.raw(Mark::Json, json);
        }
    }
    canonical.raw(Mark::End, "");
    Ok(())
}

/// Finds the media of a part: a URL, or the content itself.
fn media<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>> {
    if reader.kind()? != Kind::Object {
        return lenient::value(reader);
    }
    let mut again = reader.clone();
    let mut best: Option<(usize, Text<'a>)> = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match INSIDE.iter().position(|name| key.is(name)) {
            Some(rank) if best.is_none_or(|(best, _)| rank <= best) => {
                best = lenient::any_string(reader)?.map(|text| (rank, text)).or(best);
            }
            _ => _ = reader.skip()?,
        }
    }
    match best {
        Some((_, text)) => Ok(Some(Value::Text(text))),
        None => again.skip().map(|json| Some(Value::Json(json))),
    }
}
