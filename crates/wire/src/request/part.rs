//! Content: a string, or parts.

use super::page::{Mark, Page};
use super::tool::Call;
use super::value::{self, Kept, Value};
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// What engines leave out of what they are told, and how deep.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Omit {
    /// A system text of Claude Code that names the single request: vLLM takes it out, so that prompts still begin alike.
    pub(super) billing: bool,
    /// Whether this is the content of a part already. Deeper parts are written as they stand, which keeps the work linear.
    pub(super) nested: bool,
}

const BILLING: &str = "x-anthropic-billing-header";

/// Where parts keep what they show, the first that is there counts.
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

/// And where in there, if that is an object.
const INSIDE: [&str; 6] = ["data", "url", "file_data", "file_url", "file_id", "image_url"];

/// Writes content that was kept.
pub(super) fn kept(content: Kept<'_>, page: &mut Page, mark: Mark, omit: Omit) -> Result<()> {
    match content {
        Kept::Nothing => Ok(()),
        Kept::Text(text) => {
            page.said(mark, Some(text).filter(|text| !omit.leaves_out(*text)));
            Ok(())
        }
        Kept::At(mut reader) => parts(&mut reader, page, mark, omit),
    }
}

/// Reads and writes an array of parts.
pub(super) fn parts(reader: &mut Reader<'_>, page: &mut Page, mark: Mark, omit: Omit) -> Result<()> {
    if reader.kind()? != Kind::Array {
        return Err(WireError::expected(reader.at(), "a string or an array of parts"));
    }
    reader.open_array()?;
    while reader.next_item()? {
        match reader.kind()? {
            Kind::Text => page.said(mark, Some(reader.text()?)),
            Kind::Object => part(reader, page, mark, omit)?,
            Kind::Null => _ = reader.null()?,
            _ => return Err(WireError::expected(reader.at(), "a part")),
        }
    }
    Ok(())
}

impl Omit {
    pub(super) fn leaves_out(self, text: Text<'_>) -> bool {
        let mut differs = text.raw().bytes().zip(BILLING.bytes()).skip_while(|(is, wanted)| is == wanted);
        self.billing
            && match differs.next() {
                None => text.raw().len() >= BILLING.len(),
                // Only an escape may look different and say the same.
                Some((is, _)) => is == b'\\' && text.read().starts_with(BILLING),
            }
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
    content: Kept<'a>,
    failed: bool,
}

fn part(reader: &mut Reader<'_>, page: &mut Page, mark: Mark, omit: Omit) -> Result<()> {
    let mut again = reader.clone();
    let mut part = Part::default();
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "type" => part.kind = value::any_string(reader)?,
            "text" => part.text = value::any_string(reader)?,
            "thinking" => part.thinking = value::any_string(reader)?,
            "refusal" => part.refusal = value::any_string(reader)?,
            "uuid" => part.uuid = value::any_string(reader)?,
            "id" => part.id = value::any_string(reader)?,
            "tool_use_id" => part.call = value::any_string(reader)?,
            "name" => part.name = value::any_string(reader)?,
            "input" => part.input = value::value(reader)?,
            "content" => part.content = value::keep(reader)?,
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
        "" if part.text.is_some() => page.said(mark, part.text.filter(|text| !omit.leaves_out(*text))),
        "text" | "input_text" | "output_text" | "summary_text" => {
            page.said(mark, part.text.filter(|text| !omit.leaves_out(*text)));
        }
        "thinking" | "reasoning_text" => {
            let start = page.len();
            page.said(Mark::Reasoning, part.thinking.or(part.text));
            page.thought(start);
        }
        // Nobody but who wrote it can read it.
        "redacted_thinking" => {}
        "refusal" => page.said(mark, part.refusal),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            Call { name: part.name, arguments: part.input, id: part.id }.write(page);
        }
        _ if part.call.is_some() && !omit.nested => {
            let start = page.len();
            page.raw(Mark::Result, "");
            if let Some(call) = part.call {
                page.plain(call);
            }
            if kind != "tool_result" {
                page.raw(Mark::Other, &kind);
            }
            kept(part.content, page, Mark::Text, Omit { nested: true, ..omit })?;
            if part.failed {
                page.raw(Mark::Failed, "");
            }
            page.raw(Mark::End, "");
            page.result(start);
        }
        _ if part.uuid.is_some() || part.media.is_some() => {
            page.raw(Mark::Media, &kind);
            // A name that the client gives it stands for it: engines then do not look at what it shows.
            match (part.uuid, part.media) {
                (Some(uuid), _) => page.hashed(Mark::MediaName, &uuid.read()),
                (None, Some((_, Value::Text(text)))) => page.hashed(Mark::Hash, &text.read()),
                (None, Some((_, Value::Json(json)))) => page.hashed(Mark::Hash, json),
                (None, None) => {}
            }
        }
        _ => unknown(&mut again, page)?,
    }
    Ok(())
}

/// A part of a kind that is not known, as it stands but for where caches should end.
fn unknown(reader: &mut Reader<'_>, page: &mut Page) -> Result<()> {
    page.raw(Mark::Other, "");
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        let json = reader.skip()?;
        if !key.is("cache_control") {
            page.text(Mark::Name, key);
            page.raw(Mark::Json, json);
        }
    }
    page.raw(Mark::End, "");
    Ok(())
}

/// What a part shows: a URL, or the content itself.
fn media<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>> {
    if reader.kind()? != Kind::Object {
        return value::value(reader);
    }
    let mut again = reader.clone();
    let mut best: Option<(usize, Text<'a>)> = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match INSIDE.iter().position(|name| key.is(name)) {
            Some(rank) if best.is_none_or(|(best, _)| rank <= best) => {
                best = value::any_string(reader)?.map(|text| (rank, text)).or(best);
            }
            _ => _ = reader.skip()?,
        }
    }
    match best {
        Some((_, text)) => Ok(Some(Value::Text(text))),
        None => again.skip().map(|json| Some(Value::Json(json))),
    }
}
