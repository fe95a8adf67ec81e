//! A JSON pull parser: one pass, no tree, no recursion, no allocation.
//!
//! The caller asks for the next value by its type, or skips it. Skipped values are validated like
//! others. The grammar is RFC 8259 with two extensions that clients use and engines accept: control
//! characters in strings, and a lone surrogate, which is read as U+FFFD.
//!
//! Written by hand: `serde_json` parses into values or types instead of field by field, and reports
//! a line and a column instead of a byte offset.

mod edits;
mod ids;
mod number;
mod plain;
mod text;

pub(crate) use edits::{Edit, edited};
pub(crate) use number::Number;
pub(crate) use text::Text;

use crate::error::{ErrorKind, WireError};

/// The maximum nesting of arrays and objects.
const DEEPEST: usize = 128;

type Result<T> = core::result::Result<T, WireError>;

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// An array or object was just opened, so the next value has no comma before it.
    fresh: bool,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Boolean,
    Null,
}

impl<'a> Reader<'a> {
    /// Creates a reader at the first value. The whole input must be UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = utf8(bytes);
        let text = text.map_err(|error| WireError::new(error.valid_up_to(), ErrorKind::NotUtf8))?;
        Ok(Self { text, at: 0, depth: 0, fresh: false })
    }

    /// The offset of the next byte.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The type of the next value.
    pub(crate) fn kind(&mut self) -> Result<Kind> {
        match self.peek()? {
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'"' => Ok(Kind::Text),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Boolean),
            b'n' => Ok(Kind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// Enters an object; [`next_key`](Self::next_key) follows.
    pub(crate) fn open_object(&mut self) -> Result<()> {
        self.open(b'{', "an object")
    }

    /// Returns the next key of the object, or `None` at its end. The caller must then read its
    /// value.
    pub(crate) fn next_key(&mut self) -> Result<Option<Text<'a>>> {
        if !self.goes_on(b'}', "a comma or the end of the object")? {
            return Ok(None);
        }
        let start = self.at + 1;
        match self.plain_key() {
            Some(key) => Ok(Some(Text::new(key, start, false))),
            None => self.any_key().map(Some),
        }
    }

    /// Reads a key of any form, and its colon.
    fn any_key(&mut self) -> Result<Text<'a>> {
        if self.peek()? != b'"' {
            return Err(self.expected("a key"));
        }
        let key = self.text()?;
        if self.peek()? != b':' {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(key)
    }

    /// Skips the next key of the object. Returns `false` at its end.
    fn skip_key(&mut self) -> Result<bool> {
        let goes_on = self.goes_on(b'}', "a comma or the end of the object")?;
        if goes_on && self.plain_key().is_none() {
            self.any_key()?;
        }
        Ok(goes_on)
    }

    /// Enters an array; [`next_item`](Self::next_item) follows.
    pub(crate) fn open_array(&mut self) -> Result<()> {
        self.open(b'[', "an array")
    }

    /// Returns whether the array has another value, which the caller must then read.
    pub(crate) fn next_item(&mut self) -> Result<bool> {
        self.goes_on(b']', "a comma or the end of the array")
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'a>> {
        let start = self.at + 1;
        match self.plain_text() {
            Some(text) => Ok(Text::new(text, start, false)),
            None => self.any_text(),
        }
    }

    /// Reads a string of any length, with escapes, after any white space. It stays out of callers,
    /// so that these have few instructions before a short string.
    #[inline(never)]
    fn any_text(&mut self) -> Result<Text<'a>> {
        if self.peek()? != b'"' {
            return Err(self.expected("a string"));
        }
        let start = self.at + 1;
        if let Some(text) = self.plain_text() {
            return Ok(Text::new(text, start, false));
        }
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut escaped = false;
        loop {
            match text::special(bytes, at) {
                None => return Err(WireError::new(bytes.len(), ErrorKind::Truncated)),
                Some(end) if bytes[end] == b'"' => {
                    self.at = end + 1;
                    return Ok(Text::new(&self.text[start..end], start, escaped));
                }
                Some(escape) => {
                    at = text::after_escape(bytes, escape)?;
                    escaped = true;
                }
            }
        }
    }

    /// Reads a number.
    pub(crate) fn number(&mut self) -> Result<Number<'a>> {
        self.peek()?;
        let start = self.at;
        self.at = number::end(self.text.as_bytes(), start)?;
        Ok(Number::new(&self.text[start..self.at], start))
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let yes = self.peek()? == b't';
        self.word(if yes { "true" } else { "false" }, "true or false")?;
        Ok(yes)
    }

    /// Reads `null` if it is the next value, and returns whether it was.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let is_null = self.peek()? == b'n';
        if is_null {
            self.word("null", "a value")?;
        }
        Ok(is_null)
    }

    /// Skips the next value of any type and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str> {
        self.peek()?;
        let start = self.at;
        // One bit per nesting level, outermost first: set for an object.
        let mut objects = 0_u128;
        let outside = self.depth;
        loop {
            // Most values are short strings.
            if self.plain_text().is_none() {
                match self.kind()? {
                    Kind::Object => {
                        self.open_object()?;
                        objects = objects << 1 | 1;
                    }
                    Kind::Array => {
                        self.open_array()?;
                        objects <<= 1;
                    }
                    Kind::Text => _ = self.text()?,
                    Kind::Number => _ = self.number()?,
                    Kind::Boolean => _ = self.boolean()?,
                    Kind::Null => _ = self.null()?,
                }
            }
            // Leaves every container that ends here.
            while self.depth > outside {
                let more = if objects & 1 == 1 { self.skip_key()? } else { self.next_item()? };
                if more {
                    break;
                }
                objects >>= 1;
            }
            if self.depth == outside {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    /// Checks that only white space follows.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(_) => Err(self.expected("the end")),
            Err(_) => Ok(()),
        }
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<()> {
        if self.peek()? != bracket {
            return Err(self.expected(what));
        }
        if self.depth == DEEPEST {
            return Err(WireError::new(self.at, ErrorKind::TooDeep(DEEPEST)));
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    fn goes_on(&mut self, bracket: u8, what: &'static str) -> Result<bool> {
        let next = self.peek()?;
        if next == bracket {
            self.at += 1;
            self.depth -= 1;
            self.fresh = false;
            return Ok(false);
        }
        if !core::mem::take(&mut self.fresh) {
            if next != b',' {
                return Err(self.expected(what));
            }
            self.at += 1;
        }
        Ok(true)
    }

    fn word(&mut self, word: &str, what: &'static str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected(what));
        }
        self.at += word.len();
        Ok(())
    }

    /// Returns the next byte that is not white space, without consuming it.
    #[inline]
    fn peek(&mut self) -> Result<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(WireError::new(self.at, ErrorKind::Truncated)),
            }
        }
    }

    const fn expected(&self, what: &'static str) -> WireError {
        WireError::expected(self.at, what)
    }
}

/// Validates UTF-8. `simdutf8` is ten times as fast for text beyond ASCII; the standard library
/// finds the offset of an error.
#[cfg(feature = "std")]
fn utf8(bytes: &[u8]) -> core::result::Result<&str, core::str::Utf8Error> {
    simdutf8::basic::from_utf8(bytes).or_else(|_| core::str::from_utf8(bytes))
}

#[cfg(not(feature = "std"))]
const fn utf8(bytes: &[u8]) -> core::result::Result<&str, core::str::Utf8Error> {
    core::str::from_utf8(bytes)
}

#[cfg(test)]
mod tests;
