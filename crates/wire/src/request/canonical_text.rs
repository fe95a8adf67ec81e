//! The canonical text of a conversation: strings between marks that no string can contain.
//!
//! A mark is the byte 0xFF, which UTF-8 never contains, and a letter for the kind of the next
//! string. So the text parses in one way only. A mark carries no length, because lengths would
//! differ between strings with a common prefix.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::Range;

use slotwise::prefix::{BlockHash, Namespace, PromptHasher};

use super::reasoning::Reasoning;
use crate::json::{Reader, Text};

/// The kind of the string after a mark.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Mark {
    /// A tool starts: its name.
    Tool = b'T',
    /// The type of a tool that is not a function.
    ToolKind = b'k',
    /// A tool's description.
    Description = b'd',
    /// A tool's parameters as JSON.
    Parameters = b'p',
    /// A message starts: its role, or the type of a Responses item without a role.
    Message = b'M',
    /// Text.
    Text = b't',
    /// Reasoning of the model.
    Reasoning = b'r',
    /// An image, sound or file: the type of the part.
    Media = b'm',
    /// The hash of its content.
    Hash = b'h',
    /// The hash of the name that the client gave it.
    MediaName = b'u',
    /// A tool call starts: the tool's name.
    Call = b'c',
    /// The arguments of a tool call.
    Arguments = b'a',
    /// The id of a tool call, with the call and with its result.
    CallId = b'i',
    /// A tool result among other parts starts.
    Result = b'R',
    /// The tool result is an error.
    Failed = b'!',
    /// The tool result ends.
    End = b'.',
    /// The name of a participant.
    Name = b'n',
    /// A part of another type.
    Other = b'o',
    /// A template argument: its name.
    Argument = b'A',
    /// JSON as written in the body.
    Json = b'j',
}

/// The mark before a text.
const TEXT: &[u8] = &[0xff, Mark::Text as u8];

/// The canonical text under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct CanonicalText {
    bytes: Vec<u8>,
    /// The buffer for reordering.
    spare: Vec<u8>,
    hash: Vec<BlockHash>,
    reasoning: Reasoning,
    /// Numbers of tool calls and of media so far.
    calls: usize,
    media: usize,
    /// Bytes of tool results so far.
    results: usize,
}

/// How far a canonical text is.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    length: usize,
    calls: usize,
    media: usize,
    results: usize,
}

