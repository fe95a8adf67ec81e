//! A JSON string.

use alloc::borrow::Cow;
use alloc::string::String;

use memchr::memchr2;

use crate::error::{ErrorKind, WireError};

/// A string between its quotation marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a str,
    at: usize,
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(super) const fn new(raw: &'a str, at: usize, escaped: bool) -> Self {
        Self { raw, at, escaped }
    }

    /// The text as written, with its escapes.
    pub(crate) const fn raw(self) -> &'a str {
        self.raw
    }

    /// The offset of its first byte.
    pub(crate) const fn at(self) -> usize {
        self.at
    }

    /// The length in bytes after unescaping. It does not depend on how the client escapes
    /// characters.
    pub(crate) fn decoded_len(self) -> usize {
        if self.escaped { self.read().len() } else { self.raw.len() }
    }

    /// The unescaped text. Borrows from the input if there are no escapes.
    pub(crate) fn read(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        self.append_to(&mut text);
        Cow::Owned(text)
    }

    /// Appends the unescaped text to `text`.
    pub(crate) fn append_to(self, text: &mut String) {
        self.pieces(|piece| text.push_str(piece));
    }

    /// Passes the unescaped text to `take`, piece by piece.
    pub(crate) fn pieces(self, mut take: impl FnMut(&str)) {
        let mut rest = self.raw;
        if self.escaped {
            // Each quotation mark is behind a backslash.
            while let Some(at) = special(rest.as_bytes(), 0) {
                if at > 0 {
                    take(&rest[..at]);
                }
                let (meant, length) = meaning(&rest[at..]);
                take(meant.encode_utf8(&mut [0; 4]));
                rest = &rest[at + length..];
            }
        }
        take(rest);
    }

    /// Whether the text has escapes.
    pub(crate) const fn is_escaped(self) -> bool {
        self.escaped
    }

    /// Whether the unescaped text equals `other`.
    pub(crate) fn is(self, other: &str) -> bool {
        if self.escaped { self.read() == other } else { self.raw == other }
    }
}

/// Finds the next quotation mark or backslash from `at` on.
#[inline]
pub(super) fn special(bytes: &[u8], at: usize) -> Option<usize> {
    near_special::<2>(bytes, at).or_else(|| far_special(bytes, at))
}

/// The same, faster if it is far away.
pub(super) fn far_special(bytes: &[u8], at: usize) -> Option<usize> {
    Some(at + memchr2(b'"', b'\\', bytes.get(at..)?)?)
}

/// Finds the end of a short string without escapes. Nearly all keys are such strings.
#[inline]
pub(super) fn short(bytes: &[u8], start: usize) -> Option<usize> {
    near_special::<2>(bytes, start).filter(|end| bytes.get(*end) == Some(&b'"'))
}

/// Finds a quotation mark or backslash in the next words of eight bytes. A search with vector
/// instructions costs more to start.
#[inline]
pub(super) fn near_special<const WORDS: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    for word in 0..WORDS {
        let (first, after) = rest.split_first_chunk()?;
        let found = specials(u64::from_le_bytes(*first));
        if found != 0 {
            return Some(at + word * size_of::<u64>() + found.trailing_zeros() as usize / 8);
        }
        rest = after;
    }
    None
}

/// The highest bit of each quotation mark and backslash. Bits above the lowest one may be false
/// positives.
const fn specials(word: u64) -> u64 {
    zeros(word ^ (EACH * 0x22)) | zeros(word ^ (EACH * 0x5c))
}

/// The highest bit of each zero byte. Bits above the lowest one may be false positives.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & EACH << 7
}

/// The value 1 in each byte.
pub(super) const EACH: u64 = 0x0101_0101_0101_0101;

/// Returns the position after the escape that starts at `at`.
pub(super) fn after_escape(bytes: &[u8], at: usize) -> Result<usize, WireError> {
    match bytes.get(at + 1) {
        Some(byte) if letter(*byte).is_some() => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes
                .get(at + 2..at + 6)
                .ok_or_else(|| WireError::new(bytes.len(), ErrorKind::Truncated))?;
            match digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
                Some(bad) => Err(WireError::expected(at + 2 + bad, "a hexadecimal digit")),
                None => Ok(at + 6),
            }
        }
        Some(_) => Err(WireError::expected(at + 1, "an escape")),
        None => Err(WireError::new(bytes.len(), ErrorKind::Truncated)),
    }
}

/// The byte that an escape of one letter stands for.
pub(super) const fn letter(byte: u8) -> Option<u8> {
    Some(match byte {
        b'b' => 8,
        b'f' => 0xc,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'"' | b'\\' | b'/' => byte,
        _ => return None,
    })
}

/// The character of a validated escape, and the escape's length.
pub(super) fn meaning(escape: &str) -> (char, usize) {
    match escape.as_bytes().get(1) {
        Some(b'u') => match (
            unit(escape),
            escape.get(6..).and_then(|rest| rest.strip_prefix("\\u").map(|_| unit(rest))),
        ) {
            (high @ 0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            (code, _) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
        },
        Some(byte) => (char::from(letter(*byte).unwrap_or(*byte)), 2),
        None => (char::REPLACEMENT_CHARACTER, escape.len()),
    }
}

/// The code unit of `\uXXXX`.
fn unit(escape: &str) -> u32 {
    escape.get(2..6).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd)
}
