//! JSON in pieces of any size: a resumable scan that keeps nothing but its place and the one short word that it is in.
//!
//! It follows only the containers that a [`Visitor`] wants, and there takes JSON's grammar to the letter but for what a number or word
//! may look like. Of everything else it looks at strings and brackets only, at any depth. Bytes need not be UTF-8.

use memchr::memchr2;

use super::schema::{Place, Slot, TextUse};

/// Who is told what was read.
pub(super) trait Visitor {
    /// What the value of a key is.
    fn slot(place: Place, key: &[u8]) -> Slot;
    /// A key begins.
    fn key(&mut self, _place: Place) {}
    /// A value begins in an array.
    fn item(&mut self, _place: Place) {}
    /// A container of interest begins.
    fn opened(&mut self, _place: Place) {}
    /// It ends.
    fn closed(&mut self, _place: Place) {}
    /// A string, of [`TextUse::Word`], with its escapes read; of one that is longer than [`LONGEST_WORD`], its beginning.
    fn word(&mut self, _slot: Slot, _word: &[u8]) {}
    /// A string of [`TextUse::Content`] that is not empty. May be said more than once.
    fn content(&mut self, _slot: Slot) {}
    /// A piece of a string of [`TextUse::Message`], as it stands in JSON.
    fn message(&mut self, _slot: Slot, _piece: &[u8]) {}
    /// A number, or another word without quotation marks.
    fn scalar(&mut self, _slot: Slot, _digits: &[u8]) {}
    /// The text of a string of [`TextUse::Model`] begins there.
    fn model_starts(&mut self, _at: usize) {}
    /// It ends there.
    fn model_ends(&mut self, _at: usize) {}
}

/// A place in a JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner {
    state: State,
    slot: Slot,
    text: TextUse,
    /// A backslash was the last byte of the piece before.
    escape: bool,
    level: u8,
    places: [Place; LEVELS],
    /// Containers that are open inside of one that nobody wants, and that one.
    skipped: u64,
    held: Held,
}

/// What must come, and where it is not so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unexpected {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// A value.
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
    /// Inside of a container that nobody wants.
    Skip,
    /// Only spaces.
    AnswerEnd,
    Broken,
}

/// The beginning of a word whose end is in a later piece.
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

    /// Before the first value, again.
    pub(super) const fn restart(&mut self) {
        self.state = State::Value;
        self.slot = Slot::Root;
        self.escape = false;
        self.level = 0;
        self.skipped = 0;
        self.held.clear();
    }

    /// Whether a whole value has been read, and nothing else.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::AnswerEnd || self.state == State::Scalar && self.level == 0
    }

    /// Whether what was read can be no JSON.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether the text of a string of [`TextUse::Model`] goes on in the next piece.
    pub(super) fn in_model(&self) -> bool {
        self.state == State::Text && self.text == TextUse::Model
    }

    /// Takes no more, until it is restarted.
    pub(super) const fn give_up(&mut self) {
        self.state = State::Broken;
    }

    /// The line of data has ended, and another belongs to the same payload. No string goes over lines.
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

    /// Reads on, in a piece that begins at `start` of the chunk.
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
                State::AnswerEnd => Err("the end"),
            };
            if let Err(expected) = fine {
                self.state = State::Broken;
                return Err(Unexpected { at: start + at, expected });
            }
            // The first byte of a scalar is read with the others.
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
        self.state = if self.level == 0 { State::AnswerEnd } else { State::After };
    }

    /// Reads a string to its end, or that of the piece.
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

    /// Reads a number, or another word, to its end or that of the piece.
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

    /// Reads over what nobody wants.
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

    /// What is held and this after it, with escapes read. What is too long is cut off, or else unknown.
    fn with<R>(&mut self, last: &[u8], cut: bool, read: impl FnOnce(&[u8]) -> R) -> R {
        if self.length == 0 && !self.escaped && !self.too_long {
            // The same as if it had come in pieces.
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

/// Writes what an escaped word means, if it is in ASCII; there is no other word that anybody wants. How long it is.
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

/// The next byte that a string ends with or escapes by.
fn quote_or_backslash(piece: &[u8], from: usize) -> Option<(usize, u8)> {
    let rest = piece.get(from..)?;
    // Most strings are short, and a call costs more than they do.
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

/// Containers of interest in each other, at the most.
const LEVELS: usize = 8;
/// Of longer words, no more is read: none that is known is as long.
pub(super) const LONGEST_WORD: usize = 64;
/// Not a number.
const UNKNOWN: &[u8] = b"?";
/// Strings up to this length are looked through byte by byte.
const SHORT: usize = 16;
