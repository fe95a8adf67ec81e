//! Restores the client's name for the model in an answer.

use alloc::vec::Vec;

use super::reader::Body;
use super::scan::{Scanner, Visitor};
use super::schema::{Place, Slot};
use super::sse::{EventStream, Events};

/// Passes a response through and replaces the engine's name for the model with the client's.
///
/// The filter replaces the string `model` at the top level of each JSON payload. It also does so in
/// `message` and `response`, where Anthropic's messages and OpenAI's responses have it. Every other
/// byte stays the same, and the result does not depend on the chunking. Lines and bodies may have
/// any length: the filter holds nothing back and stores only the name. A payload that is not JSON
/// passes unchanged from its first error on.
///
/// The length of the body changes, so `Content-Length` must be removed.
///
/// ```
/// use slotwise_wire::response::{Body, ModelFilter};
///
/// let mut filter = ModelFilter::new(Body::Stream, "gpt-4o");
/// let mut answer = Vec::new();
/// filter.feed(b"data: {\"id\":\"1\",\"model\":\"meta-ll", &mut answer);
/// filter.feed(b"ama/8b\",\"choices\":[]}\n\ndata: [DONE]\n\n", &mut answer);
/// let event = r#"{"id":"1","model":"gpt-4o","choices":[]}"#;
/// assert_eq!(answer, format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes());
/// ```
#[derive(Clone, Debug)]
pub struct ModelFilter {
    body: Body,
    stream: EventStream,
    scanner: Scanner,
    /// The event has a line of data.
    lines: bool,
    /// The name as a JSON string.
    name: Vec<u8>,
}

/// A chunk being filtered.
struct Passage<'a> {
    scanner: &'a mut Scanner,
    lines: &'a mut bool,
    splice: Splice<'a>,
}

/// The part of a chunk that was copied.
struct Splice<'a> {
    chunk: &'a [u8],
    name: &'a [u8],
    copied: usize,
    output: &'a mut Vec<u8>,
}

impl ModelFilter {
    /// Creates a filter for a body of this kind with the client's name for the model.
    pub fn new(body: Body, name: &str) -> Self {
        Self {
            body,
            stream: EventStream::new(),
            scanner: Scanner::new(),
            lines: false,
            name: escape(name),
        }
    }

    /// Filters a chunk and appends the result to `output`. Computes in **O(bytes)**; allocates only
    /// to grow `output`.
    pub fn feed(&mut self, chunk: &[u8], output: &mut Vec<u8>) {
        output.reserve(chunk.len());
        let splice = Splice { chunk, name: &self.name, copied: 0, output };
        let mut passage = Passage { scanner: &mut self.scanner, lines: &mut self.lines, splice };
        match self.body {
            Body::Stream => self.stream.feed(chunk, &mut passage),
            Body::Json => passage.data(chunk, 0),
            Body::Opaque => {}
        }
        let Passage { scanner, mut splice, .. } = passage;
        if !scanner.in_model() {
            splice.copy_to(chunk.len());
        }
    }
}

impl Events for Passage<'_> {
    fn data_line(&mut self, at: usize) {
        if core::mem::replace(self.lines, true) {
            _ = self.scanner.end_line(at, &mut self.splice);
        }
    }

    fn data(&mut self, piece: &[u8], at: usize) {
        // Invalid JSON passes unchanged.
        _ = self.scanner.feed(piece, at, &mut self.splice);
    }

    fn data_ends(&mut self, at: usize) {
        if self.scanner.in_model() {
            self.splice.copied = at;
            self.scanner.give_up();
        }
    }

    fn name_line(&mut self) {}

    fn name(&mut self, _piece: &[u8]) {}

    fn dispatch(&mut self) {
        self.scanner.restart();
        *self.lines = false;
    }
}

impl Splice<'_> {
    fn copy_to(&mut self, end: usize) {
        self.output.extend_from_slice(self.chunk.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }
}

impl Visitor for Splice<'_> {
    fn slot(place: Place, key: &[u8]) -> Slot {
        match (place, key) {
            (Place::Root | Place::StartMessage | Place::Response, b"model") => Slot::Model,
            (Place::Root, b"message") => Slot::StartMessage,
            (Place::Root, b"response") => Slot::Response,
            _ => Slot::Ignored,
        }
    }

    fn model_starts(&mut self, at: usize) {
        self.copy_to(at);
        self.output.extend_from_slice(self.name);
    }

    fn model_ends(&mut self, at: usize) {
        self.copied = at;
    }
}

/// Escapes a text for a JSON string.
fn escape(text: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => escaped.extend([b'\\', byte]),
            0..0x20 => {
                let digit =
                    |four: u8| b"0123456789abcdef".get(usize::from(four)).copied().unwrap_or(b'0');
                escaped.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => escaped.push(byte),
        }
    }
    escaped
}
