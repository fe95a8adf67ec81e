//! Workloads: recorded traces and seeded generators, in one form.
//!
//! A workload is a set of sessions. A session is a list of turns; a turn is sent when the one
//! before it has been answered and its think time is over, so that a slow fleet gets its requests
//! later (a closed loop). A request of an open-loop trace is a session of one turn.

mod aiperf;
mod azure;
mod bailian;
mod burstgpt;
mod claude;
mod detect;
mod generate;
mod guidellm;
mod inference_perf;
mod mooncake;
mod otel;
mod read;
mod record;
mod text;
mod time;
mod timeline;
mod weka;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use slotwise::{BlockHash, Instant, Rng};

pub use generate::{Mix, single_requests};
pub use read::TraceError;
pub(crate) use read::{csv_error, read};

/// A workload.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its name.
    pub name: String,
    /// Tokens in a prefix block.
    pub block_tokens: u32,
    /// Sessions; sub-agents are sessions that another one spawns.
    pub sessions: Vec<Session>,
    /// The times at which sessions begin.
    pub arrivals: Arrivals,
}

/// A conversation, or a single request.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Its requests, in order.
    pub turns: Vec<Turn>,
    /// Sub-agents: after how many turns have been sent, how much later, and which session begins.
    pub spawns: Vec<Spawn>,
    /// Whether another session spawns it, so that it has no arrival of its own.
    pub spawned: bool,
    /// How long after the session's first request each turn is sent at the earliest, on the trace's
    /// clock: a turn waits for this and for the one before it. Turns beyond the list wait only for
    /// the one before.
    pub due: Vec<Duration>,
}

/// A sub-agent that begins beside its parent.
#[derive(Clone, Copy, Debug)]
pub struct Spawn {
    /// The parent's turn with which it begins.
    pub turn: usize,
    /// How much later.
    pub delay: Duration,
    /// The session that begins.
    pub session: usize,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Time since the end of the turn before.
    pub think: Duration,
    /// Tokens of the prompt.
    pub input: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// The prompt's full blocks: equal for equal prefixes.
    pub blocks: Arc<[BlockHash]>,
    /// Its LoRA adapter.
    pub adapter: Option<u32>,
}

/// The times at which sessions begin.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// At recorded times, in seconds, one for each session. They were rounded down to multiples of
    /// `quantum` seconds: each seed spreads them anew.
    Recorded {
        /// The times.
        seconds: Vec<f64>,
        /// The rounding.
        quantum: f64,
    },
    /// At random, in an order and with gaps that each seed draws anew: this many sessions a second
    /// at speed 1.
    Poisson(f64),
    /// The same, of a trace that has no pace of its own: the speed is in sessions a second.
    Sessions,
}

impl Trace {
    /// Reads a trace file, plain or gzipped, or a folder of JSON files. Without a format, it is
    /// detected from the content.
    ///
    /// # Errors
    ///
    /// With the file, the line and the reason, when the file cannot be read or a line makes no
    /// sense.
    pub fn read(path: &Path, format: Option<Format>) -> Result<Self, TraceError> {
        if let Some(format @ Format::Builtin(_)) = format {
            return Err(TraceError::whole(path, format!("{format} is built in: it reads no file")));
        }
        let sources = read::sources(path)?;
        let Some(first) = sources.first() else {
            return Err(TraceError::whole(path, "the folder is empty"));
        };
        let format = match format {
            Some(format) => format,
            None => detect::detect(first)?,
        };
        let documents = || {
            let documents: Result<Vec<_>, _> = sources.iter().map(read::documents).collect();
            documents.map(|documents| documents.into_iter().flatten().collect::<Vec<_>>())
        };
        let mut trace = match format {
            Format::Azure => azure::parse(first),
            Format::BurstGpt => burstgpt::parse(first),
            Format::Mooncake => mooncake::parse(&documents()?),
            Format::ClaudeCode => claude::parse(&documents()?),
            Format::Bailian => bailian::parse(&documents()?),
            Format::AiPerf => aiperf::parse(&documents()?),
            Format::GuideLlm => guidellm::parse(&documents()?),
            Format::InferencePerf => inference_perf::parse(&documents()?),
            Format::Weka => weka::parse(&documents()?),
            Format::Otel | Format::Builtin(_) => otel::parse(&documents()?),
        }?;
        if trace.requests() == 0 {
            return Err(TraceError::whole(path, "it has no requests"));
        }
        let file =
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        trace.name = file.trim_end_matches(".gz").to_owned();
        Ok(trace)
    }

