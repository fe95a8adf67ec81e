//! Seeded workloads, for use without a recorded trace.
//!
//! Lengths are log-normal and gaps exponential, with means near those of published traces. The
//! kinds are chats that begin with one of a few shared system prompts, coding agents that send a
//! growing history each turn and spawn sub-agents, and single requests that share nothing.

use std::time::Duration;

use slotwise::Rng;

use super::{Arrivals, Session, Spawn, Trace, Turn, block, zipf};

/// The kinds of session in a workload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mix {
    /// All of the below: by requests, about half chats, a third agents, the rest without reuse.
    #[default]
    Mixed,
    /// Chats with shared system prompts.
    Chat,
    /// Coding agents.
    Agents,
    /// Single requests that share nothing.
    NoReuse,
}

/// Tokens in a prefix block.
const BLOCK_TOKENS: u32 = 64;
/// The longest prompt of a chat or agent: the context window, less room for an answer.
const MAX_INPUT: u32 = 118_000;

/// One kind of session.
struct Kind {
    /// Sessions of this kind.
    sessions: usize,
    /// Shared prompts that they begin with, and how long these are.
    prompts: u64,
    prompt: (f64, f64),
    turns: (f64, f64),
    /// What each turn adds to the prompt besides the last answer.
    input: (f64, f64),
    output: (f64, f64),
    think: f64,
    /// The share of sessions that spawn a sub-agent.
    sub_agents: f64,
}

/// Mean and, relative to it, spread (the sigma of the underlying normal).
const CHAT: Kind = Kind {
    sessions: 2_000,
    prompts: 24,
    prompt: (1_600.0, 0.7),
    turns: (4.0, 0.8),
    input: (900.0, 1.2),
    output: (300.0, 0.7),
    think: 18.0,
    sub_agents: 0.0,
};

const AGENTS: Kind = Kind {
    sessions: 190,
    prompts: 5,
    prompt: (15_000.0, 0.25),
    turns: (20.0, 0.6),
    input: (2_200.0, 1.1),
    output: (280.0, 0.9),
    think: 9.0,
    sub_agents: 0.2,
};

const NO_REUSE: Kind = Kind {
    sessions: 2_400,
    prompts: 0,
    prompt: (0.0, 0.0),
    turns: (1.0, 0.0),
    input: (3_500.0, 1.1),
    output: (180.0, 0.9),
    think: 0.0,
    sub_agents: 0.0,
};

/// Seconds over which the sessions of a workload begin at speed 1.
const SPAN_S: f64 = 1_200.0;

pub(super) fn generate(mix: Mix, seed: u64) -> Trace {
    let kinds: &[Kind] = match mix {
        Mix::Mixed => &[CHAT, AGENTS, NO_REUSE],
        Mix::Chat => &[Kind { sessions: 2 * CHAT.sessions, ..CHAT }],
        Mix::Agents => &[Kind { sessions: 2 * AGENTS.sessions, ..AGENTS }],
        Mix::NoReuse => &[Kind { sessions: 4 * NO_REUSE.sessions, ..NO_REUSE }],
    };
    let mut rng = Rng::new(seed ^ 0x6e6e_2a17);
    let mut sessions = Vec::new();
    let mut draws: Vec<(usize, &Kind, Vec<u32>)> = kinds
        .iter()
        .map(|kind| {
            (
                kind.sessions,
                kind,
                (0..kind.prompts).map(|_| tokens(&mut rng, kind.prompt)).collect(),
            )
        })
        .collect();
    let begun: usize = kinds.iter().map(|kind| kind.sessions).sum();
    for left in (1..=begun).rev() {
        // Kinds come in random order, so that any first part of the workload has all of them.
        let mut at = rng.below(left as u64) as usize;
        let space = draws.iter().position(|(remaining, ..)| {
            let here = at < *remaining;
            at = at.saturating_sub(*remaining);
            here
        });
        let Some(space) = space else { break };
        let (remaining, kind, prompts) = &mut draws[space];
        *remaining -= 1;
        add_session(&mut rng, kind, space as u64 + 1, prompts, &mut sessions);
    }
    let name = super::Format::Builtin(mix).to_string();
    let arrivals = Arrivals::Poisson(begun as f64 / SPAN_S);
    Trace { name, block_tokens: BLOCK_TOKENS, sessions, arrivals }
}

