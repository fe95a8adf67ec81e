//! Answers: captured ones, a naive reader for comparison, and malformed ones.

mod captured;
mod ends;
mod filter;
mod hostile;
mod same;
mod twin;
mod usage;

use slotwise_wire::response::{Body, CloseReason, ModelFilter, Outcome, Progress, ResponseReader};

/// Reads a successful response in these chunks.
fn read<'a>(
    body: Body,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    close: CloseReason,
) -> (Vec<Progress>, Outcome) {
    let mut reader = ResponseReader::with_body(200, body);
    let progress = chunks.into_iter().map(|chunk| reader.feed(chunk)).collect();
    (progress, reader.finish(close))
}

/// Reads a body in one chunk and returns the progress and the outcome.
fn read_whole(body: Body, bytes: &[u8]) -> (Progress, Outcome) {
    let (progress, outcome) = read(body, [bytes], CloseReason::Clean);
    (progress[0], outcome)
}

/// Splits bytes at these positions.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The filtered response.
fn filtered<'a>(body: Body, name: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut filter = ModelFilter::new(body, name);
    let mut output = Vec::new();
    for chunk in chunks {
        filter.feed(chunk, &mut output);
    }
    output
}

/// A file of the fixtures.
fn fixture(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/vllm-0.32/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn fixture_json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&fixture(path)).expect("JSON")
}

/// The captured streams.
const STREAMS: [&str; 5] = [
    "chat_sse_continuous_usage",
    "chat_sse_nousage",
    "chat_sse_usage",
    "completion_sse_tokenids",
    "completion_sse_usage",
];
