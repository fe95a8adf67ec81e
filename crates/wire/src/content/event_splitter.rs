//! A stream's bytes to whole events.

use alloc::vec::Vec;
use core::ops::Range;

/// Splits a stream of server-sent events into events, byte by byte as they came.
///
/// Each event ends with its empty line. The result does not depend on the chunking: of `\r\n` after
/// an event that ended with `\r`, the `\n` belongs to the next one. The splitter holds one event,
/// of any length: [`held`](Self::held) is how much.
///
/// ```
/// use slotwise_wire::content::EventSplitter;
///
/// let (mut splitter, mut events) = (EventSplitter::default(), Vec::new());
/// for chunk in [&b"data: 1\n"[..], b"\ndata: 2\n\n: pi"] {
///     splitter.feed(chunk, |event| events.push(event));
/// }
/// assert_eq!(events, [b"data: 1\n\n", b"data: 2\n\n"]);
/// assert_eq!(splitter.finish(), b": pi");
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventSplitter {
    held: Vec<u8>,
    /// The latest line has a byte.
    in_line: bool,
    after_cr: bool,
}

impl EventSplitter {
    /// Passes each event that the chunk completes to `take`. Computes in **O(bytes)**.
    pub fn feed(&mut self, chunk: &[u8], mut take: impl FnMut(Vec<u8>)) {
        for &byte in chunk {
            self.held.push(byte);
            let ends_line = match byte {
                b'\r' => true,
                b'\n' => !self.after_cr,
                _ => false,
            };
            self.after_cr = byte == b'\r';
            if ends_line && !self.in_line {
                take(core::mem::take(&mut self.held));
            }
            self.in_line = if ends_line { false } else { self.in_line || byte != b'\n' };
        }
    }

    /// Bytes of the event that has not ended.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Ends the stream: returns what has no end.
    pub fn finish(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.held)
    }
}

/// The range of an event's data. `Ok(None)` if it has none; an error if it has several lines, which
/// no known engine sends.
///
/// ```
/// use slotwise_wire::content::event_data;
///
/// let event = b"event: ping\ndata: {}\n\n";
/// assert_eq!(event_data(event).map(|data| data.map(|at| &event[at])), Ok(Some(&b"{}"[..])));
/// assert_eq!(event_data(b": comment\n\n"), Ok(None));
/// assert_eq!(event_data(b"data: 1\ndata: 2\n\n"), Err(()));
/// ```
#[expect(clippy::result_unit_err, reason = "there is one reason")]
pub fn event_data(event: &[u8]) -> Result<Option<Range<usize>>, ()> {
    let (mut found, mut at) = (None, 0);
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        // A byte order mark may precede the first line.
        let mark = if at == 0 && line.starts_with(MARK) { MARK.len() } else { 0 };
        let data = line.get(mark..).and_then(|line| line.strip_prefix(b"data:"));
        if let Some(data) = data {
            if found.is_some() {
                return Err(());
            }
            let space = usize::from(data.first() == Some(&b' '));
            found = Some(at + line.len() - data.len() + space..at + line.len());
        }
        at += line.len() + 1;
    }
    Ok(found)
}

const MARK: &[u8] = "\u{feff}".as_bytes();
