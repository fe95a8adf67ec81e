//! Tools and tool calls.

use super::canonical_text::{CanonicalText, Mark};
use super::lenient::{self, Value};
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// Converts tool definitions: names, descriptions, parameters, and types other than functions.
pub(super) fn tools(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Result<()> {
    if !lenient::array(reader, "an array of tools")? {
        return Ok(());
    }
    while reader.next_item()? {
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a tool"));
        }
        let mut tool = Tool::default();
        let mut function = Tool::default();
        tool.read(reader, Some(&mut function))?;
        tool.or(function).write(canonical);
    }
    Ok(())
}

#[derive(Default)]
struct Tool<'a> {
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    parameters: Option<Value<'a>>,
}

impl<'a> Tool<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, mut function: Option<&mut Self>) -> Result<()> {
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            match &*key.read() {
                "type" => self.kind = lenient::any_string(reader)?,
                "name" => self.name = lenient::any_string(reader)?,
                "description" => self.description = lenient::any_string(reader)?,
                "parameters" | "input_schema" => self.parameters = lenient::value(reader)?,
                "function" | "custom" if reader.kind()? == Kind::Object => {
                    match function.as_deref_mut() {
                        Some(function) => {
                            *function = Self::default();
                            function.read(reader, None)?;
                        }
                        None => _ = reader.skip()?,
                    }
                }
                _ => _ = reader.skip()?,
            }
        }
        Ok(())
    }

    /// Chat completions nest all fields but the type in `function`.
    fn or(self, function: Self) -> Self {
        Self {
            kind: self.kind,
            name: function.name.or(self.name),
            description: function.description.or(self.description),
            parameters: function.parameters.or(self.parameters),
        }
    }

    fn write(&self, canonical: &mut CanonicalText) {
        canonical.raw(Mark::Tool, "");
        if let Some(name) = self.name {
            canonical.plain(name);
        }
        canonical.text_if_any(Mark::ToolKind, self.kind.filter(|kind| !kind.is("function")));
        canonical.text_if_any(Mark::Description, self.description);
        write_value(canonical, Mark::Parameters, self.parameters);
    }
}

/// A tool call.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) arguments: Option<Value<'a>>,
    pub(super) id: Option<Text<'a>>,
}

impl<'a> Call<'a> {
    /// Reads a call. Its name and arguments may be nested in `function`.
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut call = Self::default();
        let mut inner = Self::default();
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            match &*key.read() {
                "id" => call.id = lenient::any_string(reader)?,
                "name" => call.name = lenient::any_string(reader)?,
                "arguments" | "input" => call.arguments = lenient::value(reader)?,
                "function" | "custom" if reader.kind()? == Kind::Object => {
                    inner = Self::default();
                    reader.open_object()?;
                    while let Some(key) = reader.next_key()? {
                        match &*key.read() {
                            "name" => inner.name = lenient::any_string(reader)?,
                            "arguments" | "input" => inner.arguments = lenient::value(reader)?,
                            _ => _ = reader.skip()?,
                        }
                    }
                }
                _ => _ = reader.skip()?,
            }
        }
        Ok(Self {
            name: inner.name.or(call.name),
            arguments: inner.arguments.or(call.arguments),
            id: call.id,
        })
    }

    pub(super) fn write(&self, canonical: &mut CanonicalText) {
        canonical.raw(Mark::Call, "");
        if let Some(name) = self.name {
            canonical.plain(name);
        }
        write_value(canonical, Mark::Arguments, self.arguments);
        canonical.text_if_any(Mark::CallId, self.id);
    }
}

/// Converts the calls of a message, or its single `function_call`.
pub(super) fn calls(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Result<()> {
    if reader.kind()? == Kind::Object {
        Call::read(reader)?.write(canonical);
        return Ok(());
    }
    if !lenient::array(reader, "an array of calls")? {
        return Ok(());
    }
    while reader.next_item()? {
        if canonical.attempt(reader, plain_call) {
            continue;
        }
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a call"));
        }
        Call::read(reader)?.write(canonical);
    }
    Ok(())
}

/// Converts a call in the pass that reads it. `None` unless its name and then its arguments are
/// nested in `function`.
fn plain_call(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Option<()> {
    let (mut id, mut found) = (None, false);
    reader.plain_open(b'{')?;
    while reader.plain_goes_on(b'}')? {
        match reader.plain_key()? {
            "id" => id = lenient::any_string(reader).ok()?,
            "function" if !found => {
                plain_function(reader, canonical)?;
                found = true;
            }
            "name" | "arguments" | "input" | "function" | "custom" => return None,
            _ => _ = reader.skip().ok()?,
        }
    }
    canonical.text_if_any(Mark::CallId, id);
    found.then_some(())
}

/// Converts the name of a call and its arguments.
fn plain_function(reader: &mut Reader<'_>, canonical: &mut CanonicalText) -> Option<()> {
    reader.plain_open(b'{')?;
    if !reader.plain_goes_on(b'}')? || reader.plain_key()? != "name" {
        return None;
    }
    canonical.raw(Mark::Call, "");
    canonical.plain(lenient::any_string(reader).ok()??);
    let mut found = false;
    while reader.plain_goes_on(b'}')? {
        match reader.plain_key()? {
            "arguments" if !found => {
                canonical.read_text(Mark::Arguments, reader)?;
                found = true;
            }
            "name" | "arguments" | "input" => return None,
            _ => _ = reader.skip().ok()?,
        }
    }
    Some(())
}

fn write_value(canonical: &mut CanonicalText, mark: Mark, value: Option<Value<'_>>) {
    match value {
        None => {}
        Some(Value::Text(text)) => canonical.text_if_any(mark, Some(text)),
        Some(Value::Json(json)) => {
            canonical.raw(mark, json);
        }
    }
}
