//! The text that stands for a conversation: strings between marks that no string can contain.
//!
//! A mark is the byte 0xFF, which UTF-8 never has, and a letter that says what the string behind it is. So the text can be
//! taken apart in one way only, whatever the strings say, and a mark needs no length in front, which would differ where two
//! strings begin alike.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::Range;

use slotwise::prefix::{BlockHash, Namespace, PromptHasher};

use super::reasoning::Reasoning;
use crate::json::Text;

/// What the string behind a mark is.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Mark {
    /// A tool begins: its name.
    Tool = b'T',
    /// What kind of tool it is, if it is no function.
    ToolKind = b'k',
    /// What it does.
    Description = b'd',
    /// Its parameters, as JSON.
    Parameters = b'p',
    /// A message begins: its role, or for an item of the Responses API that has none, its type.
    Message = b'M',
    /// Text.
    Text = b't',
    /// What a model thought.
    Reasoning = b'r',
    /// An image, a sound, a file: the type of the part.
    Media = b'm',
    /// The hash of what it shows.
    Hash = b'h',
    /// The hash of the name that the client gave it.
    MediaName = b'u',
    /// A call of a tool begins: its name.
    Call = b'c',
    /// What the tool is called with.
    Arguments = b'a',
    /// The id of a call, beside the call and beside its result.
    CallId = b'i',
    /// The result of a call begins, among other parts.
    Result = b'R',
    /// It is an error.
    Failed = b'!',
    /// It ends.
    End = b'.',
    /// The name of who speaks.
    Name = b'n',
    /// Something else: its type.
    Other = b'o',
    /// An argument of the template: its name.
    Argument = b'A',
    /// As it stands in the body.
    Json = b'j',
}

/// The text, as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct CanonicalText {
    bytes: Vec<u8>,
    /// Where pieces are put in order.
    spare: Vec<u8>,
    hash: Vec<BlockHash>,
    reasoning: Reasoning,
    /// Calls of tools, and images and their like, that have been written.
    calls: usize,
    media: usize,
    /// Bytes of results of tools that have been written.
    results: usize,
}

/// The core's hash, with a seed that never changes: the same image has the same hash in every gateway.
const HASHER: PromptHasher = PromptHasher::new(0);

