//! Removes usage that only the gateway requested from a stream.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr2;

use crate::error::WireError;
use crate::json::{Kind, Reader};

/// Removes what `stream_options.include_usage` adds to a stream: the last chunk, which has a usage
/// but no choices, and `"usage":null` in earlier chunks. Every other byte stays the same.
///
/// It holds back one event until it is complete. An event longer than [`MOST_HELD`] passes
/// unchanged.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageRemover {
    /// The start of an event.
    held: Vec<u8>,
    /// The event is too long to be held: it passes unchanged.
    passing: bool,
    /// The line started in an earlier chunk.
    in_line: bool,
    /// The last byte was a CR; the value is whether its event was dropped. A following LF belongs
    /// to it.
    after_cr: Option<bool>,
}

impl UsageRemover {
    /// Filters a chunk and appends the result to `output`.
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

    /// Ends the body: appends what was held back.
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

    /// Ends an event and returns whether it was dropped.
    fn dispatch(&mut self, output: &mut Vec<u8>) -> bool {
        if core::mem::take(&mut self.passing) {
            return false;
        }
        // The end mark and comments are not payloads.
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

/// What to do with an event.
enum Verdict {
    Keep,
    Drop,
    /// Remove this range of its data.
    Cut(Range<usize>),
}

/// The range of the event's data, if it is one line.
fn data(event: &[u8]) -> Option<Range<usize>> {
    let mut found = None;
    let mut at = 0;
    for line in event.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        // A byte order mark may precede the first line.
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
            // The comma after a first member is removed with it.
            let rest = payload.get(span.end..).unwrap_or_default();
            let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let comma = usize::from(rest.get(spaces) == Some(&b','));
            Verdict::Cut(span.start..span.end + if comma == 1 { spaces + 1 } else { 0 })
        }
        Some((false, span)) => Verdict::Cut(span),
        None => Verdict::Keep,
    })
}

/// Whether an array is empty.
fn is_empty(array: &str) -> bool {
    array.bytes().all(|byte| matches!(byte, b'[' | b']') || byte.is_ascii_whitespace())
}

const MARK: &[u8] = b"\xef\xbb\xbf";
/// The maximum number of bytes held back.
const MOST_HELD: usize = 1 << 16;
