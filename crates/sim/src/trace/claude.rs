//! Sessions of a coding agent: closed loop, with think times and sub-agents.
//!
//! Block ids are local to a session. Sessions whose tool and system prompts have equal lengths are taken to share them, as
//! runs of one agent's version do. Requests that no context window of 120 K tokens would hold end their session (with the
//! sub-agents that would have begun later), and think times over a minute are cut to one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use slotwise::BlockHash;

use super::read::{self, TraceError};
use super::{Arrivals, Session, Spawn, Trace, Turn, block};

const MAX_CONTEXT: u32 = 120_000;
const MAX_OUTPUT: u32 = 2_000;
const MAX_THINK_S: f64 = 60.0;
const MAX_TURNS: usize = 60;
/// Separates the hashes of shared prompts from those of sessions.
const SHARED: u64 = 1 << 63;

#[derive(Deserialize)]
struct Line {
    bs: u32,
    #[serde(flatten)]
    agent: Agent,
    #[serde(default)]
    sub: Vec<Sub>,
}

#[derive(Deserialize)]
struct Sub {
    t: f64,
    #[serde(flatten)]
    agent: Agent,
}

#[derive(Deserialize)]
struct Agent {
    tool: u32,
    sys: u32,
    r: Vec<Request>,
}

/// `[t, think_s, api_s, in, out, [[first block, blocks], ...]]`
#[derive(Deserialize)]
struct Request(f64, f64, IgnoredAny, u32, u32, Vec<(u64, u64)>);

pub(super) fn parse(path: &Path, lines: &[String]) -> Result<Trace, TraceError> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut block_tokens = 0;
    for (number, line) in read::json_lines::<Line>(path, lines)? {
        if line.bs == 0 || line.bs % 16 != 0 {
            return Err(TraceError::at(path, number, format!("bs is {}, not a multiple of 16", line.bs)));
        }
        if block_tokens != 0 && block_tokens != line.bs {
            return Err(TraceError::at(path, number, format!("bs is {} after {block_tokens}", line.bs)));
        }
        block_tokens = line.bs;
        let local = number as u64;
        let parent = sessions.len();
        sessions.push(Session {
            turns: turns(path, number, &line.agent, block_tokens, local)?,
            ..Session::default()
        });
        for sub in &line.sub {
            let started = read::seconds(path, number, "t", sub.t)?;
            let turns = turns(path, number, &sub.agent, block_tokens, local)?;
            // It begins as long after the parent's latest request as it did in the recording, if that request is sent.
            let latest =
                line.agent.r.iter().enumerate().take_while(|(_, request)| request.0 <= started).last();
            let sent = latest.filter(|(turn, _)| *turn < sessions[parent].turns.len());
            if let (Some((turn, request)), false) = (sent, turns.is_empty()) {
                let delay = Duration::from_secs_f64((started - request.0).min(MAX_THINK_S));
                let session = sessions.len();
                sessions[parent].spawns.push(Spawn { turn, delay, session });
                sessions.push(Session { turns, spawns: Vec::new(), spawned: true });
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
    for Request(_, think, _, input, output, runs) in agent.r.iter().take(MAX_TURNS) {
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

fn blocks(agent: &Agent, runs: &[(u64, u64)], full: u32, block_tokens: u32, local: u64) -> Arc<[BlockHash]> {
    let shared = (u64::from(agent.tool) + u64::from(agent.sys)) / u64::from(block_tokens);
    let prompt = SHARED | u64::from(agent.tool) << 32 | u64::from(agent.sys);
    let ids = runs.iter().flat_map(|(first, count)| *first..first.saturating_add(*count));
    (0..u64::from(full))
        .zip(ids)
        .map(|(at, id)| if at < shared { block(prompt, at) } else { block(local, id) })
        .collect()
}
