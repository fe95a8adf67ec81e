//! Mooncake's JSONL: open-loop requests with chained 512-token prefix blocks.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::read::{self, TraceError};
use super::{Arrivals, Session, Trace, Turn, block};

/// Tokens in a block of `hash_ids`.
const BLOCK_TOKENS: u32 = 512;
/// The published timestamps are multiples of three seconds, but for a few milliseconds.
const QUANTUM_MS: f64 = 3_000.0;
const SLOP_MS: f64 = 20.0;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

pub(super) fn parse(path: &Path, lines: &[String]) -> Result<Trace, TraceError> {
    let mut sessions = Vec::new();
    let mut times = Vec::new();
    // Times of a finer grain than the published file's were not rounded, so they are not spread.
    let mut rounded = true;
    for (number, line) in read::json_lines::<Line>(path, lines)? {
        times.push(read::seconds(path, number, "timestamp", line.timestamp / 1e3)?);
        let off = line.timestamp % QUANTUM_MS;
        rounded &= off.min(QUANTUM_MS - off) <= SLOP_MS;
        let input = read::input(path, number, line.input_length)?;
        let full = (input / BLOCK_TOKENS) as usize;
        read::enough_blocks(path, number, input, full, line.hash_ids.len())?;
        let blocks = line.hash_ids[..full].iter().map(|id| block(0, *id)).collect();
        let output = line.output_length.max(1);
        let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let quantum = if rounded { QUANTUM_MS / 1e3 } else { 0.0 };
    let arrivals = Arrivals::Recorded { seconds: times, quantum };
    Ok(Trace { name: String::new(), block_tokens: BLOCK_TOKENS, sessions, arrivals })
}
