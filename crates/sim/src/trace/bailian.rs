//! Qwen-Bailian's JSONL: requests of chats with the ids of their 16-token blocks.
//!
//! Whether an id stands for its block alone or for everything before it too, the chain that is made of the ids does the latter.
//! A chat's turns are linked by `parent_chat_id`, but their times are the recorded ones, so they are replayed open loop.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use slotwise::BlockHash;

use super::read::{self, TraceError};
use super::{Arrivals, Session, Trace, Turn, block};

/// Tokens in a block of `hash_ids`.
const BLOCK_TOKENS: u32 = 16;
/// Blocks of the file that make one of the simulation: a cache in 64-token blocks is a quarter of the work.
const STRIDE: usize = 4;

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
    for (number, line) in read::json_lines::<Line>(path, lines)? {
        times.push(read::seconds(path, number, "timestamp", line.timestamp)?);
        let input = read::input(path, number, line.input_length)?;
        let full = (input / BLOCK_TOKENS) as usize;
        read::enough_blocks(path, number, input, full, line.hash_ids.len())?;
        let chain = line.hash_ids[..full].iter().scan(0, |before, id| {
            *before = block(*before, *id).0;
            Some(BlockHash(*before))
        });
        let blocks = chain.skip(STRIDE - 1).step_by(STRIDE).collect();
        let output = line.output_length.max(1);
        let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let arrivals = Arrivals::Recorded { seconds: times, quantum: 0.0 };
    Ok(Trace { name: String::new(), block_tokens: BLOCK_TOKENS * STRIDE as u32, sessions, arrivals })
}
