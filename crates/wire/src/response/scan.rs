//! A resumable JSON scanner for pieces of any size. It stores only its position and the current
//! short word.
//!
//! The scanner enters only containers that a [`Visitor`] wants. There it validates JSON's grammar,
//! except the form of numbers and literals. In other containers it follows only strings and
//! brackets, at any depth. The input need not be UTF-8.
//!
//! Written by hand: `serde_json` needs a complete text or a blocking reader, and a payload arrives
//! in any number of chunks.

use memchr::memchr2;

use super::schema::{Place, Slot, TextUse};

/// Receives the values of a scan.
pub(super) trait Visitor {
    /// The slot of a key's value.
    fn slot(place: Place, key: &[u8]) -> Slot;
    /// A key starts.
    fn key(&mut self, _place: Place) {}
    /// A value of an array starts.
    fn item(&mut self, _place: Place) {}
    /// A wanted container starts.
    fn opened(&mut self, _place: Place) {}
    /// A wanted container ends.
    fn closed(&mut self, _place: Place) {}
    /// An unescaped string of kind [`TextUse::Word`], truncated to [`LONGEST_WORD`].
    fn word(&mut self, _slot: Slot, _word: &[u8]) {}
    /// A non-empty string of kind [`TextUse::Content`]. May be called several times for one string.
    fn content(&mut self, _slot: Slot) {}
    /// A piece of a string of kind [`TextUse::Message`], with its escapes.
    fn message(&mut self, _slot: Slot, _piece: &[u8]) {}
    /// A number or a literal.
    fn scalar(&mut self, _slot: Slot, _digits: &[u8]) {}
    /// The offset at which a string of kind [`TextUse::Model`] starts.
    fn model_starts(&mut self, _at: usize) {}
    /// The offset at which it ends.
    fn model_ends(&mut self, _at: usize) {}
}

/// A position in a JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner {
    state: State,
    slot: Slot,
    text: TextUse,
    /// The last byte of the previous piece was a backslash.
    escape: bool,
    level: u8,
    places: [Place; LEVELS],
    /// The nesting within an unwanted container, including that container.
    skipped: u64,
    held: Held,
}

/// A syntax error: its offset, and what was expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unexpected {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// A value is expected.
    Value,
    /// The first value of an array, or its end.
    First,
    /// The first key of an object, or its end.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the container.
    After,
    Text,
    Scalar,
    /// Inside an unwanted container.
    Skip,
    /// Only white space.
    End,
    Broken,
}

/// The start of a word that ends in a later piece.
#[derive(Clone, Copy, Debug)]
struct Held {
    bytes: [u8; LONGEST_WORD],
    length: u8,
    too_long: bool,
    escaped: bool,
}

