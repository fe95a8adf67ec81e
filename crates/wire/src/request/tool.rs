//! Tools, and calls of them.

use super::page::{Mark, Page};
use super::value::{self, Value};
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// Reads and writes what a model is told of its tools: names, descriptions, parameters, and kinds other than functions.
pub(super) fn tools(reader: &mut Reader<'_>, page: &mut Page) -> Result<()> {
    if !value::array(reader, "an array of tools")? {
        return Ok(());
    }
    while reader.next_item()? {
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a tool"));
        }
        let mut tool = Tool::default();
        let mut function = Tool::default();
        tool.read(reader, Some(&mut function))?;
        tool.or(function).write(page);
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
                "type" => self.kind = value::any_string(reader)?,
                "name" => self.name = value::any_string(reader)?,
                "description" => self.description = value::any_string(reader)?,
                "parameters" | "input_schema" => self.parameters = value::value(reader)?,
                "function" | "custom" if reader.kind()? == Kind::Object => match function.as_deref_mut() {
                    Some(function) => {
                        *function = Self::default();
                        function.read(reader, None)?;
                    }
                    None => _ = reader.skip()?,
                },
                _ => _ = reader.skip()?,
            }
        }
        Ok(())
    }

    /// Chat completions have all but the kind one level deeper.
    fn or(self, function: Self) -> Self {
        Self {
            kind: self.kind,
            name: function.name.or(self.name),
            description: function.description.or(self.description),
            parameters: function.parameters.or(self.parameters),
        }
    }

    fn write(&self, page: &mut Page) {
        page.raw(Mark::Tool, "");
        if let Some(name) = self.name {
            page.plain(name);
        }
        page.said(Mark::ToolKind, self.kind.filter(|kind| !kind.is("function")));
        page.said(Mark::Description, self.description);
        write_value(page, Mark::Parameters, self.parameters);
    }
}

/// A call of a tool.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) arguments: Option<Value<'a>>,
    pub(super) id: Option<Text<'a>>,
}

impl<'a> Call<'a> {
    /// Reads one, the name and the arguments of which may lie one level deeper.
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut call = Self::default();
        let mut inner = Self::default();
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            match &*key.read() {
                "id" => call.id = value::any_string(reader)?,
                "name" => call.name = value::any_string(reader)?,
                "arguments" | "input" => call.arguments = value::value(reader)?,
                "function" | "custom" if reader.kind()? == Kind::Object => {
                    inner = Self::default();
                    reader.open_object()?;
                    while let Some(key) = reader.next_key()? {
                        match &*key.read() {
                            "name" => inner.name = value::any_string(reader)?,
                            "arguments" | "input" => inner.arguments = value::value(reader)?,
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

    pub(super) fn write(&self, page: &mut Page) {
        page.raw(Mark::Call, "");
        if let Some(name) = self.name {
            page.plain(name);
        }
        write_value(page, Mark::Arguments, self.arguments);
        page.said(Mark::CallId, self.id);
    }
}

/// Reads and writes the calls of a message, or its only call, as it was before there were more.
pub(super) fn calls(mut reader: Reader<'_>, page: &mut Page) -> Result<()> {
    if reader.kind()? == Kind::Object {
        Call::read(&mut reader)?.write(page);
        return Ok(());
    }
    if !value::array(&mut reader, "an array of calls")? {
        return Ok(());
    }
    while reader.next_item()? {
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "a call"));
        }
        Call::read(&mut reader)?.write(page);
    }
    Ok(())
}

fn write_value(page: &mut Page, mark: Mark, value: Option<Value<'_>>) {
    match value {
        None => {}
        Some(Value::Text(text)) => page.said(mark, Some(text)),
        Some(Value::Json(json)) => {
            page.raw(mark, json);
        }
    }
}
