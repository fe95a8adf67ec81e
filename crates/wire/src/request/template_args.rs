//! Template arguments: fields besides the messages that change a prompt.
//!
//! Most templates put them into the system message or before it. So they come first in the
//! canonical text, in an order that does not depend on the body. `null`, `""`, `{}` and `[]` count
//! as missing. Other values are kept as written.
//!
//! Fields that affect only the answer are not included (`response_format`, `structured_outputs`,
//! `guided_json`, sampling). Nor are those that affect only a prompt's end
//! (`add_generation_prompt`, `continue_final_message`).

use super::api::Api;
use super::canonical_text::{CanonicalText, Mark};
use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader};

type Result<T> = core::result::Result<T, WireError>;

/// Their names in canonical order.
const NAMES: [&str; 11] = [
    "reasoning_effort",
    "thinking",
    "enable_thinking",
    "output_config",
    "chat_template",
    "chat_template_kwargs",
    "mm_processor_kwargs",
    "documents",
    "prompt",
    "tool_choice",
    "context_management",
];
const EFFORT: usize = 0;
const TEMPLATE_ARGUMENTS: usize = 5;
const TOOL_CHOICE: usize = 9;

/// Their values as written in the body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TemplateArgs<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> TemplateArgs<'a> {
    /// Reads the value if `key` is an argument in this API, and returns whether it is.
    pub(super) fn read(&mut self, api: Api, key: &str, reader: &mut Reader<'a>) -> Result<bool> {
        let conversation =
            matches!(api, Api::ChatCompletions | Api::Responses | Api::Messages | Api::Embeddings);
        let place = match (key, api) {
            _ if !conversation => return Ok(false),
            ("reasoning", Api::ChatCompletions | Api::Responses) => {
                if let Some(effort) = effort(reader)? {
                    self.0[EFFORT] = Some(effort);
                }
                return Ok(true);
            }
            ("prompt", Api::Responses)
            | ("output_config" | "context_management", Api::Messages) => {
                NAMES.iter().position(|name| *name == key)
            }
            ("prompt" | "output_config" | "context_management", _) => None,
            _ => NAMES.iter().position(|name| *name == key),
        };
        let Some(place) = place else { return Ok(false) };
        reader.kind()?;
        let json = reader.skip()?;
        let nothing = matches!(json, "null" | "\"\"" | "{}" | "[]");
        // Only these choices remove tools from a prompt, and only in some engines.
        let usual = place == TOOL_CHOICE
            && (matches!(json, "\"auto\"" | "\"required\"" | "\"any\"") || usual_choice(json));
        self.0[place] = Some(json).filter(|_| !nothing && !usual);
        Ok(true)
    }

    /// Appends the arguments; the choice among tools only if there are tools.
    pub(super) fn write(&self, tools: bool, canonical: &mut CanonicalText) {
        for (place, (name, json)) in NAMES.iter().zip(self.0).enumerate() {
            if let Some(json) = json.filter(|_| tools || place != TOOL_CHOICE) {
                canonical.raw(Mark::Argument, name);
                canonical.raw(Mark::Json, json);
            }
        }
    }

    /// Whether an argument keeps all reasoning.
    pub(super) fn keeps_thoughts(&self) -> bool {
        let Some(json) = self.0[TEMPLATE_ARGUMENTS] else { return false };
        keeps_thoughts(json).unwrap_or(false)
    }
}

/// The `effort` of an object.
fn effort<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        return Ok(None);
    }
    let mut effort = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        reader.kind()?;
        let json = reader.skip()?;
        if key.is("effort") && json != "null" {
            effort = Some(json);
        }
    }
    Ok(effort)
}

/// Whether an object only permits a choice among all tools, as Anthropic's do.
fn usual_choice(json: &str) -> bool {
    let read = || -> Result<bool> {
        let mut reader = Reader::new(json.as_bytes())?;
        let mut usual = false;
        if reader.kind()? == Kind::Object {
            reader.open_object()?;
            while let Some(key) = reader.next_key()? {
                if key.is("type") {
                    let kind = lenient::any_string(&mut reader)?;
                    usual = kind.is_some_and(|kind| {
                        kind.is("auto") || kind.is("any") || kind.is("required")
                    });
                } else {
                    reader.skip()?;
                }
            }
        }
        Ok(usual)
    };
    read().unwrap_or(false)
}

fn keeps_thoughts(json: &str) -> Result<bool> {
    let mut reader = Reader::new(json.as_bytes())?;
    let mut keeps = false;
    if reader.kind()? != Kind::Object {
        return Ok(false);
    }
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        reader.kind()?;
        let json = reader.skip()?;
        keeps |= match &*key.read() {
            "preserve_thinking" => json == "true",
            "clear_thinking" | "drop_thinking" => json == "false",
            _ => false,
        };
    }
    Ok(keeps)
}