    /// A workload from the seeded generator.
    pub fn generate(mix: Mix, seed: u64) -> Self {
        generate::generate(mix, seed)
    }

    /// Only the first `limit` requests: whole sessions with their sub-agents, the last ones cut.
    pub fn truncate(&mut self, limit: usize) {
        let mut left = limit;
        for session in 0..self.sessions.len() {
            if !self.sessions[session].spawned {
                left = self.truncate_session(session, left);
            }
        }
    }

    /// Cuts a session to `left` requests, then its sub-agents to what is left of these.
    fn truncate_session(&mut self, session: usize, mut left: usize) -> usize {
        let turns = self.sessions[session].turns.len().min(left);
        self.sessions[session].turns.truncate(turns);
        left -= turns;
        for spawn in self.sessions[session].spawns.clone() {
            left = self.truncate_session(spawn.session, if spawn.turn < turns { left } else { 0 });
        }
        let begun: Vec<bool> =
            self.sessions.iter().map(|session| !session.turns.is_empty()).collect();
        self.sessions[session].spawns.retain(|spawn| begun[spawn.session]);
        left
    }

    /// Keeps the first or the second half of the sessions, with their sub-agents. Tuning on one
    /// half and reporting the other shows what a choice is worth on unseen requests.
    pub fn keep(&mut self, half: Half) {
        let roots: Vec<usize> =
            (0..self.sessions.len()).filter(|session| !self.sessions[*session].spawned).collect();
        let (first, second) = roots.split_at(roots.len() / 2);
        let (kept, dropped) = match half {
            Half::First => (first, second),
            Half::Second => (second, first),
        };
        for session in dropped {
            self.truncate_session(*session, 0);
        }
        if let Arrivals::Recorded { seconds, .. } = &mut self.arrivals {
            let begin = kept.iter().map(|session| seconds[*session]).fold(f64::INFINITY, f64::min);
            seconds.iter_mut().for_each(|at| *at -= begin);
        }
    }

    /// The requests of all sessions.
    pub fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.turns.len()).sum()
    }

    /// When each session begins, at `speed` times the trace's own pace: (time, session), in order
    /// of time.
    pub fn schedule(&self, speed: f64, seed: u64) -> Vec<(Instant, usize)> {
        let mut rng = Rng::new(seed ^ 0x5eed_0fa2);
        let mut sessions: Vec<usize> =
            (0..self.sessions.len()).filter(|s| self.begins(*s)).collect();
        let at = |seconds: f64| Instant::ORIGIN + Duration::from_secs_f64(seconds / speed);
        match &self.arrivals {
            Arrivals::Recorded { seconds, quantum } => {
                let mut schedule: Vec<_> = sessions
                    .iter()
                    .map(|session| (at(seconds[*session] + rng.unit() * quantum), *session))
                    .collect();
                schedule.sort_unstable();
                schedule
            }
            Arrivals::Poisson(_) | Arrivals::Sessions => {
                let rate = if let Arrivals::Poisson(rate) = self.arrivals { rate } else { 1.0 };
                for i in (1..sessions.len()).rev() {
                    sessions.swap(i, rng.below(i as u64 + 1) as usize);
                }
                let gap = |now: &mut f64, session| {
                    *now -= (1.0 - rng.unit()).ln() / rate;
                    Some((at(*now), session))
                };
                sessions.into_iter().scan(0.0, gap).collect()
            }
        }
    }

    /// Gives each session one of `count` LoRA adapters, the first the most popular (Zipf with this
    /// exponent; zero makes them equally popular). Each seed draws anew.
    pub fn assign_adapters(&mut self, count: u32, exponent: f64, seed: u64) {
        let (mut rng, ranks) = (Rng::new(0x10a5 ^ seed), Zipf::new(u64::from(count), exponent));
        for session in &mut self.sessions {
            let adapter = ranks.draw(&mut rng) as u32;
            for turn in &mut session.turns {
                turn.adapter = Some(adapter);
                // Equal text under different adapters shares no cache.
                turn.blocks =
                    turn.blocks.iter().map(|hash| block(u64::from(adapter) + 1, hash.0)).collect();
            }
        }
    }

    fn begins(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        !session.spawned && !session.turns.is_empty()
    }
}

/// A half of a workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Half {
    /// The sessions that begin first.
    First,
    /// The others.
    Second,
}

impl FromStr for Half {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "first" => Ok(Self::First),
            "second" => Ok(Self::Second),
            _ => Err(format!("{name:?} is neither first nor second")),
        }
    }
}

