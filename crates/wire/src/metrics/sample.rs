//! The labels and the value of a wanted line.
//!
//! ```text
//!  name {label="value",...} value timestamp # {exemplar} value
//!      ^ from here                          ^ to here
//! ```

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use memchr::{memchr, memchr2};

use super::Result;
use crate::error::{ErrorKind, WireError};

/// A label of a sample. Its escapes are validated but not decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    name: &'a [u8],
    value: Value<'a>,
}

/// The value of a label, with its escapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) raw: &'a [u8],
    pub(super) at: usize,
}

/// Parses `line` from `at`, the end of the name. Offsets count from the start of the page.
///
/// Clears `labels` and fills it.
pub(super) fn read<'a>(line: &'a [u8], at: usize, labels: &mut Vec<Label<'a>>) -> Result<f64> {
    let mut cursor = Cursor { line, at };
    cursor.labels(labels)?;
    let value = cursor.number("a number")?;
    cursor.blanks();
    if !matches!(cursor.peek(), None | Some(b'#')) {
        cursor.number("a timestamp or the end of the line")?;
        cursor.blanks();
        if !matches!(cursor.peek(), None | Some(b'#')) {
            return Err(cursor.expected("an exemplar or the end of the line"));
        }
    }
    Ok(value)
}

/// The offset of the value of a sample in `line`, whose name ends at `at`; `None` if its labels are
/// malformed.
pub(super) fn value_at(line: &[u8], at: usize) -> Option<usize> {
    let mut cursor = Cursor { line, at };
    cursor.labels(&mut Vec::new()).ok()?;
    Some(cursor.at)
}

/// Finds the value of a label.
///
/// # Errors
///
/// Returns an error if the label occurs twice.
pub(super) fn find<'a>(labels: &[Label<'a>], name: &str) -> Result<Option<Value<'a>>> {
    let mut found = labels.iter().filter(|label| label.name == name.as_bytes());
    let value = found.next().map(|label| label.value);
    match found.next() {
        Some(again) => Err(WireError::expected(again.value.at, "each label once")),
        None => Ok(value),
    }
}

impl<'a> Value<'a> {
    /// Whether the decoded value equals `other`.
    pub(super) fn is(self, other: &str) -> bool {
        if !self.has_escapes() {
            return self.raw == other.as_bytes();
        }
        self.text().is_ok_and(|text| text == other)
    }

    /// The decoded value.
    pub(super) fn text(self) -> Result<Cow<'a, str>> {
        let raw = core::str::from_utf8(self.raw)
            .map_err(|error| WireError::new(self.at + error.valid_up_to(), ErrorKind::NotUtf8))?;
        if !self.has_escapes() {
            return Ok(Cow::Borrowed(raw));
        }
        let mut text = String::with_capacity(raw.len());
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            text.push(match character {
                '\\' => match characters.next() {
                    Some('n') => '\n',
                    Some(other) => other,
                    None => '\\',
                },
                other => other,
            });
        }
        Ok(Cow::Owned(text))
    }

    /// The value as an integer below 2^64. `None` and the empty string are Python's missing values.
    pub(super) fn whole(self) -> Result<Option<u64>> {
        match self.raw {
            b"" | b"None" => Ok(None),
            digits => {
                match core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
                    Some(number) => Ok(Some(number)),
                    None => Err(WireError::expected(self.at, "an integer")),
                }
            }
        }
    }

    fn has_escapes(self) -> bool {
        memchr(b'\\', self.raw).is_some()
    }
}

/// Whether the name of a label may contain a byte.
const OF_NAMES: [bool; 256] = {
    let (mut of_names, mut byte) = ([false; 256], 0);
    while byte < 256 {
        of_names[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    of_names
};

struct Cursor<'a> {
    /// The page up to the end of the line.
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Parses the labels, if there are any, up to the value.
    #[inline]
    fn labels(&mut self, labels: &mut Vec<Label<'a>>) -> Result<()> {
        labels.clear();
        self.blanks();
        if self.eat(b'{') {
            self.blanks();
            while !self.eat(b'}') {
                labels.push(self.label()?);
                self.blanks();
                if !self.eat(b',') && self.peek() != Some(b'}') {
                    return Err(self.expected("a comma or a closing brace"));
                }
                self.blanks();
            }
            self.blanks();
        }
        Ok(())
    }

    fn label(&mut self) -> Result<Label<'a>> {
        let start = self.at;
        self.at += self.rest().iter().take_while(|byte| OF_NAMES[usize::from(**byte)]).count();
        let name = self.since(start);
        if name.first().is_none_or(u8::is_ascii_digit) {
            return Err(WireError::expected(start, "the name of a label"));
        }
        self.blanks();
        if !self.eat(b'=') {
            return Err(self.expected("="));
        }
        self.blanks();
        if !self.eat(b'"') {
            return Err(self.expected("a value in quotation marks"));
        }
        let at = self.at;
        loop {
            match memchr2(b'"', b'\\', self.rest()) {
                None => {
                    self.at = self.line.len();
                    return Err(self.expected("a closing quotation mark"));
                }
                Some(length) => self.at += length,
            }
            if self.peek() == Some(b'"') {
                let raw = self.since(at);
                self.at += 1;
                return Ok(Label { name, value: Value { raw, at } });
            }
            self.at += 1;
            if !matches!(self.peek(), Some(b'\\' | b'"' | b'n')) {
                return Err(self.expected("an escape"));
            }
            self.at += 1;
        }
    }

    fn number(&mut self, what: &'static str) -> Result<f64> {
        let start = self.at;
        self.at += self.rest().iter().take_while(|byte| !matches!(byte, b' ' | b'\t')).count();
        let number =
            core::str::from_utf8(self.since(start)).ok().and_then(|number| number.parse().ok());
        number.ok_or_else(|| WireError::expected(start, what))
    }

    fn blanks(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.line.get(start..self.at).unwrap_or_default()
    }

    const fn expected(&self, what: &'static str) -> WireError {
        WireError::expected(self.at, what)
    }
}
