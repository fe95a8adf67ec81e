//! Messages, and the items of the Responses API, most of which are messages.

use super::canonical_text::{CanonicalText, Mark};
use super::lenient::{self, Deferred, Value};
use super::part::{self, Omit};
use super::plain_message;
use super::tool::{self, Call};
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// Converts an array of messages.
pub(super) fn messages(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    omit: Omit,
) -> Result<()> {
    if !lenient::array(reader, "an array of messages")? {
        return Ok(());
    }
    while reader.next_item()? {
        if plain_message::convert(reader, canonical, omit) {
            continue;
        }
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a message"));
        }
        message(reader, canonical, omit)?;
    }
    Ok(())
}

/// Converts the input of the Responses API. A string is a user message.
pub(super) fn input(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Result<()> {
    match reader.kind()? {
        Kind::Array | Kind::Null => messages(reader, canonical, Omit::default()),
        Kind::Text => {
            let text = reader.text()?;
            let start = canonical.len();
            canonical.raw(Mark::Message, "user");
            canonical.text_if_any(Mark::Text, Some(text));
            canonical.message("user", start, canonical.len(), false, 0);
            Ok(())
        }
        _ => Err(WireError::expected(reader.at(), "a string or an array of items")),
    }
}

/// Converts the system prompt into a system message.
pub(super) fn system(
    reader: &mut Reader<'_>,
    canonical: &mut CanonicalText,
    omit: Omit,
) -> Result<()> {
    let start = canonical.len();
    canonical.raw(Mark::Message, "system");
    let header = canonical.len();
    match lenient::keep(reader)? {
        // As in vLLM, only parts are filtered here.
        content @ Deferred::Text(_) => part::kept(content, canonical, Mark::Text, Omit::default())?,
        content => part::kept(content, canonical, Mark::Text, omit)?,
    }
    if canonical.len() == header {
        canonical.cut(start);
    }
    Ok(())
}

/// Rare fields of a message, apart so that ordinary messages need no space for them.
#[derive(Default)]
struct Rest<'a> {
    reasoning: [Option<Text<'a>>; 2],
    calls: [Option<Reader<'a>>; 2],
    name: Option<Text<'a>>,
    tool_call_id: Option<Text<'a>>,
    /// Fields of items that are not messages.
    kind: Option<Text<'a>>,
    call_id: Option<Text<'a>>,
    arguments: Option<Value<'a>>,
    output: Deferred<'a>,
    summary: Deferred<'a>,
}

fn message(reader: &mut Reader<'_>, canonical: &mut CanonicalText, omit: Omit) -> Result<()> {
    let before = reader.clone();
    let start = canonical.len();
    let mut role = None;
    let mut content = Deferred::Nothing;
    let mut rest: Option<Rest<'_>> = None;
    // Content that follows the role, as it usually does, is converted in the first pass.
    let mut written = false;
    let mut begun = start;
    let (calls, results) = (canonical.calls(), canonical.results());
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "role" => {
                role = lenient::string(reader, "a role")?;
                canonical.cut(start);
                written = false;
            }
            "content" => {
                let first = matches!(content, Deferred::Nothing);
                match role {
                    Some(role) if first && reader.kind()? == Kind::Array => {
                        content = Deferred::At(reader.clone());
                        canonical.text(Mark::Message, role);
                        begun = canonical.len();
                        part::parts(reader, canonical, Mark::Text, omit.of(role))?;
                        written = true;
                    }
                    _ => {
                        content = lenient::keep(reader)?;
                        canonical.cut(start);
                        written = false;
                    }
                }
            }
            key => {
                if !Rest::read(&mut rest, key, reader)? {
                    reader.skip()?;
                }
            }
        }
    }
    let kind = rest.as_ref().and_then(|rest| rest.kind).filter(|kind| !kind.is("message"));
    if let (None, Some(kind), Some(rest)) = (role, kind, &rest) {
        return rest.write_item(kind, content, before, canonical);
    }
    if !written {
        canonical.raw(Mark::Message, "");
        if let Some(role) = role {
            canonical.plain(role);
        }
        begun = canonical.len();
        part::kept(content, canonical, Mark::Text, role.map_or(omit, |role| omit.of(role)))?;
    }
    let role = role.map(Text::read).unwrap_or_default();
    if role == "assistant" {
        canonical.mark_inline_reasoning(begun);
    }
    rest.map_or(Ok(()), |rest| rest.write(canonical))?;
    canonical.message(
        &role,
        start,
        begun,
        canonical.calls() > calls,
        canonical.results() - results,
    );
    Ok(())
}

