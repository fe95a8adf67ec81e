//! The client's name for the model, put back into what an engine answers.

use alloc::vec::Vec;

use super::reader::Body;
use super::scan::{Scanner, Visitor};
use super::schema::{Place, Slot};
use super::sse::{EventStream, Events};

/// Passes a response through and puts the name by which the client asked for the model in the place of the engine's.
///
/// It replaces the value of `model` at the top of each JSON payload, and in the `message` and `response` there, where Anthropic's
/// messages and OpenAI's responses have it; a value that is no string stays. Every other byte stays as it is, and any chunking
/// of a response gives the same bytes. A line and a body may be of any length: nothing is held back, and nothing is kept but the name.
/// A payload that is no JSON is left alone from there on.
///
/// The length of the body changes: `Content-Length` must not be passed on.
///
/// ```
/// use slotwise_wire::response::{Body, ModelFilter};
///
/// let mut filter = ModelFilter::new(Body::Stream, "gpt-4o");
/// let mut answer = Vec::new();
/// filter.feed(b"data: {\"id\":\"1\",\"model\":\"meta-ll", &mut answer);
/// filter.feed(b"ama/8b\",\"choices\":[]}\n\ndata: [DONE]\n\n", &mut answer);
/// assert_eq!(answer, b"data: {\"id\":\"1\",\"model\":\"gpt-4o\",\"choices\":[]}\n\ndata: [DONE]\n\n");
/// ```
#[derive(Clone, Debug)]
pub struct ModelFilter {
    body: Body,
    stream: EventStream,
    scanner: Scanner,
    /// The event has a line of data.
    lines: bool,
    /// As it stands in JSON.
    name: Vec<u8>,
}

/// One chunk on its way through.
struct Passage<'a> {
    scanner: &'a mut Scanner,
    lines: &'a mut bool,
    splice: Splice<'a>,
}

/// What has been copied of a chunk.
struct Splice<'a> {
    chunk: &'a [u8],
    name: &'a [u8],
    copied: usize,
    output: &'a mut Vec<u8>,
}

impl ModelFilter {
    /// Before a body of this kind, for a client that asked for the model by this name.
    pub fn new(body: Body, name: &str) -> Self {
        Self {
            body,
            stream: EventStream::new(),
            scanner: Scanner::new(),
            lines: false,
            name: escape(name),
        }
    }

    /// Appends what the client is to get of this chunk. Computes in **O(bytes)**; allocates only to make room in `output`.
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
        // Of what is no JSON, nothing is changed.
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

/// A text as it stands in JSON, between the quotation marks.
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