impl CanonicalText {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.reasoning.clear();
        (self.calls, self.media, self.results) = (0, 0, 0);
    }

    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.clear();
        self.bytes.shrink_to(bytes);
        self.spare.clear();
        self.spare.shrink_to(bytes);
        self.reasoning.shrink_to(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes back what was written from here on.
    pub(super) fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.reasoning.cut(length);
    }

    pub(super) const fn reasoning(&self) -> &Reasoning {
        &self.reasoning
    }

    /// Whether it shows something that is no text.
    pub(super) const fn has_media(&self) -> bool {
        self.media > 0
    }

    /// Calls of tools so far.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// What was written from here on is no longer known as thought.
    pub(super) fn forget_reasoning(&mut self, start: usize) {
        self.reasoning.cut(start);
    }

    /// What was written from here on is what the model thought.
    pub(super) fn mark_reasoning(&mut self, start: usize) {
        self.reasoning.add(start..self.bytes.len());
    }

    /// What was written from here on is content of the model: it may begin with what it thought, between tags.
    pub(super) fn mark_inline_reasoning(&mut self, start: usize) {
        const MARKED: &[u8] = &[0xff, Mark::Text as u8];
        let content = self.bytes.get(start..).and_then(|content| content.strip_prefix(MARKED));
        let Some(content) = content.filter(|content| content.starts_with(b"<think>")) else {
            return;
        };
        let end = memchr::memchr(0xff, content).unwrap_or(content.len());
        let Some(tag) = memchr::memmem::rfind(content.get(..end).unwrap_or_default(), b"</think>")
        else {
            return;
        };
        let after = content.get(tag + 8..end).unwrap_or_default();
        let blanks = after.len() - after.trim_ascii_start().len();
        let start = start + MARKED.len();
        self.reasoning.add(start..start + tag + 8 + blanks);
    }

    /// A message is complete: where it and its content began, and how much of its content are results of tools.
    pub(super) fn message(
        &mut self,
        role: &str,
        start: usize,
        content: usize,
        called: bool,
        results: usize,
    ) {
        let only_results = results > 0 && results == self.bytes.len() - content;
        if role == "user" && !only_results {
            self.reasoning.query(start);
        } else if role == "assistant" && !called {
            self.reasoning.answer(self.bytes.len());
        }
    }

    /// What was written from here on is the result of a tool.
    pub(super) fn result(&mut self, start: usize) {
        self.results += self.bytes.len() - start;
    }

    /// Bytes of results so far.
    pub(super) const fn results(&self) -> usize {
        self.results
    }

    /// Writes a mark and a string as it stands.
    pub(super) fn raw(&mut self, mark: Mark, string: &str) {
        self.calls += usize::from(matches!(mark, Mark::Call));
        self.media += usize::from(matches!(mark, Mark::Media));
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.bytes.extend_from_slice(string.as_bytes());
    }

    /// Writes a mark and what a string says.
    pub(super) fn text(&mut self, mark: Mark, text: Text<'_>) {
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.plain(text);
    }

    /// The same, unless it says nothing.
    pub(super) fn text_if_any(&mut self, mark: Mark, text: Option<Text<'_>>) {
        if let Some(text) = text.filter(|text| !text.raw().is_empty()) {
            self.text(mark, text);
        }
    }

    /// Writes what a string says, with no mark.
    pub(super) fn plain(&mut self, text: Text<'_>) {
        text.pieces(|piece| self.bytes.extend_from_slice(piece.as_bytes()));
    }

    /// Writes a mark and the hash of a string, in 16 hexadecimal digits.
    pub(super) fn hashed(&mut self, mark: Mark, string: &str) {
        // The hash of any one block, of those for whom this string is what must be equal.
        self.hash.clear();
        HASHER.text(Namespace::new(string), &[0; 4], NonZeroU32::MIN, 1, &mut self.hash);
        let hash = self.hash.first().map_or(0, |hash| hash.0);
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.bytes.extend(
            (0..16).rev().map(|digit| b"0123456789abcdef"[(hash >> (4 * digit)) as usize & 15]),
        );
    }

    /// Puts pieces of what was written in this order, and leaves out the rest.
    pub(super) fn arrange(&mut self, pieces: &[Range<usize>]) {
        let mut end = 0;
        let in_place = pieces.iter().all(|piece| {
            piece.is_empty() || core::mem::replace(&mut end, piece.end) == piece.start
        });
        if in_place {
            self.bytes.truncate(end);
            return;
        }
        self.spare.clear();
        for piece in pieces {
            self.spare.extend_from_slice(self.bytes.get(piece.clone()).unwrap_or_default());
        }
        core::mem::swap(&mut self.bytes, &mut self.spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_the_order_asked_for() {
        let canonical = |pieces: &[Range<usize>]| {
            let mut canonical =
                CanonicalText { bytes: b"0123456789".to_vec(), ..CanonicalText::default() };
            canonical.arrange(pieces);
            canonical.bytes
        };
        assert_eq!(canonical(&[0..0, 0..4, 4..7]), b"0123456");
        assert_eq!(canonical(&[7..9, 0..0, 0..4]), b"780123");
        assert_eq!(canonical(&[2..4, 0..0, 4..5]), b"234");
        assert_eq!(canonical(&[]), b"");
    }

    #[test]
    fn a_hash_is_of_all_that_it_hashes() {
        let hash = |string: &str| {
            let mut canonical = CanonicalText::default();
            canonical.hashed(Mark::Hash, string);
            canonical.bytes
        };
        assert_eq!(hash("a").len(), 18);
        assert_ne!(hash("a"), hash("b"));
        assert_ne!(hash(&"x".repeat(1_000)), hash(&"x".repeat(1_001)));
        assert_eq!(hash("https://a.b/c.png"), b"\xffh0d1862e151124ef5");
    }
}
