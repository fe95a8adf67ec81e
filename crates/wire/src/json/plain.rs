//! The usual form of JSON, in few instructions.
//!
//! Clients write no white space, or one space after a comma and a colon. These methods read that
//! form alone. Any other form and any error is `None`. The caller then reads the value again with
//! the other methods, which know all of the grammar and name the error.

use alloc::vec::Vec;

use super::{DEEPEST, Reader, text};

/// How many words of a string are compared before a search with vector instructions.
const NEAR_WORDS: usize = 3;

impl<'a> Reader<'a> {
    /// Enters an object or an array.
    pub(crate) fn plain_open(&mut self, bracket: u8) -> Option<()> {
        if self.byte(self.at) != Some(bracket) || self.depth == DEEPEST {
            return None;
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Some(())
    }

    /// Returns whether the object or array has another key or value.
    #[inline]
    pub(crate) fn plain_goes_on(&mut self, bracket: u8) -> Option<bool> {
        let next = self.byte(self.at)?;
        let first = core::mem::take(&mut self.fresh);
        if next == bracket {
            self.at += 1;
            self.depth -= 1;
            return Some(false);
        }
        if !first {
            if next != b',' {
                return None;
            }
            self.at += 1;
            self.space();
        }
        Some(true)
    }

    /// Reads a key without escapes, and its colon. `None` leaves the position as it was.
    #[inline]
    pub(crate) fn plain_key(&mut self) -> Option<&'a str> {
        match self.short_string() {
            Some((key, end)) => self.end_key(key, end),
            None => self.long_key(),
        }
    }

    /// The same for a key of any length.
    #[cold]
    fn long_key(&mut self) -> Option<&'a str> {
        let (key, end) = self.long_string()?;
        self.end_key(key, end)
    }

    /// Reads the colon after a key that ends at `end`.
    #[inline]
    fn end_key(&mut self, key: &'a str, end: usize) -> Option<&'a str> {
        if self.byte(end) != Some(b':') {
            return None;
        }
        self.at = end + 1;
        self.space();
        Some(key)
    }

    /// Skips a part of an object if it is written exactly so. It must be a whole member, or end in
    /// a colon.
    #[inline]
    pub(crate) fn plain_skip(&mut self, part: &'static str) -> bool {
        let end = self.at + part.len();
        let found = self.text.as_bytes().get(self.at..end) == Some(part.as_bytes());
        if found {
            self.at = end;
            self.fresh = false;
        }
        found
    }

    /// Reads a short string without escapes. `None` leaves the position as it was.
    #[inline]
    pub(crate) fn plain_text(&mut self) -> Option<&'a str> {
        let (text, end) = self.short_string()?;
        self.at = end;
        Some(text)
    }

    /// Reads a string of any length and appends it without its escapes, in one pass.
    pub(crate) fn plain_append(&mut self, to: &mut Vec<u8>) -> Option<()> {
        if self.byte(self.at) != Some(b'"') {
            return None;
        }
        let bytes = self.text.as_bytes();
        let (mut at, mut far) = (self.at + 1, false);
        loop {
            let near = if far { None } else { text::near_special::<NEAR_WORDS>(bytes, at) };
            let end = near.or_else(|| text::far_special(bytes, at))?;
            // Where one stretch without escapes was long, the next one most likely is. Two
            // adjacent escapes say nothing about that.
            far = if end == at { far } else { end > at + NEAR_WORDS * size_of::<u64>() };
            to.extend_from_slice(bytes.get(at..end)?);
            if bytes.get(end) == Some(&b'"') {
                self.at = end + 1;
                return Some(());
            }
            at = match text::letter(*bytes.get(end + 1)?) {
                Some(byte) => {
                    to.push(byte);
                    end + 2
                }
                None => {
                    text::after_escape(bytes, end).ok()?;
                    let (meant, length) = text::meaning(self.text.get(end..)?);
                    to.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
                    end + length
                }
            };
        }
    }

    /// The short string without escapes at the position, and the position after it.
    #[inline]
    fn short_string(&self) -> Option<(&'a str, usize)> {
        if self.byte(self.at) != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = text::short(self.text.as_bytes(), start)?;
        Some((self.text.get(start..end)?, end + 1))
    }

    /// The same for a string of any length.
    fn long_string(&self) -> Option<(&'a str, usize)> {
        if self.byte(self.at) != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = text::special(self.text.as_bytes(), start)?;
        let text = self.text.get(start..end)?;
        (self.byte(end) == Some(b'"')).then_some((text, end + 1))
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Skips a space.
    #[inline]
    fn space(&mut self) {
        self.at += usize::from(self.byte(self.at) == Some(b' '));
    }
}