impl Scanner {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Value,
            slot: Slot::Root,
            text: TextUse::Skip,
            escape: false,
            level: 0,
            places: [Place::Ignored; LEVELS],
            skipped: 0,
            held: Held::EMPTY,
        }
    }

    /// Returns to the state before the first value.
    pub(super) const fn restart(&mut self) {
        self.state = State::Value;
        self.slot = Slot::Root;
        self.escape = false;
        self.level = 0;
        self.skipped = 0;
        self.held.clear();
    }

    /// Whether exactly one complete value was read.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::End || self.state == State::Scalar && self.level == 0
    }

    /// Whether a syntax error was found.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether a string of kind [`TextUse::Model`] continues in the next piece.
    pub(super) fn in_model(&self) -> bool {
        self.state == State::Text && self.text == TextUse::Model
    }

    /// Ignores all input until the next restart.
    pub(super) const fn give_up(&mut self) {
        self.state = State::Broken;
    }

    /// Ends a data line within a payload. A string cannot continue on the next line.
    pub(super) fn end_line<T: Visitor>(
        &mut self,
        at: usize,
        visitor: &mut T,
    ) -> Result<(), Unexpected> {
        if self.state == State::Text {
            self.state = State::Broken;
            return Err(Unexpected { at, expected: "the end of the string" });
        }
        self.feed(b"\n", at, visitor)
    }

    /// Reads a piece that starts at offset `start` of the chunk.
    pub(super) fn feed<T: Visitor>(
        &mut self,
        piece: &[u8],
        start: usize,
        visitor: &mut T,
    ) -> Result<(), Unexpected> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            let fine = match self.state {
                State::Text => {
                    at = self.text(piece, at, start, visitor);
                    continue;
                }
                State::Skip => {
                    at = self.skip(piece, at);
                    continue;
                }
                State::Scalar => {
                    at = self.scalar(piece, at, visitor);
                    continue;
                }
                State::Broken => return Ok(()),
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => Ok(()),
                State::Value => self.value(byte, visitor),
                State::First if byte == b']' => self.close(byte, visitor),
                State::First => self.value(byte, visitor),
                State::FirstKey if byte == b'}' => self.close(byte, visitor),
                State::FirstKey | State::Key => self.key(byte, visitor),
                State::Colon if byte == b':' => {
                    self.state = State::Value;
                    Ok(())
                }
                State::Colon => Err("a colon"),
                State::After if byte == b',' => {
                    self.comma();
                    Ok(())
                }
                State::After => self.close(byte, visitor),
                State::End => Err("the end"),
            };
            if let Err(expected) = fine {
                self.state = State::Broken;
                return Err(Unexpected { at: start + at, expected });
            }
            // The first byte of a scalar is read together with the others.
            if self.state != State::Scalar {
                at += 1;
                if self.in_model() {
                    visitor.model_starts(start + at);
                }
            }
        }
        Ok(())
    }

    fn place(&self) -> Place {
        let inner = usize::from(self.level).wrapping_sub(1);
        self.places.get(inner).copied().unwrap_or(Place::Ignored)
    }

    fn value(&mut self, byte: u8, visitor: &mut impl Visitor) -> Result<(), &'static str> {
        if self.level > 0 && !self.place().is_object() {
            visitor.item(self.place());
        }
        match byte {
            b'"' => {
                self.text = self.slot.text();
                self.state = State::Text;
            }
            b'{' => self.open(self.slot.object(), State::FirstKey, visitor),
            b'[' => self.open(self.slot.array(), State::First, visitor),
            // Python writes NaN and Infinity.
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' => self.state = State::Scalar,
            _ => return Err("a value"),
        }
        Ok(())
    }

    fn open(&mut self, place: Place, first: State, visitor: &mut impl Visitor) {
        match self.places.get_mut(usize::from(self.level)) {
            Some(level) if place != Place::Ignored => {
                *level = place;
                self.level += 1;
                self.slot = place.item();
                self.state = first;
                visitor.opened(place);
            }
            _ => {
                self.skipped = 1;
                self.state = State::Skip;
            }
        }
    }

    fn close(&mut self, byte: u8, visitor: &mut impl Visitor) -> Result<(), &'static str> {
        let place = self.place();
        if byte != (if place.is_object() { b'}' } else { b']' }) {
            return Err(if place.is_object() {
                "a comma or the end of the object"
            } else {
                "a comma or the end of the array"
            });
        }
        self.level = self.level.saturating_sub(1);
        visitor.closed(place);
        self.after();
        Ok(())
    }

    fn key(&mut self, byte: u8, visitor: &mut impl Visitor) -> Result<(), &'static str> {
        if byte != b'"' {
            return Err("a key");
        }
        visitor.key(self.place());
        self.text = TextUse::Key;
        self.state = State::Text;
        Ok(())
    }

    fn comma(&mut self) {
        let place = self.place();
        if place.is_object() {
            self.state = State::Key;
        } else {
            self.slot = place.item();
            self.state = State::Value;
        }
    }

    fn after(&mut self) {
        self.state = if self.level == 0 { State::End } else { State::After };
    }

    /// Reads to the end of the string or of the piece.
    fn text<T: Visitor>(
        &mut self,
        piece: &[u8],
        begin: usize,
        start: usize,
        visitor: &mut T,
    ) -> usize {
        let mut at = begin + usize::from(core::mem::take(&mut self.escape));
        let end = loop {
            match quote_or_backslash(piece, at) {
                Some((found, b'"')) => break Some(found),
                Some((found, _)) => {
                    self.held.escaped = true;
                    at = found + 2;
                    if at > piece.len() {
                        self.escape = true;
                        break None;
                    }
                }
                None => break None,
            }
        };
        let text = piece.get(begin..end.unwrap_or(piece.len())).unwrap_or_default();
        match self.text {
            TextUse::Skip | TextUse::Model => {}
            TextUse::Content | TextUse::Message if text.is_empty() => {}
            TextUse::Content => visitor.content(self.slot),
            TextUse::Message => visitor.message(self.slot, text),
            TextUse::Key | TextUse::Word if end.is_none() => self.held.push(text),
            TextUse::Key => {
                let place = self.place();
                let slot = self.held.with(text, true, |key| T::slot(place, key));
                self.slot = slot;
                self.held.clear();
                self.state = State::Colon;
                return end.unwrap_or(piece.len()) + 1;
            }
            TextUse::Word => {
                let slot = self.slot;
                self.held.with(text, true, |word| visitor.word(slot, word));
            }
        }
        let Some(end) = end else { return piece.len() };
        if self.text == TextUse::Model {
            visitor.model_ends(start + end);
        }
        self.held.clear();
        if self.skipped > 0 {
            self.state = State::Skip;
        } else {
            self.after();
        }
        end + 1
    }

    /// Reads to the end of the number or literal, or of the piece.
    fn scalar(&mut self, piece: &[u8], begin: usize, visitor: &mut impl Visitor) -> usize {
        let rest = piece.get(begin..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_scalar(*byte));
        let digits = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
        if self.slot.scalar() {
            if length.is_none() {
                self.held.push(digits);
            } else {
                let slot = self.slot;
                self.held.with(digits, false, |digits| visitor.scalar(slot, digits));
            }
        }
        if length.is_some() {
            self.held.clear();
            self.after();
        }
        begin + digits.len()
    }

    /// Skips an unwanted container.
    fn skip(&mut self, piece: &[u8], begin: usize) -> usize {
        for (at, byte) in piece.iter().enumerate().skip(begin) {
            match byte {
                b'"' => {
                    self.text = TextUse::Skip;
                    self.state = State::Text;
                    return at + 1;
                }
                b'{' | b'[' => self.skipped += 1,
                b'}' | b']' => {
                    self.skipped -= 1;
                    if self.skipped == 0 {
                        self.after();
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        piece.len()
    }
}

impl Held {
    const EMPTY: Self =
        Self { bytes: [0; LONGEST_WORD], length: 0, too_long: false, escaped: false };

    const fn clear(&mut self) {
        self.length = 0;
        self.too_long = false;
        self.escaped = false;
    }

    fn push(&mut self, more: &[u8]) {
        let length = usize::from(self.length);
        match self.bytes.get_mut(length..length + more.len()) {
            Some(room) => {
                room.copy_from_slice(more);
                self.length += more.len() as u8;
            }
            None => {
                let room = self.bytes.get_mut(length..).unwrap_or_default();
                let fits = more.get(..room.len()).unwrap_or_default();
                room.copy_from_slice(fits);
                self.length += fits.len() as u8;
                self.too_long = true;
            }
        }
    }

    /// Passes the held bytes and `last` to `read`, unescaped. A word that is too long is truncated
    /// if `cut` is set, and unknown otherwise.
    fn with<R>(&mut self, last: &[u8], cut: bool, read: impl FnOnce(&[u8]) -> R) -> R {
        if self.length == 0 && !self.escaped && !self.too_long {
            // As if the word had arrived in pieces.
            let beginning = last.get(..LONGEST_WORD).filter(|_| last.len() > LONGEST_WORD);
            return read(beginning.map_or(last, |beginning| if cut { beginning } else { UNKNOWN }));
        }
        self.push(last);
        let word = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        if self.too_long && !cut {
            read(UNKNOWN)
        } else if self.escaped {
            let mut meant = [0; LONGEST_WORD];
            let length = unescape(word, &mut meant);
            read(meant.get(..length).unwrap_or_default())
        } else {
            read(word)
        }
    }
}

/// Unescapes a word and returns its length. Only ASCII is decoded, because all known words are
/// ASCII.
fn unescape(word: &[u8], meant: &mut [u8; LONGEST_WORD]) -> usize {
    let mut length = 0;
    let mut at = 0;
    while let Some(byte) = word.get(at) {
        at += 1;
        let byte = match (byte, word.get(at)) {
            (b'\\', Some(b'u')) => {
                let digits =
                    word.get(at + 1..at + 5).and_then(|digits| core::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                at += 5;
                code.filter(u8::is_ascii).unwrap_or(0)
            }
            (b'\\', Some(escaped)) => {
                at += 1;
                match escaped {
                    b'"' | b'\\' | b'/' => *escaped,
                    _ => 0,
                }
            }
            _ => *byte,
        };
        if let Some(room) = meant.get_mut(length) {
            *room = byte;
            length += 1;
        }
    }
    length
}

/// Finds the next quotation mark or backslash.
fn quote_or_backslash(piece: &[u8], from: usize) -> Option<(usize, u8)> {
    let rest = piece.get(from..)?;
    // Most strings are shorter than the cost of a call.
    for (at, byte) in rest.iter().take(SHORT).enumerate() {
        if matches!(byte, b'"' | b'\\') {
            return Some((from + at, *byte));
        }
    }
    let long = rest.get(SHORT..)?;
    let found = memchr2(b'"', b'\\', long)?;
    Some((from + SHORT + found, *long.get(found)?))
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// The maximum nesting of wanted containers.
const LEVELS: usize = 8;
/// The maximum length of a word. All known words are shorter.
pub(super) const LONGEST_WORD: usize = 64;
/// A word that matches nothing.
const UNKNOWN: &[u8] = b"?";
/// Strings up to this length are searched byte by byte.
const SHORT: usize = 16;