impl<'a> Rest<'a> {
    /// Reads the value if `key` is one of these fields, and returns whether it is.
    fn read(rest: &mut Option<Self>, key: &str, reader: &mut Reader<'a>) -> Result<bool> {
        let known = [
            "reasoning",
            "reasoning_content",
            "tool_calls",
            "function_call",
            "name",
            "tool_call_id",
            "type",
            "call_id",
            "arguments",
            "input",
            "output",
            "summary",
        ];
        if !known.contains(&key) {
            return Ok(false);
        }
        let rest = rest.get_or_insert_default();
        match key {
            "reasoning" => rest.reasoning[0] = lenient::any_string(reader)?,
            "reasoning_content" => rest.reasoning[1] = lenient::any_string(reader)?,
            "tool_calls" => rest.calls[0] = later(reader)?,
            "function_call" => rest.calls[1] = later(reader)?,
            "name" => rest.name = lenient::any_string(reader)?,
            "tool_call_id" => rest.tool_call_id = lenient::any_string(reader)?,
            "type" => rest.kind = lenient::any_string(reader)?,
            "call_id" => rest.call_id = lenient::any_string(reader)?,
            "arguments" | "input" => rest.arguments = lenient::value(reader)?,
            "output" => rest.output = lenient::keep(reader)?,
            _ => rest.summary = lenient::keep(reader)?,
        }
        Ok(true)
    }

    fn write(self, canonical: &mut CanonicalText) -> Result<()> {
        let [reasoning, reasoning_content] = self.reasoning;
        canonical.reasoning_text(reasoning.or(reasoning_content));
        for mut calls in self.calls.into_iter().flatten() {
            tool::calls(&mut calls, canonical)?;
        }
        canonical.text_if_any(Mark::Name, self.name);
        canonical.text_if_any(Mark::CallId, self.tool_call_id);
        Ok(())
    }

    /// Converts an item that is not a message as engines do.
    fn write_item(
        &self,
        kind: Text<'a>,
        content: Deferred<'a>,
        mut before: Reader<'a>,
        canonical: &mut CanonicalText,
    ) -> Result<()> {
        match &*kind.read() {
            "function_call" | "custom_tool_call" => {
                canonical.raw(Mark::Message, "assistant");
                Call { name: self.name, arguments: self.arguments, id: self.call_id }
                    .write(canonical);
            }
            "function_call_output" | "custom_tool_call_output" => {
                canonical.raw(Mark::Message, "tool");
                part::kept(self.output.clone(), canonical, Mark::Text, Omit::default())?;
                canonical.text_if_any(Mark::CallId, self.call_id);
            }
            "reasoning" => {
                let start = canonical.len();
                canonical.raw(Mark::Message, "assistant");
                let thought = if matches!(content, Deferred::Nothing) {
                    self.summary.clone()
                } else {
                    content
                };
                part::kept(thought, canonical, Mark::Reasoning, Omit::default())?;
                // Its parts are included.
                canonical.forget_reasoning(start);
                canonical.mark_reasoning(start);
            }
            _ => {
                canonical.text(Mark::Message, kind);
                canonical.raw(Mark::Json, before.skip()?);
            }
        }
        Ok(())
    }
}

impl Omit {
    /// Restricts the filter for system messages to that role.
    fn of(self, role: Text<'_>) -> Self {
        Self { billing: self.billing && role.is("system"), ..self }
    }
}

/// Skips a value and returns a reader positioned before it.
fn later<'a>(reader: &mut Reader<'a>) -> Result<Option<Reader<'a>>> {
    Ok(match lenient::keep(reader)? {
        Deferred::Nothing | Deferred::Text(_) => None,
        Deferred::At(reader) => Some(reader),
    })
}
