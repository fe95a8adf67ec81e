//! The framing of server-sent events (WHATWG HTML, section 9.2) in chunks of any size.
//!
//! The parser stores only its state, so a line may have any length.
//!
//! Written by hand: `eventsource-stream` collects each event in a string; this parser stores no
//! line.
//!
//! ```text
//!             BOM            ":" or another field
//!   (start) -------> Start ----------------------> Skip
//!                   |  ^ ^                         |
//!      "data" or    |  | +---------- LF, CR -------+
//!      "event"      v  | an empty line ends the event
//!                  Name +----------- LF, CR -------+
//!                   |            one space         |
//!                   +--- ":" ---> Colon -------> Value
//! ```

use memchr::memchr2;

/// Receives the fields of events.
pub(super) trait Events {
    /// A data line starts `at` bytes into the chunk. Its pieces follow unless it is empty.
    fn data_line(&mut self, at: usize);
    /// A piece of the data line, `at` bytes into the chunk.
    fn data(&mut self, piece: &[u8], at: usize);
    /// The data line ends `at` bytes into the chunk.
    fn data_ends(&mut self, at: usize);
    /// A line with the event's name starts. Its pieces follow unless it is empty.
    fn name_line(&mut self);
    /// A piece of the name.
    fn name(&mut self, piece: &[u8]);
    /// An empty line: the event is complete.
    fn dispatch(&mut self);
}

/// A position in a stream.
#[derive(Clone, Debug)]
pub(super) struct EventStream {
    line: Line,
    /// The last byte was a CR: a following LF belongs to it.
    after_cr: bool,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    /// The number of bytes of the byte order mark read.
    ByteOrderMark(usize),
    Start,
    /// The number of bytes of the field's name read.
    Name(Field, usize),
    Colon(Field),
    Value(Field),
    Skip,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Data,
    Event,
}

impl EventStream {
    pub(super) const fn new() -> Self {
        Self { line: Line::ByteOrderMark(0), after_cr: false }
    }

    /// Whether the next byte begins a line.
    pub(super) const fn is_between_lines(&self) -> bool {
        matches!(self.line, Line::Start | Line::ByteOrderMark(0))
    }

    /// Reads a chunk.
    pub(super) fn feed(&mut self, chunk: &[u8], events: &mut impl Events) {
        let mut at = 0;
        while let Some(byte) = chunk.get(at) {
            if core::mem::take(&mut self.after_cr) && *byte == b'\n' {
                at += 1;
                continue;
            }
            match self.line {
                Line::ByteOrderMark(read) => match MARK.get(read) {
                    Some(mark) if mark == byte => {
                        at += 1;
                        self.line = Line::ByteOrderMark(read + 1);
                    }
                    // An incomplete byte order mark is an unknown field.
                    Some(_) if read > 0 => self.line = Line::Skip,
                    _ => self.line = Line::Start,
                },
                Line::Start => at += self.start(chunk.get(at..).unwrap_or_default(), at, events),
                Line::Name(field, read) => match (field.name().get(read), byte) {
                    (Some(letter), byte) if letter == byte => {
                        at += 1;
                        self.line = Line::Name(field, read + 1);
                    }
                    (None, b':') => {
                        at += 1;
                        self.line = Line::Colon(field);
                    }
                    (None, b'\n' | b'\r') => self.line = Line::Colon(field),
                    _ => self.line = Line::Skip,
                },
                Line::Colon(field) => {
                    at += usize::from(*byte == b' ');
                    self.value(field, at, events);
                }
                Line::Value(field) => {
                    let rest = chunk.get(at..).unwrap_or_default();
                    let end = memchr2(b'\n', b'\r', rest);
                    let piece = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
                    if !piece.is_empty() {
                        match field {
                            Field::Data => events.data(piece, at),
                            Field::Event => events.name(piece),
                        }
                    }
                    at += piece.len();
                    if end.is_some() {
                        if matches!(field, Field::Data) {
                            events.data_ends(at);
                        }
                        at += self.end_line(chunk.get(at));
                    }
                }
                Line::Skip => {
                    let rest = chunk.get(at..).unwrap_or_default();
                    match memchr2(b'\n', b'\r', rest) {
                        Some(end) => {
                            at += end;
                            at += self.end_line(chunk.get(at));
                        }
                        None => return,
                    }
                }
            }
        }
    }

    /// Reads the start of a line up to its data and returns the number of bytes.
    fn start(&mut self, rest: &[u8], at: usize, events: &mut impl Events) -> usize {
        if rest.starts_with(b"data: ") {
            self.value(Field::Data, at + 6, events);
            return 6;
        }
        match rest.first() {
            Some(b'd') => self.line = Line::Name(Field::Data, 1),
            Some(b'e') => self.line = Line::Name(Field::Event, 1),
            Some(b'\n' | b'\r') => {
                events.dispatch();
                return self.end_line(rest.first());
            }
            _ => self.line = Line::Skip,
        }
        1
    }

    fn value(&mut self, field: Field, at: usize, events: &mut impl Events) {
        match field {
            Field::Data => events.data_line(at),
            Field::Event => events.name_line(),
        }
        self.line = Line::Value(field);
    }

    /// Ends a line and returns the number of bytes consumed.
    fn end_line(&mut self, byte: Option<&u8>) -> usize {
        self.after_cr = byte == Some(&b'\r');
        self.line = Line::Start;
        1
    }
}

impl Field {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Data => b"data",
            Self::Event => b"event",
        }
    }
}

const MARK: &[u8] = b"\xef\xbb\xbf";
