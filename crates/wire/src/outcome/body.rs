//! Error bodies in the formats that client libraries parse.

use core::fmt;

use crate::request::Api;

/// The API whose client library parses the body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BodyShape {
    /// OpenAI and compatible APIs: `{"error":{"message":..,"type":..,"param":null,"code":..}}`.
    OpenAi,
    /// Anthropic's: `{"type":"error","error":{"type":..,"message":..}}`.
    Anthropic,
}

/// An error's names in the APIs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) openai: &'static str,
    pub(super) anthropic: &'static str,
    /// The code in OpenAI's format.
    pub(super) code: &'static str,
}

impl BodyShape {
    /// The `Content-Type` of both.
    pub const CONTENT_TYPE: &'static str = "application/json";

    /// The shape for a request to this path: Anthropic's for its Messages API, otherwise OpenAI's.
    ///
    /// ```
    /// use slotwise_wire::outcome::BodyShape;
    ///
    /// assert_eq!(BodyShape::of_path("/v1/messages?beta=true"), BodyShape::Anthropic);
    /// assert_eq!(BodyShape::of_path("/v1/chat/completions"), BodyShape::OpenAi);
    /// ```
    pub fn of_path(path: &str) -> Self {
        match Api::of_path(path) {
            Some(Api::Messages) => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }

    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    pub(super) fn write(
        self,
        names: Names,
        message: &str,
        retry_after_ms: Option<u64>,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        match self {
            Self::OpenAi => {
                out.write_str(r#"{"error":{"message":"#)?;
                write_text(message, out)?;
                out.write_str(r#","type":"#)?;
                write_text(names.openai, out)?;
                out.write_str(r#","param":null,"code":"#)?;
                write_text(names.code, out)?;
            }
            Self::Anthropic => {
                out.write_str(r#"{"type":"error","error":{"type":"#)?;
                write_text(names.anthropic, out)?;
                out.write_str(r#","message":"#)?;
                write_text(message, out)?;
            }
        }
        if let Some(millis) = retry_after_ms {
            write!(out, r#","retry_after_ms":{millis}"#)?;
        }
        out.write_str("}}")
    }
}

/// Writes a JSON string.
fn write_text(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_char('"')?;
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        // Escaped bytes are ASCII, so the pieces between them are whole characters.
        if byte >= b' ' && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        out.write_str(text.get(done..at).unwrap_or_default())?;
        match byte {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            _ => write!(out, "\\u{byte:04x}")?,
        }
        done = at + 1;
    }
    out.write_str(text.get(done..).unwrap_or_default())?;
    out.write_char('"')
}
