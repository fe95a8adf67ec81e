//! Messages whose keys come in the order of the canonical text, as nearly all do.
//!
//! Such a message is converted in the pass that reads it: its role comes first, then its content,
//! then its tool calls. Strings that the text has at the end are kept until then.

use super::canonical_text::{CanonicalText, Mark};
use super::lenient;
use super::part::{self, Omit};
use super::tool;
use crate::json::{Kind, Reader, Text};

/// Converts a message. Returns `false` for a message of another form, which is then not read.
pub(super) fn convert(reader: &mut Reader<'_>, canonical: &mut CanonicalText, omit: Omit) -> bool {
    canonical.attempt(reader, |reader, canonical| message(reader, canonical, omit))
}

/// What of the canonical text is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Written {
    Role,
    Content,
    Calls,
}

/// Strings that stand after the content in the canonical text.
#[derive(Default)]
struct Rest<'a> {
    reasoning: Option<Text<'a>>,
    reasoning_content: Option<Text<'a>>,
    name: Option<Text<'a>>,
    tool_call_id: Option<Text<'a>>,
}

fn message(reader: &mut Reader<'_>, canonical: &mut CanonicalText, omit: Omit) -> Option<()> {
    let start = canonical.len();
    let role = role(reader, canonical)?;
    if omit.billing && role == "system" {
        return None;
    }
    let begun = canonical.len();
    let (calls, results) = (canonical.calls(), canonical.results());
    let mut rest = Rest::default();
    let mut written = Written::Role;
    // The usual order, compared as a whole.
    if reader.plain_skip(r#","content":"#) {
        content(reader, canonical, role)?;
        written = Written::Content;
    }
    while reader.plain_goes_on(b'}')? {
        match (reader.plain_key()?, written) {
            ("content", Written::Role) => {
                content(reader, canonical, role)?;
                written = Written::Content;
            }
            ("tool_calls", Written::Role | Written::Content) => {
                rest.write_reasoning(canonical);
                match reader.kind().ok()? {
                    Kind::Array => tool::calls(reader, canonical).ok()?,
                    Kind::Null => _ = reader.null().ok()?,
                    _ => return None,
                }
                written = Written::Calls;
            }
            ("reasoning", Written::Role | Written::Content) => {
                rest.reasoning = lenient::any_string(reader).ok()?;
            }
            ("reasoning_content", Written::Role | Written::Content) => {
                rest.reasoning_content = lenient::any_string(reader).ok()?;
            }
            ("name", _) => rest.name = lenient::any_string(reader).ok()?,
            ("tool_call_id", _) => rest.tool_call_id = lenient::any_string(reader).ok()?,
            (
                "role" | "content" | "tool_calls" | "function_call" | "reasoning"
                | "reasoning_content",
                _,
            ) => return None,
            _ => _ = reader.skip().ok()?,
        }
    }
    if written != Written::Calls {
        rest.write_reasoning(canonical);
    }
    canonical.text_if_any(Mark::Name, rest.name);
    canonical.text_if_any(Mark::CallId, rest.tool_call_id);
    let called = canonical.calls() > calls;
    canonical.message(role, start, begun, called, canonical.results() - results);
    Some(())
}

/// Converts the content of a message with this role.
#[inline]
fn content(reader: &mut Reader<'_>, canonical: &mut CanonicalText, role: &str) -> Option<()> {
    let start = canonical.len();
    part::plain_content(reader, canonical, Omit::default())?;
    if role == "assistant" {
        canonical.mark_inline_reasoning(start);
    }
    Some(())
}

/// Enters a message and converts its role, which usually is one of a few. Each of those is written
/// where it is known, since a copy of a constant size needs no call.
#[inline]
fn role<'a>(reader: &mut Reader<'a>, canonical: &mut CanonicalText) -> Option<&'a str> {
    reader.plain_open(b'{')?;
    let mut usual = |member, role| {
        let found = reader.plain_skip(member);
        if found {
            canonical.raw(Mark::Message, role);
        }
        found.then_some(role)
    };
    let role = usual(r#""role":"user""#, "user")
        .or_else(|| usual(r#""role":"assistant""#, "assistant"))
        .or_else(|| usual(r#""role":"tool""#, "tool"));
    if role.is_some() {
        return role;
    }
    let first = reader.plain_goes_on(b'}')? && reader.plain_key()? == "role";
    let role = reader.plain_text().filter(|_| first)?;
    canonical.raw(Mark::Message, role);
    Some(role)
}

impl Rest<'_> {
    #[inline]
    fn write_reasoning(&self, canonical: &mut CanonicalText) {
        canonical.reasoning_text(self.reasoning.or(self.reasoning_content));
    }
}
