//! Any bytes in any chunks: no panic, and every chunking gives the same result as one chunk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotwise_wire::response::{Body, CloseReason, ModelFilter, Outcome, Progress, ResponseReader};

fn read<'a>(
    body: Body,
    chunks: impl Iterator<Item = &'a [u8]>,
    close: CloseReason,
) -> (Progress, Outcome) {
    let mut reader = ResponseReader::with_body(200, body);
    let progress = chunks.fold(Progress::default(), |sum, chunk| sum.and(reader.feed(chunk)));
    (progress, reader.finish(close))
}

fn filter<'a>(body: Body, name: &str, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut filter = ModelFilter::new(body, name);
    let mut output = Vec::new();
    chunks.for_each(|chunk| filter.feed(chunk, &mut output));
    output
}

/// Chunks with repeating lengths.
fn cut<'a>(mut rest: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = usize::from(*lengths.next()? % 32);
        if rest.is_empty() {
            return None;
        }
        let (chunk, after) = rest.split_at(length.clamp(1, rest.len()));
        rest = after;
        Some(chunk)
    })
}

fuzz_target!(|input: (u8, [u8; 5], &[u8])| {
    let (kind, lengths, bytes) = input;
    let body = if kind & 1 == 0 { Body::Stream } else { Body::Json };
    let close = [
        CloseReason::Clean,
        CloseReason::Broken,
        CloseReason::TimedOut,
        CloseReason::ClientDisconnected,
    ][usize::from(kind >> 1 & 3)];
    let whole = read(body, std::iter::once(bytes), close);
    assert_eq!(read(body, cut(bytes, &lengths), close), whole);
    assert_eq!(read(body, bytes.chunks(1), close), whole);
    assert!(whole.1.problem.is_none_or(|problem| problem.offset <= bytes.len()));

    let output = filter(body, "new \"name\"", std::iter::once(bytes));
    assert_eq!(filter(body, "new \"name\"", cut(bytes, &lengths)), output);
    // Each name is in an object of at least ten bytes.
    assert!(output.len() <= 3 * bytes.len());
    // The filtered answer has the same outcome, as long as it can be parsed.
    let (progress, outcome) = read(body, std::iter::once(&*output), close);
    if whole.1.unreadable == 0 && whole.1.problem.is_none() {
        assert_eq!(progress, whole.0);
        assert_eq!(outcome, whole.1);
    }
});
