//! Prompts with text: their number of tokens, and their blocks.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use slotwise::BlockHash;

use super::block;

/// Bytes that count as one token where a trace gives no number of tokens.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens in a block of a text.
pub(super) const BLOCK_TOKENS: u32 = 16;
/// Bytes in a block of a text.
pub(super) const BLOCK_BYTES: usize = BYTES_PER_TOKEN * BLOCK_TOKENS as usize;
/// The space of a text's hashes, away from those of ids.
const SPACE: u64 = 0x7e87;

/// The tokens of a text: a quarter of its bytes, rounded up.
pub(super) fn tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

/// Hashes of a text's full blocks, at most `most`. Each covers the text from its beginning.
pub(super) fn blocks(text: &str, block_bytes: usize, most: usize) -> Arc<[BlockHash]> {
    let hash = |before: &mut u64, bytes: &[u8]| {
        let word =
            |bytes: &[u8]| bytes.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        *before = bytes.chunks(8).fold(*before, |hash, bytes| block(hash, word(bytes)).0);
        Some(BlockHash(*before))
    };
    text.as_bytes().chunks_exact(block_bytes.max(1)).take(most).scan(SPACE, hash).collect()
}

/// The prompt of a request's body, in the order in which a chat template writes it: tools, system
/// prompt, messages.
pub(super) fn of_body(body: &Map<String, Value>) -> String {
    let mut text = String::new();
    if let Some(tools) = body.get("tools").filter(|tools| !tools.is_null()) {
        let _ = writeln!(text, "{tools}");
    }
    for name in ["system", "instructions", "prompt"] {
        if let Some(value) = body.get(name) {
            content(value, &mut text);
        }
    }
    for name in ["messages", "input"] {
        if let Some(value) = body.get(name) {
            messages(value, &mut text);
        }
    }
    text
}

/// A list of messages, or a single text.
pub(super) fn messages(value: &Value, text: &mut String) {
    let Some(messages) = value.as_array() else { return content(value, text) };
    for message in messages {
        let Some(fields) = message.as_object() else {
            content(message, text);
            continue;
        };
        let role = fields.get("role").and_then(Value::as_str).unwrap_or("user");
        let _ = writeln!(text, "{role}");
        for name in ["content", "parts"] {
            if let Some(value) = fields.get(name) {
                content(value, text);
            }
        }
        if let Some(calls) = fields.get("tool_calls").filter(|calls| !calls.is_null()) {
            let _ = write!(text, "{calls}");
        }
        text.push('\n');
    }
}

/// A text, or parts of which some are texts.
fn content(value: &Value, text: &mut String) {
    match value {
        Value::Null => {}
        Value::String(own) => text.push_str(own),
        Value::Array(parts) => parts.iter().for_each(|part| content(part, text)),
        Value::Object(part) => {
            let own = ["text", "content"].into_iter().find_map(|name| part.get(name)?.as_str());
            match own {
                Some(own) => text.push_str(own),
                None => {
                    let _ = write!(text, "{value}");
                }
            }
        }
        _ => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_beginnings_have_equal_blocks() {
        let (a, b) = ("x".repeat(200), format!("{}y", "x".repeat(199)));
        let (a, b) = (blocks(&a, 64, 9), blocks(&b, 64, 9));
        assert_eq!((a.len(), &a[..]), (3, &b[..]));
        let c = blocks(&format!("z{}", "x".repeat(199)), 64, 9);
        assert!(a.iter().all(|hash| !c.contains(hash)), "a block covers what is before it");
        assert_eq!((tokens("12345"), tokens("")), (2, 0));
    }
}