/// A trace format, or one of the built-in workloads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Mooncake's JSONL: `timestamp` in ms, `input_length`, `output_length`, `hash_ids` of
    /// 512-token blocks; and what aiperf adds: `session_id` with `delay` in ms, `text_input`,
    /// `messages`, `payload`.
    Mooncake,
    /// Azure's CSV: `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`; no prefixes.
    Azure,
    /// BurstGPT's CSV: `Timestamp` in s, `Request tokens`, `Response tokens`; no prefixes.
    BurstGpt,
    /// Sessions of a coding agent as JSONL, with think times and sub-agents.
    ClaudeCode,
    /// Qwen-Bailian's JSONL: `chat_id`, `parent_chat_id`, `timestamp` in s, lengths, `hash_ids` of
    /// 16-token blocks.
    Bailian,
    /// Weka's sessions of coding agents as JSON, with pauses, sub-agents and `hash_ids`.
    Weka,
    /// OpenTelemetry's GenAI spans, as OTLP JSON or in lists.
    Otel,
    /// What aiperf measured: `profile_export.jsonl`.
    AiPerf,
    /// What guidellm measured: `benchmarks.json`.
    GuideLlm,
    /// What inference-perf measured: `per_request_lifecycle_metrics.json`.
    InferencePerf,
    /// The generator.
    Builtin(Mix),
}

/// Every format and its name.
const FORMATS: [(&str, Format); 14] = [
    ("mooncake", Format::Mooncake),
    ("azure", Format::Azure),
    ("burstgpt", Format::BurstGpt),
    ("claude-code", Format::ClaudeCode),
    ("bailian", Format::Bailian),
    ("weka", Format::Weka),
    ("otel", Format::Otel),
    ("aiperf", Format::AiPerf),
    ("guidellm", Format::GuideLlm),
    ("inference-perf", Format::InferencePerf),
    ("mixed", Format::Builtin(Mix::Mixed)),
    ("chat", Format::Builtin(Mix::Chat)),
    ("agents", Format::Builtin(Mix::Agents)),
    ("no-reuse", Format::Builtin(Mix::NoReuse)),
];

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        FORMATS.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format).ok_or_else(
            || {
                let known: Vec<_> = FORMATS.iter().map(|(known, _)| *known).collect();
                format!(
                    "no format is called {name:?}; known are {} (the last four are built in)",
                    known.join(", ")
                )
            },
        )
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FORMATS.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A workload of recorded calls, which begin when they did; each list is one client's.
fn recorded(clients: impl Iterator<Item = Vec<timeline::Call>>, block_tokens: u32) -> Trace {
    let mut sessions = Vec::new();
    let mut starts: Vec<(usize, i64)> = Vec::new();
    for calls in clients {
        let made = timeline::add(calls, &mut sessions);
        starts.extend(made.and_then(|made| Some((made.session, *made.starts.first()?))));
    }
    let first = starts.iter().map(|(_, start)| *start).min().unwrap_or(0);
    // Sessions that another one spawns have no time of their own.
    let mut seconds = vec![0.0; sessions.len()];
    for (session, start) in starts {
        seconds[session] = timeline::between(first, start).as_secs_f64();
    }
    Trace {
        name: String::new(),
        block_tokens,
        sessions,
        arrivals: Arrivals::Recorded { seconds, quantum: 0.0 },
    }
}

/// What an adapter is called on the wire.
pub(crate) fn adapter_name(adapter: u32) -> String {
    format!("adapter-{adapter}")
}

/// The adapter of that name.
#[cfg(test)]
pub(crate) fn adapter_number(name: &str) -> Option<u32> {
    name.strip_prefix("adapter-")?.parse().ok()
}

/// Ranks, each the less likely the higher.
struct Zipf {
    weights: Vec<f64>,
    total: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let weights: Vec<f64> =
            (1..=count).map(|rank| 1.0 / (rank as f64).powf(exponent)).collect();
        let total = weights.iter().sum();
        Self { weights, total }
    }

    /// A rank below the count.
    fn draw(&self, rng: &mut Rng) -> u64 {
        let mut left = rng.unit() * self.total;
        let last = self.weights.len().saturating_sub(1);
        let rank = self.weights[..last].iter().position(|weight| {
            left -= weight;
            left <= 0.0
        });
        rank.unwrap_or(last) as u64
    }
}

/// A rank below `count` (Zipf with exponent 1).
fn zipf(rng: &mut Rng, count: u64) -> u64 {
    Zipf::new(count, 1.0).draw(rng)
}

/// The hash of a block that a trace calls `id` in the space `space`.
fn block(space: u64, id: u64) -> BlockHash {
    let mut rng = Rng::new(space.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ id);
    BlockHash(rng.next_u64())
}