/// Requests that share nothing, one a second at speed 1. `spread` is the sigma of the logarithm of
/// their lengths: with 0, all have the mean lengths.
pub fn single_requests(input: f64, output: f64, spread: f64, requests: usize) -> Trace {
    let mut rng = Rng::new(0x51_961e);
    let sessions = (0..requests).map(|number| {
        let (input, output) =
            (tokens(&mut rng, (input, spread)), log_normal(&mut rng, (output, spread)).round());
        let own = (number as u64 + 1) << 8;
        let blocks = (0..u64::from(input / BLOCK_TOKENS)).map(|at| block(own, at)).collect();
        let output = output.clamp(1.0, f64::from(MAX_INPUT)) as u32;
        let turn = Turn { think: Duration::ZERO, input, output, blocks, adapter: None };
        Session { turns: vec![turn], ..Session::default() }
    });
    Trace {
        name: format!("{input:.0} + {output:.0} tokens"),
        block_tokens: BLOCK_TOKENS,
        sessions: sessions.collect(),
        arrivals: Arrivals::Poisson(1.0),
    }
}

/// Adds a session, and perhaps its sub-agent.
fn add_session(
    rng: &mut Rng,
    kind: &Kind,
    space: u64,
    prompts: &[u32],
    sessions: &mut Vec<Session>,
) {
    let prompt = pick_prompt(rng, prompts);
    let parent = sessions.len();
    let own = session(rng, kind, space, prompt, parent);
    let turns = own.turns.len();
    sessions.push(own);
    if turns > 1 && rng.unit() < kind.sub_agents {
        let child = sessions.len();
        let short = Kind { turns: (6.0, 0.5), ..*kind };
        let sub = Session { spawned: true, ..session(rng, &short, space, prompt, child) };
        if !sub.turns.is_empty() {
            let turn = 1 + rng.below(turns as u64 - 1) as usize;
            sessions[parent].spawns.push(Spawn {
                turn,
                delay: Duration::from_secs(1),
                session: child,
            });
            sessions.push(sub);
        }
    }
}

/// The chosen shared prompt, and its length.
fn pick_prompt(rng: &mut Rng, prompts: &[u32]) -> Option<(u64, u32)> {
    if prompts.is_empty() {
        return None;
    }
    let rank = zipf(rng, prompts.len() as u64);
    Some((rank + 1, prompts[rank as usize]))
}

fn session(
    rng: &mut Rng,
    kind: &Kind,
    space: u64,
    prompt: Option<(u64, u32)>,
    number: usize,
) -> Session {
    let (rank, mut history) = prompt.unwrap_or((0, 0));
    let shared = u64::from(history / BLOCK_TOKENS);
    let count = log_normal(rng, kind.turns).round().max(1.0) as usize;
    let mut turns = Vec::new();
    for at in 0..count {
        let input = history + tokens(rng, kind.input);
        if input > MAX_INPUT {
            break;
        }
        let output = tokens(rng, kind.output).min(2_000);
        let own = (number as u64 + 1) << 8 | space;
        let blocks = (0..u64::from(input / BLOCK_TOKENS))
            .map(|i| if i < shared { block(space << 32 | rank, i) } else { block(own << 16, i) })
            .collect();
        let think = if at == 0 { 0.0 } else { -(1.0 - rng.unit()).ln() * kind.think };
        turns.push(Turn {
            think: Duration::from_secs_f64(think),
            input,
            output,
            blocks,
            adapter: None,
        });
        history = input + output;
    }
    Session { turns, ..Session::default() }
}

fn tokens(rng: &mut Rng, length: (f64, f64)) -> u32 {
    log_normal(rng, length).round().clamp(8.0, f64::from(MAX_INPUT)) as u32
}

/// A log-normal draw with this mean.
fn log_normal(rng: &mut Rng, (mean, sigma): (f64, f64)) -> f64 {
    let (u, v) = (1.0 - rng.unit(), rng.unit());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    mean * (sigma * normal - sigma * sigma / 2.0).exp()
}