/// The core's hash with a fixed seed: an image has the same hash in every gateway.
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

    /// Truncates the text to `length` bytes.
    pub(super) fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.reasoning.cut(length);
    }

    /// Reads a value and appends its text if `convert` knows its form. Otherwise, nothing was read
    /// or appended.
    pub(super) fn attempt<'r>(
        &mut self,
        reader: &mut Reader<'r>,
        convert: impl FnOnce(&mut Reader<'r>, &mut Self) -> Option<()>,
    ) -> bool {
        let (before, unread) = (self.checkpoint(), reader.clone());
        let converted = convert(reader, self).is_some();
        if !converted {
            *reader = unread;
            self.back_to(before);
        }
        converted
    }

    /// How far the text is.
    fn checkpoint(&self) -> Checkpoint {
        let Self { calls, media, results, .. } = *self;
        Checkpoint { length: self.bytes.len(), calls, media, results }
    }

    /// Drops all that was added after `before`.
    fn back_to(&mut self, before: Checkpoint) {
        self.cut(before.length);
        (self.calls, self.media, self.results) = (before.calls, before.media, before.results);
    }

    pub(super) const fn reasoning(&self) -> &Reasoning {
        &self.reasoning
    }

    /// Whether the text refers to media.
    pub(super) const fn has_media(&self) -> bool {
        self.media > 0
    }

    /// The number of tool calls so far.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Unmarks reasoning from `start` on.
    pub(super) fn forget_reasoning(&mut self, start: usize) {
        self.reasoning.cut(start);
    }

    /// Marks the text from `start` on as reasoning.
    pub(super) fn mark_reasoning(&mut self, start: usize) {
        self.reasoning.add(start..self.bytes.len());
    }

    /// Marks reasoning between `<think>` tags at the start of an answer's content.
    #[inline]
    pub(super) fn mark_inline_reasoning(&mut self, start: usize) {
        // Most answers begin with another letter.
        if self.bytes.get(start + TEXT.len()) == Some(&b'<') {
            self.mark_tagged(start);
        }
    }

    /// The same for content that may start with a tag.
    #[cold]
    fn mark_tagged(&mut self, start: usize) {
        let start = start + TEXT.len();
        let content = self.bytes.get(start..).filter(|content| content.starts_with(b"<think>"));
        let Some(content) = content.filter(|_| self.bytes[..start].ends_with(TEXT)) else {
            return;
        };
        let end = memchr::memchr(0xff, content).unwrap_or(content.len());
        let Some(tag) = memchr::memmem::rfind(content.get(..end).unwrap_or_default(), b"</think>")
        else {
            return;
        };
        let after = content.get(tag + 8..end).unwrap_or_default();
        let blanks = after.len() - after.trim_ascii_start().len();
        self.reasoning.add(start..start + tag + 8 + blanks);
    }

    /// Ends a message that started at `start`, with its content at `content`. `results` is the
    /// number of its bytes in tool results.
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

    /// Counts the text from `start` on as a tool result.
    pub(super) fn result(&mut self, start: usize) {
        self.results += self.bytes.len() - start;
    }

    /// Bytes of tool results so far.
    pub(super) const fn results(&self) -> usize {
        self.results
    }

    /// Appends a mark and a raw string.
    #[inline]
    pub(super) fn raw(&mut self, mark: Mark, string: &str) {
        self.calls += usize::from(matches!(mark, Mark::Call));
        self.media += usize::from(matches!(mark, Mark::Media));
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.bytes.extend_from_slice(string.as_bytes());
    }

    /// Appends a mark and the unescaped text.
    pub(super) fn text(&mut self, mark: Mark, text: Text<'_>) {
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.plain(text);
    }

    /// Appends a mark and the text unless it is empty or missing.
    #[inline]
    pub(super) fn text_if_any(&mut self, mark: Mark, text: Option<Text<'_>>) {
        if let Some(text) = text.filter(|text| !text.raw().is_empty()) {
            self.text(mark, text);
        }
    }

    /// Appends reasoning, if there is any, and marks it as such.
    #[inline]
    pub(super) fn reasoning_text(&mut self, text: Option<Text<'_>>) {
        if text.is_some() {
            let start = self.bytes.len();
            self.text_if_any(Mark::Reasoning, text);
            self.mark_reasoning(start);
        }
    }

    /// Reads a string and appends it, without its escapes, after a mark. An empty string has none.
    ///
    /// Returns `None` where a value of another form follows.
    pub(super) fn read_text(&mut self, mark: Mark, reader: &mut Reader<'_>) -> Option<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        reader.plain_append(&mut self.bytes)?;
        if self.bytes.len() == start + 2 {
            self.bytes.truncate(start);
        }
        Some(())
    }

    /// Appends the unescaped text without a mark.
    pub(super) fn plain(&mut self, text: Text<'_>) {
        text.pieces(|piece| self.bytes.extend_from_slice(piece.as_bytes()));
    }

    /// Appends a mark and the hash of a string as 16 hexadecimal digits.
    pub(super) fn hashed(&mut self, mark: Mark, string: &str) {
        // The hash of a fixed block in a namespace named by the string.
        self.hash.clear();
        HASHER.text(Namespace::new(string), &[0; 4], NonZeroU32::MIN, 1, &mut self.hash);
        let hash = self.hash.first().map_or(0, |hash| hash.0);
        self.bytes.extend_from_slice(&[0xff, mark as u8]);
        self.bytes.extend(
            (0..16).rev().map(|digit| b"0123456789abcdef"[(hash >> (4 * digit)) as usize & 15]),
        );
    }

    /// Reorders the text into these pieces and drops the rest.
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
