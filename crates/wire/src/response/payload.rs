//! One payload at a time: the end mark of a stream, or JSON.

use super::payload_facts::PayloadFacts;
use super::scan::{Scanner, Unexpected};
use super::shared_prefix::{PrefixMatch, SharedPrefix};

/// A payload that is being read.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    scanner: Scanner,
    pub(super) facts: PayloadFacts,
    kind: Kind,
    /// A line of data has been read.
    lines: bool,
    beginning: SharedPrefix,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Only white space so far.
    Empty,
    /// Bytes of the end mark that have matched.
    Mark(usize),
    Json,
}

/// The kind of a complete payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whole {
    /// Empty.
    Empty,
    /// `[DONE]`.
    Mark,
    /// JSON; its contents are in [`Payload::facts`].
    Json,
    /// JSON that ends too early.
    Part,
    /// Not JSON.
    Broken,
}

impl Payload {
    pub(super) fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            facts: PayloadFacts::default(),
            kind: Kind::Empty,
            lines: false,
            beginning: SharedPrefix::new(),
        }
    }

    /// Prepares for the next payload.
    pub(super) fn restart(&mut self) {
        self.scanner.restart();
        self.facts = PayloadFacts::default();
        self.kind = Kind::Empty;
        self.lines = false;
    }

    /// Handles the start of a data line.
    pub(super) fn line(&mut self, at: usize) -> Result<(), Unexpected> {
        if core::mem::replace(&mut self.lines, true) && self.kind != Kind::Empty {
            if let Kind::Mark(read) = self.kind {
                if read == MARK.len() {
                    return Ok(());
                }
                self.no_mark(read, at)?;
            }
            return self.scanner.end_line(at, &mut self.facts);
        }
        Ok(())
    }

    /// Reads a piece.
    pub(super) fn feed(&mut self, piece: &[u8], at: usize) -> Result<(), Unexpected> {
        if self.kind == Kind::Json {
            return self.scanner.feed(piece, at, &mut self.facts);
        }
        if self.kind == Kind::Empty && piece.first() == Some(&b'{') {
            self.kind = Kind::Json;
            return self.begin(piece, at);
        }
        for (read, byte) in piece.iter().enumerate() {
            match (self.kind, byte) {
                (Kind::Empty, b' ' | b'\t' | b'\r' | b'\n') => {}
                (Kind::Mark(matched), byte) if MARK.get(matched) == Some(byte) => {
                    self.kind = Kind::Mark(matched + 1);
                }
                (Kind::Empty, b'[') => self.kind = Kind::Mark(1),
                (Kind::Mark(matched), b' ' | b'\t' | b'\r' | b'\n') if matched == MARK.len() => {}
                (kind, _) => {
                    if let Kind::Mark(matched) = kind {
                        self.no_mark(matched, at + read)?;
                    }
                    self.kind = Kind::Json;
                    let rest = piece.get(read..).unwrap_or_default();
                    return self.scanner.feed(rest, at + read, &mut self.facts);
                }
            }
        }
        Ok(())
    }

    /// The kind of the payload if it ends here.
    pub(super) fn whole(&self) -> Whole {
        match self.kind {
            Kind::Empty => Whole::Empty,
            Kind::Mark(matched) if matched == MARK.len() => Whole::Mark,
            Kind::Mark(_) => Whole::Part,
            Kind::Json if self.scanner.is_whole() => Whole::Json,
            Kind::Json if self.scanner.is_broken() => Whole::Broken,
            Kind::Json => Whole::Part,
        }
    }

    /// Reads the first piece of JSON, resuming the scan of an earlier payload with the same prefix.
    fn begin(&mut self, piece: &[u8], at: usize) -> Result<(), Unexpected> {
        let begins = self.beginning.compare(piece);
        let read = match begins {
            PrefixMatch::Known(scanned) => {
                (self.scanner, self.facts) = self.beginning.recall();
                scanned
            }
            PrefixMatch::Common(alike) => {
                self.scanner.feed(piece.get(..alike).unwrap_or_default(), at, &mut self.facts)?;
                self.beginning.remember(alike, self.scanner, self.facts);
                alike
            }
            PrefixMatch::New => 0,
        };
        self.scanner.feed(piece.get(read..).unwrap_or_default(), at + read, &mut self.facts)
    }

    /// The piece only looked like the end mark: it must be JSON.
    fn no_mark(&mut self, matched: usize, at: usize) -> Result<(), Unexpected> {
        self.kind = Kind::Json;
        let read = MARK.get(..matched).unwrap_or_default();
        let read = self.scanner.feed(read, 0, &mut self.facts);
        read.map_err(|unexpected| Unexpected { at, ..unexpected })
    }
}

/// The end mark of streams of OpenAI and most engines.
const MARK: &[u8] = b"[DONE]";
