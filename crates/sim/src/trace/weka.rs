//! Weka's traces of coding agents, which aiperf, guidellm and inference-perf replay: a JSON object
//! for each session.
//!
//! A file has one object, or one a line; a folder has a file for each session. Sessions are
//! replayed closed loop, with sub-agents beside their parent. Block ids are local to a session
//! unless `hash_id_scope` is `global`.

use std::sync::Arc;
use std::time::Duration;

use slotwise::BlockHash;

use super::read::{self, Document, TraceError};
use super::record::Record;
use super::timeline::{self, Call, Made, nanoseconds};
use super::{Arrivals, Session, Trace, Turn, block};

/// Where the ids of a session belong, and how many tokens each stands for.
struct Blocks {
    tokens: u32,
    space: u64,
}

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut block_tokens = None;
    for (number, document) in (1..).zip(documents) {
        let record = Record::new(document)?;
        let tokens = record.tokens("block_size")?;
        if tokens == 0 || !tokens.is_multiple_of(16) {
            return Err(record.error(format!("`block_size` is {tokens}, not a multiple of 16")));
        }
        let known = *block_tokens.get_or_insert(tokens);
        if known != tokens {
            return Err(record.error(format!("`block_size` is {tokens} after {known}")));
        }
        let scope = record.text_if_any("hash_id_scope")?;
        let space = match scope.as_deref() {
            None | Some("local") => number,
            Some("global") => 0,
            Some(other) => {
                let reason =
                    format!("`hash_id_scope` is {other:?}, expected \"local\" or \"global\"");
                return Err(record.error(reason));
            }
        };
        session(&record, &Blocks { tokens, space }, &mut sessions)?;
    }
    let block_tokens = block_tokens.unwrap_or(64);
    Ok(Trace { name: String::new(), block_tokens, sessions, arrivals: Arrivals::Sessions })
}

/// A session with its sub-agents.
fn session(
    record: &Record<'_>,
    blocks: &Blocks,
    sessions: &mut Vec<Session>,
) -> Result<(), TraceError> {
    let (agents, requests): (Vec<_>, Vec<_>) = record
        .objects("requests")?
        .into_iter()
        .partition(|request| request.get("type").is_some_and(|kind| kind == "subagent"));
    let parent = timeline::add(calls(&requests, 0.0, blocks)?, sessions);
    for agent in agents {
        let begins = time(&agent)?;
        let requests = agent.objects("requests")?;
        // The format's times of a sub-agent count from its own begin, those of published captures
        // from the session's.
        let first = requests.first().map(time).transpose()?.unwrap_or(begins);
        let offset = if first + 1e-6 < begins { begins } else { 0.0 };
        let sub = timeline::add(calls(&requests, offset, blocks)?, sessions);
        if let (Some(parent), Some(Made { session, starts })) = (&parent, sub) {
            sessions[session].spawned = true;
            let at = starts.first().copied().unwrap_or_default();
            let spawn = parent.spawn(at, session);
            sessions[parent.session].spawns.push(spawn);
        }
    }
    Ok(())
}

fn time(request: &Record<'_>) -> Result<f64, TraceError> {
    let at = request.number("t")?;
    request.seconds("t", at)
}

fn calls(requests: &[Record<'_>], offset: f64, blocks: &Blocks) -> Result<Vec<Call>, TraceError> {
    let mut calls: Vec<Call> = Vec::new();
    for request in requests {
        let start = nanoseconds(time(request)? + offset);
        let took = match request.number_if_any("api_time")? {
            Some(took) => request.seconds("api_time", took.max(0.0))?,
            None => 0.0,
        };
        // Without the time of the answer, the pause after it gives the time of its end.
        if let (Some(before), Some(think)) =
            (calls.last_mut(), request.number_if_any("think_time")?)
        {
            let think = request.seconds("think_time", think.max(0.0))?;
            if before.end == before.start {
                before.end = before.start.max(start - nanoseconds(think));
            }
        }
        let turn = turn(request, blocks)?;
        calls.push(Call { start, end: start + nanoseconds(took), turn });
    }
    Ok(calls)
}

fn turn(request: &Record<'_>, blocks: &Blocks) -> Result<Turn, TraceError> {
    let input = read::input(request.file(), request.line(), request.tokens("in")?)?;
    let output = request.tokens("out")?.max(1);
    let ids = request.ids_if_any("hash_ids")?.unwrap_or_default();
    let full = if ids.is_empty() { 0 } else { (input / blocks.tokens) as usize };
    if ids.len() < full {
        let ids = ids.len();
        let reason = format!(
            "a prompt of {input} tokens has {full} full blocks, but there are {ids} block ids"
        );
        return Err(request.error(reason));
    }
    // Ids are made of a prompt's beginning, but a chain costs little and holds if they are not.
    let chain = ids[..full].iter().scan(blocks.space, |before, id| {
        *before = block(*before, *id).0;
        Some(BlockHash(*before))
    });
    let blocks: Arc<[BlockHash]> = chain.collect();
    Ok(Turn { think: Duration::ZERO, input, output, blocks, adapter: None })
}
