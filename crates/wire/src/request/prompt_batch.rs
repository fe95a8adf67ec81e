//! One prompt or several, as text or token ids.

use alloc::vec::Vec;
use core::ops::Range;

use slotwise::Batch as OtherPrompts;

use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// One prompt or several.
pub(super) struct PromptBatch<'a> {
    pub(super) first: First<'a>,
    pub(super) count: usize,
    pub(super) rest: OtherPrompts,
}

/// The first prompt.
pub(super) enum First<'a> {
    None,
    Text(Text<'a>),
    /// Their range among the token ids.
    Tokens(Range<usize>),
}

impl PromptBatch<'_> {
    /// A batch of one prompt.
    fn one(first: First<'_>) -> PromptBatch<'_> {
        PromptBatch { first, count: 1, rest: OtherPrompts::default() }
    }

    /// Tokens of all prompts, estimated for text.
    pub(super) fn tokens(&self) -> u64 {
        let first = match &self.first {
            First::None => 0,
            First::Text(text) => text.decoded_len() as u64 / 4,
            First::Tokens(range) => range.len() as u64,
        };
        first.saturating_add(self.rest.tokens).saturating_add(self.rest.text_bytes / 4)
    }

    /// Counts the prompts after the first.
    fn read_rest(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        while reader.next_item()? {
            self.count += 1;
            match reader.kind()? {
                Kind::Text => self.rest.add_text(reader.text()?.decoded_len() as u64),
                Kind::Array => {
                    reader.open_array()?;
                    self.rest.add_tokens(lenient::rest_of_array(reader)? as u64);
                }
                _ => _ = reader.skip()?,
            }
        }
        Ok(())
    }
}

/// Reads one prompt or several, as text or token ids.
pub(super) fn any<'a>(
    reader: &mut Reader<'a>,
    tokens: &mut Vec<u32>,
) -> Result<Option<PromptBatch<'a>>> {
    const WHAT: &str = "a prompt: a string, token ids, or an array of either";
    match reader.kind()? {
        Kind::Text => Ok(Some(PromptBatch::one(First::Text(reader.text()?)))),
        Kind::Array => {
            let mut inside = reader.clone();
            inside.open_array()?;
            if inside.next_item()? && inside.kind()? == Kind::Text {
                let mut batch = PromptBatch::one(First::Text(inside.text()?));
                batch.read_rest(&mut inside)?;
                *reader = inside;
                return Ok(Some(batch));
            }
            ids(reader, tokens)
        }
        Kind::Null => reader.null().map(|_| None),
        _ => Err(WireError::expected(reader.at(), WHAT)),
    }
}

/// Reads the token ids of one prompt or several.
pub(super) fn ids<'a>(
    reader: &mut Reader<'a>,
    tokens: &mut Vec<u32>,
) -> Result<Option<PromptBatch<'a>>> {
    match reader.kind()? {
        Kind::Array => {}
        Kind::Null => return reader.null().map(|_| None),
        _ => return Err(WireError::expected(reader.at(), "an array of token ids")),
    }
    let mut inside = reader.clone();
    inside.open_array()?;
    if !inside.next_item()? {
        *reader = inside;
        return Ok(Some(PromptBatch { count: 0, ..PromptBatch::one(First::None) }));
    }
    if inside.kind()? != Kind::Array {
        return Ok(Some(PromptBatch::one(First::Tokens(lenient::ids(reader, tokens)?))));
    }
    let mut batch = PromptBatch::one(First::Tokens(lenient::ids(&mut inside, tokens)?));
    batch.read_rest(&mut inside)?;
    *reader = inside;
    Ok(Some(batch))
}
