//! The framing of server-sent events, as WHATWG's standard of HTML has it: where data, names and events lie in chunks of any size.
//!
//! Nothing is kept of a line but how far it has been read, so a line may be of any length.
//!
//! ```text
//!             BOM            ":" or another field
//!  Beginning -----> Start ----------------------> Skip
//!                   |  ^ ^                         |
//!      "data" or    |  | +---------- LF, CR -------+
//!      "event"      v  | an empty line ends the event
//!                  Name +----------- LF, CR -------+
//!                   |            one space         |
//!                   +--- ":" ---> Colon -------> Value
//! ```

use memchr::memchr2;

/// Who is told what was read.
pub(super) trait Events {
    /// A line of data begins `at` bytes into the chunk: its pieces come next, if it is not empty.
    fn data_line(&mut self, at: usize);
    /// A piece of it, which begins `at` bytes into the chunk.
    fn data(&mut self, piece: &[u8], at: usize);
    /// The line of data ends `at` bytes into the chunk.
    fn data_ends(&mut self, at: usize);
    /// A line with the event's name begins: its pieces come next, if it is not empty.
    fn name_line(&mut self);
    /// A piece of it.
    fn name(&mut self, piece: &[u8]);
    /// An empty line: the event is whole.
    fn dispatch(&mut self);
}

/// A place in a stream.
#[derive(Clone, Debug)]
pub(super) struct EventStream {
    line: Line,
    /// The last byte was a CR: a LF after it belongs to it.
    after_cr: bool,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many bytes of the byte order mark have been read.
    ByteOrderMark(usize),
    Start,
    /// So many bytes of the field's name have been read.
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

    /// Reads on.
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
                    // Half a mark is the name of a field that nobody knows.
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

    /// At the start of a line: reads its first byte, or all up to its data. How many bytes that was.
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

    /// Over the byte that ends a line.
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
