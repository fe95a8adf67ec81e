//! Qwen-Bailian's JSONL: requests of chats with the ids of their 16-token blocks.
//!
//! An id may identify its block alone, or the block and all before it. The chain that is made of
//! the ids identifies the latter. A chat's turns are linked by `parent_chat_id`, but their times
//! are the recorded ones, so they are replayed open loop.

use std::time::Duration;

use slotwise::BlockHash;

use super::read::{self, Document, TraceError};
use super::record::Record;
use super::{Arrivals, Session, Trace, Turn, block};

/// Tokens in a block of `hash_ids`.
const BLOCK_TOKENS: u32 = 16;
/// Blocks of the file that make one of the simulation: a cache in 64-token blocks is a quarter of
/// the work.
const STRIDE: usize = 4;

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut sessions = Vec::new();
    let mut times = Vec::new();
    for document in documents {
        let record = Record::new(document)?;
        times.push(record.seconds("timestamp", record.number("timestamp")?)?);
        let input = read::input(record.file(), record.line(), record.tokens("input_length")?)?;
        let output = record.tokens("output_length")?.max(1);
        let ids = record.ids_if_any("hash_ids")?;
        // Without ids, the content of the prompt is unknown.
        let full = if ids.is_some() { (input / BLOCK_TOKENS) as usize } else { 0 };
        let ids = ids.unwrap_or_default();
        read::enough_blocks(record.file(), record.line(), input, full, ids.len())?;
        let chain = ids[..full].iter().scan(0, |before, id| {
            *before = block(*before, *id).0;
            Some(BlockHash(*before))
        });
        let blocks = chain.skip(STRIDE - 1).step_by(STRIDE).collect();
        let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
        sessions.push(Session { turns: vec![turn], ..Session::default() });
    }
    let arrivals = Arrivals::Recorded { seconds: times, quantum: 0.0 };
    Ok(Trace {
        name: String::new(),
        block_tokens: BLOCK_TOKENS * STRIDE as u32,
        sessions,
        arrivals,
    })
}
