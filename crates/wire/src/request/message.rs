//! Messages, and the items of the Responses API, most of which are messages.

use super::page::{Mark, Page};
use super::part::{self, Omit};
use super::tool::{self, Call};
use super::value::{self, Kept, Value};
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// Reads and writes an array of messages.
pub(super) fn messages(reader: &mut Reader<'_>, page: &mut Page, omit: Omit) -> Result<()> {
    if !value::array(reader, "an array of messages")? {
        return Ok(());
    }
    while reader.next_item()? {
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a message"));
        }
        message(reader, page, omit)?;
    }
    Ok(())
}

/// Reads and writes the input of the Responses API: a string is what the user says.
pub(super) fn input(reader: &mut Reader<'_>, page: &mut Page) -> Result<()> {
    match reader.kind()? {
        Kind::Array | Kind::Null => messages(reader, page, Omit::default()),
        Kind::Text => {
            let text = reader.text()?;
            let start = page.len();
            page.raw(Mark::Message, "user");
            page.said(Mark::Text, Some(text));
            page.message("user", start, page.len(), false, 0);
            Ok(())
        }
        _ => Err(WireError::expected(reader.at(), "a string or an array of items")),
    }
}

/// Reads and writes what is said before all messages, as a message of the system.
pub(super) fn system(reader: &mut Reader<'_>, page: &mut Page, omit: Omit) -> Result<()> {
    let start = page.len();
    page.raw(Mark::Message, "system");
    let header = page.len();
    match value::keep(reader)? {
        // As vLLM does: only parts are left out here.
        content @ Kept::Text(_) => part::kept(content, page, Mark::Text, Omit::default())?,
        content => part::kept(content, page, Mark::Text, omit)?,
    }
    if page.len() == header {
        page.cut(start);
    }
    Ok(())
}

/// What few messages have besides a role and content, so that the others need not have room for it.
#[derive(Default)]
struct Rest<'a> {
    reasoning: [Option<Text<'a>>; 2],
    calls: [Option<Reader<'a>>; 2],
    name: Option<Text<'a>>,
    tool_call_id: Option<Text<'a>>,
    /// What items have that are no messages.
    kind: Option<Text<'a>>,
    call_id: Option<Text<'a>>,
    arguments: Option<Value<'a>>,
    output: Kept<'a>,
    summary: Kept<'a>,
}

fn message(reader: &mut Reader<'_>, page: &mut Page, omit: Omit) -> Result<()> {
    let before = reader.clone();
    let start = page.len();
    let mut role = None;
    let mut content = Kept::Nothing;
    let mut rest: Option<Rest<'_>> = None;
    // Content that comes after the role, as it does, is written when it is read, and not read over first.
    let mut written = false;
    let mut begun = start;
    let (calls, results) = (page.calls(), page.results());
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        match &*key.read() {
            "role" => {
                role = value::string(reader, "a role")?;
                page.cut(start);
                written = false;
            }
            "content" => {
                let first = matches!(content, Kept::Nothing);
                match role {
                    Some(role) if first && reader.kind()? == Kind::Array => {
                        content = Kept::At(reader.clone());
                        page.text(Mark::Message, role);
                        begun = page.len();
                        part::parts(reader, page, Mark::Text, omit.of(role))?;
                        written = true;
                    }
                    _ => {
                        content = value::keep(reader)?;
                        page.cut(start);
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
        return rest.write_item(kind, content, before, page);
    }
    if !written {
        page.raw(Mark::Message, "");
        if let Some(role) = role {
            page.plain(role);
        }
        begun = page.len();
        part::kept(content, page, Mark::Text, role.map_or(omit, |role| omit.of(role)))?;
    }
    let role = role.map(Text::read).unwrap_or_default();
    if role == "assistant" {
        page.answered(begun);
    }
    rest.map_or(Ok(()), |rest| rest.write(page))?;
    page.message(&role, start, begun, page.calls() > calls, page.results() - results);
    Ok(())
}

impl<'a> Rest<'a> {
    /// Reads the value of a key, if it is one of these.
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
            "reasoning" => rest.reasoning[0] = value::any_string(reader)?,
            "reasoning_content" => rest.reasoning[1] = value::any_string(reader)?,
            "tool_calls" => rest.calls[0] = later(reader)?,
            "function_call" => rest.calls[1] = later(reader)?,
            "name" => rest.name = value::any_string(reader)?,
            "tool_call_id" => rest.tool_call_id = value::any_string(reader)?,
            "type" => rest.kind = value::any_string(reader)?,
            "call_id" => rest.call_id = value::any_string(reader)?,
            "arguments" | "input" => rest.arguments = value::value(reader)?,
            "output" => rest.output = value::keep(reader)?,
            _ => rest.summary = value::keep(reader)?,
        }
        Ok(true)
    }

    fn write(self, page: &mut Page) -> Result<()> {
        let [reasoning, reasoning_content] = self.reasoning;
        let start = page.len();
        page.said(Mark::Reasoning, reasoning.or(reasoning_content));
        page.thought(start);
        for calls in self.calls.into_iter().flatten() {
            tool::calls(calls, page)?;
        }
        page.said(Mark::Name, self.name);
        page.said(Mark::CallId, self.tool_call_id);
        Ok(())
    }

    /// An item that is no message, as the message that engines make of it.
    fn write_item(
        &self,
        kind: Text<'a>,
        content: Kept<'a>,
        mut before: Reader<'a>,
        page: &mut Page,
    ) -> Result<()> {
        match &*kind.read() {
            "function_call" | "custom_tool_call" => {
                page.raw(Mark::Message, "assistant");
                Call { name: self.name, arguments: self.arguments, id: self.call_id }.write(page);
            }
            "function_call_output" | "custom_tool_call_output" => {
                page.raw(Mark::Message, "tool");
                part::kept(self.output.clone(), page, Mark::Text, Omit::default())?;
                page.said(Mark::CallId, self.call_id);
            }
            "reasoning" => {
                let start = page.len();
                page.raw(Mark::Message, "assistant");
                let thought = if matches!(content, Kept::Nothing) { self.summary.clone() } else { content };
                part::kept(thought, page, Mark::Reasoning, Omit::default())?;
                // Its parts are in there, too.
                page.forget_thoughts(start);
                page.thought(start);
            }
            _ => {
                page.text(Mark::Message, kind);
                page.raw(Mark::Json, before.skip()?);
            }
        }
        Ok(())
    }
}

impl Omit {
    /// What is left out of what only the system says.
    fn of(self, role: Text<'_>) -> Self {
        Self { billing: self.billing && role.is("system"), ..self }
    }
}

/// Reads over a value, to come back to it.
fn later<'a>(reader: &mut Reader<'a>) -> Result<Option<Reader<'a>>> {
    Ok(match value::keep(reader)? {
        Kept::Nothing | Kept::Text(_) => None,
        Kept::At(reader) => Some(reader),
    })
}
