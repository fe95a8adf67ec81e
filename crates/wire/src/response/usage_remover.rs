//! The usage that a gateway asked for and its client did not, taken out of a stream.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr2;

use crate::error::WireError;
use crate::json::{Kind, Reader};

/// Takes what `stream_options.include_usage` adds to a stream out of it again: the last chunk, which has no
/// choices but a usage, and `"usage":null` in the chunks before it. Every other byte stays as it is.
///
/// It holds back one event until that is whole, and of an event that is longer than [`MOST_HELD`] nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageRemover {
    /// The beginning of an event.
    held: Vec<u8>,
    /// The event is too long to be held: it is passed on as it comes.
    passing: bool,
    /// The line has begun in an earlier chunk.
    in_line: bool,
    /// The last byte was a CR, and the event that it ended was dropped or not: a LF after it belongs to it.
    after_cr: Option<bool>,
}

impl UsageRemover {
    /// Appends what the client is to get of this chunk.
    pub(super) fn feed(&mut self, chunk: &[u8], output: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if let Some(dropped) = self.after_cr.take() {
                if *first == b'\n' {
                    if !dropped {
                        self.take(b"\n", output);
                    }
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let end = memchr2(b'\n', b'\r', rest);
            let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            self.take(line, output);
            rest = after;
            let Some(end) = end else {
                self.in_line = true;
                return;
            };
            let goes_on = core::mem::take(&mut self.in_line);
            let dropped = end == 0 && !goes_on && self.dispatch(output);
            if line.last() == Some(&b'\r') {
                self.after_cr = Some(dropped);
            }
        }
    }

    /// Nothing more comes: appends what was held back.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.held);
    }

    fn take(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        if !self.passing && self.held.len() + bytes.len() > MOST_HELD {
            self.passing = true;
            output.append(&mut self.held);
        }
        (if self.passing { output } else { &mut self.held }).extend_from_slice(bytes);
    }

    /// The event is whole. Whether it was dropped.
    fn dispatch(&mut self, output: &mut Vec<u8>) -> bool {
        if core::mem::take(&mut self.passing) {
            return false;
        }
        // A mark of ends alone, or comments, are no payload.
        let data = data(&self.held).unwrap_or(0..0);
        match self.held.get(data.clone()).map(verdict) {
            Some(Ok(Verdict::Drop)) => {
                self.held.clear();
                return true;
            }
            Some(Ok(Verdict::Cut(cut))) => {
                let cut = data.start + cut.start..data.start + cut.end;
                output.extend_from_slice(self.held.get(..cut.start).unwrap_or_default());
                output.extend_from_slice(self.held.get(cut.end..).unwrap_or_default());
                self.held.clear();
            }
            _ => output.append(&mut self.held),
        }
        false
    }
}

/// What is to be done with an event.
enum Verdict {
    Keep,
    Drop,
    /// These bytes of its data go.
    Cut(Range<usize>),
}

/// Where the data of an event stands, if it is one line.
fn data(event: &[u8]) -> Option<Range<usize>> {
    let mut found = None;
    let mut at = 0;
    for line in event.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        // A byte order mark may stand before the first line.
        let mark = if at == 0 && line.starts_with(MARK) { MARK.len() } else { 0 };
        if line.get(mark..).is_some_and(|line| line.starts_with(b"data:")) {
            if found.is_some() {
                return None;
            }
            found = Some(at + mark + 5..at + line.len());
        }
        at += line.len();
    }
    found
}

fn verdict(payload: &[u8]) -> Result<Verdict, WireError> {
    let mut reader = Reader::new(payload)?;
    let (mut no_choices, mut usage, mut null) = (false, false, None);
    reader.open_object()?;
    let (mut first, mut before) = (true, reader.at());
    while let Some(key) = reader.next_key()? {
        if key.is("choices") {
            no_choices = reader.kind()? == Kind::Array && reader.skip().map(is_empty)?;
        } else if key.is("usage") {
            usage = reader.kind()? == Kind::Object;
            if reader.null()? {
                null = Some((first, before..reader.at()));
            } else {
                reader.skip()?;
            }
        } else {
            reader.skip()?;
        }
        (first, before) = (false, reader.at());
    }
    reader.end()?;
    Ok(match null {
        _ if no_choices && usage => Verdict::Drop,
        Some((true, span)) => {
            // The comma after the first member goes with it.
            let rest = payload.get(span.end..).unwrap_or_default();
            let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let comma = usize::from(rest.get(spaces) == Some(&b','));
            Verdict::Cut(span.start..span.end + if comma == 1 { spaces + 1 } else { 0 })
        }
        Some((false, span)) => Verdict::Cut(span),
        None => Verdict::Keep,
    })
}

/// Whether nothing is in an array.
fn is_empty(array: &str) -> bool {
    array.bytes().all(|byte| matches!(byte, b'[' | b']') || byte.is_ascii_whitespace())
}

const MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of an event that are held back.
const MOST_HELD: usize = 1 << 16;
