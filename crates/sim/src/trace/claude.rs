//! Sessions of a coding agent: closed loop, with think times and sub-agents.
//!
//! Block ids are local to a session. Sessions whose tool and system prompts have equal lengths are
//! taken to share them, as runs of one agent's version do. A request above every context window of
//! 120 K tokens ends its session, with the sub-agents that would have begun later. Think times over
//! a minute are cut to one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slotwise::BlockHash;

use super::read::{self, Document, TraceError};
use super::record::{Record, whole};
use super::{Arrivals, Session, Spawn, Trace, Turn, block};

const MAX_CONTEXT: u32 = 120_000;
const MAX_OUTPUT: u32 = 2_000;
const MAX_THINK_S: f64 = 60.0;
const MAX_TURNS: usize = 60;
/// Separates the hashes of shared prompts from those of sessions.
const SHARED: u64 = 1 << 63;

/// A main agent or a sub-agent.
struct Agent {
    tool: u32,
    sys: u32,
    r: Vec<Request>,
}

/// A request, in the file `[t, think_s, api_s, in, out, [[first block, blocks], ...]]`.
struct Request {
    t: f64,
    think: f64,
    input: u32,
    output: u32,
    runs: Vec<(u64, u64)>,
}

impl Agent {
    fn read(record: &Record<'_>) -> Result<Self, TraceError> {
        let requests = record.get("r").ok_or_else(|| record.missing("r"))?;
        let list = requests
            .as_array()
            .ok_or_else(|| record.wrong("r", requests, "an array of requests"))?;
        let read = |(at, value): (usize, &Value)| {
            let expected = "[t, think_s, api_s, in, out, [[first block, blocks], ...]]";
            Request::read(value).ok_or_else(|| record.wrong(&format!("r[{at}]"), value, expected))
        };
        let r = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { tool: record.tokens("tool")?, sys: record.tokens("sys")?, r })
    }
}

impl Request {
    fn read(value: &Value) -> Option<Self> {
        let [t, think, _, input, output, runs] = value.as_array()?.as_slice() else { return None };
        let run = |run: &Value| match run.as_array()?.as_slice() {
            [first, count] => Some((first.as_u64()?, count.as_u64()?)),
            _ => None,
        };
        let runs = runs.as_array()?.iter().map(run).collect::<Option<_>>()?;
        let (input, output) = (whole(input)?, whole(output)?);
        Some(Self { t: t.as_f64()?, think: think.as_f64()?, input, output, runs })
    }
}

pub(super) fn parse(documents: &[Document]) -> Result<Trace, TraceError> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut block_tokens = 0;
    for (local, document) in (1..).zip(documents) {
        let (path, number) = (&*document.file, document.line);
        let record = Record::new(document)?;
        let (bs, agent) = (record.tokens("bs")?, Agent::read(&record)?);
        if bs == 0 || bs % 16 != 0 {
            return Err(TraceError::at(path, number, format!("bs is {bs}, not a multiple of 16")));
        }
        if block_tokens != 0 && block_tokens != bs {
            return Err(TraceError::at(path, number, format!("bs is {bs} after {block_tokens}")));
        }
        block_tokens = bs;
        let parent = sessions.len();
        sessions.push(Session {
            turns: turns(path, number, &agent, block_tokens, local)?,
            ..Session::default()
        });
        let subs = if record.has("sub") { record.objects("sub")? } else { Vec::new() };
        for sub in subs {
            let started = sub.seconds("t", sub.number("t")?)?;
            let turns = turns(path, number, &Agent::read(&sub)?, block_tokens, local)?;
            // It begins as long after the parent's latest request as it did in the recording, if
            // that request is sent.
            let latest =
                agent.r.iter().enumerate().take_while(|(_, request)| request.t <= started).last();
            let sent = latest.filter(|(turn, _)| *turn < sessions[parent].turns.len());
            if let (Some((turn, request)), false) = (sent, turns.is_empty()) {
                let delay = Duration::from_secs_f64((started - request.t).min(MAX_THINK_S));
                let session = sessions.len();
                sessions[parent].spawns.push(Spawn { turn, delay, session });
                sessions.push(Session { turns, spawned: true, ..Session::default() });
            }
        }
    }
    Ok(Trace { name: String::new(), block_tokens, sessions, arrivals: Arrivals::Sessions })
}

/// The requests up to the first one that is too long.
fn turns(
    path: &Path,
    number: usize,
    agent: &Agent,
    block_tokens: u32,
    local: u64,
) -> Result<Vec<Turn>, TraceError> {
    let mut turns = Vec::new();
    for Request { think, input, output, runs, .. } in agent.r.iter().take(MAX_TURNS) {
        let think = read::seconds(path, number, "think_s", *think)?;
        let input = read::input(path, number, *input)?;
        let output = (*output).clamp(1, MAX_OUTPUT);
        if input.saturating_add(output) > MAX_CONTEXT {
            break;
        }
        let full = input / block_tokens;
        let ids = runs.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
        let ids = usize::try_from(ids).unwrap_or(usize::MAX);
        read::enough_blocks(path, number, input, full as usize, ids)?;
        let blocks = blocks(agent, runs, full, block_tokens, local);
        let think = Duration::from_secs_f64(think.min(MAX_THINK_S));
        turns.push(Turn { think, input, output, blocks, adapter: None });
    }
    Ok(turns)
}

fn blocks(
    agent: &Agent,
    runs: &[(u64, u64)],
    full: u32,
    block_tokens: u32,
    local: u64,
) -> Arc<[BlockHash]> {
    let shared = (u64::from(agent.tool) + u64::from(agent.sys)) / u64::from(block_tokens);
    let prompt = SHARED | u64::from(agent.tool) << 32 | u64::from(agent.sys);
    let ids = runs.iter().flat_map(|(first, count)| *first..first.saturating_add(*count));
    (0..u64::from(full))
        .zip(ids)
        .map(|(at, id)| if at < shared { block(prompt, at) } else { block(local, id) })
        .collect()
}
