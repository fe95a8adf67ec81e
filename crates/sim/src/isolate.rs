//! What one long request costs the short ones beside it.
//!
//! Short requests arrive at random; a prompt of 100,000 tokens or an answer of half an hour joins
//! them once. A second comparison, *closed*, sends nothing long but closes one replica for as long
//! as the prompt's prefill lasts: the least that the short requests can lose to an engine that
//! computes the prompt without interruption.

use std::fmt::Write as _;
use std::time::Duration;

use rayon::prelude::*;
use serde::Serialize;
use slotwise::{Instant, Rng};

use crate::compare::progress;
use crate::curve::setup;
use crate::fleet::{Record, Setup, fleet_of, simulate, simulate_with};
use crate::measure::{percentile, sorted};
use crate::policy::{PolicyKind, closed_for};
use crate::replica::Class;
use crate::trace::{Arrivals, Session, Trace, Turn};

/// The fleet and its load.
#[derive(Clone, Debug)]
pub struct Load {
    /// The class of all replicas.
    pub class: Class,
    /// Replicas.
    pub replicas: usize,
    /// Short requests a second.
    pub rate: f64,
    /// Short requests.
    pub requests: usize,
    /// Tokens in an engine's step (`max_num_batched_tokens`).
    pub batched_tokens: u32,
}

/// The time to first token of the short requests under one policy, 99th percentile in seconds,
/// with each seed.
#[derive(Clone, Debug, Serialize)]
pub struct Isolation {
    /// The policy.
    pub policy: &'static str,
    /// Short requests a second.
    pub rate: f64,
    /// Without a long request.
    pub without_s: Vec<f64>,
    /// With the long prompt.
    pub prompt_s: Vec<f64>,
    /// With the long answer.
    pub answer_s: Vec<f64>,
    /// With one replica closed for the time of the long prompt. Only of slotwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed_s: Vec<f64>,
    /// How long the prefill of the prompt took, in seconds.
    pub prefill_s: Vec<f64>,
}

/// Tokens of the long prompt.
const PROMPT: u32 = 100_000;
/// Tokens of the long answer: half an hour at 25 ms a token.
const ANSWER: u32 = 70_000;
/// When the long request joins, as a share of the arrivals' time.
const JOINS: f64 = 0.3;
/// Tokens of a block.
const BLOCK: u32 = 64;

/// Measures each policy.
pub fn isolation(load: &Load, policies: &[PolicyKind], seeds: u64) -> Vec<Isolation> {
    let bar = progress(policies.len() as u64 * seeds, "runs");
    let rows = policies.par_iter().map(|kind| {
        let runs: Vec<Run> = (1..=seeds)
            .into_par_iter()
            .map(|seed| {
                let run = Run::new(load, kind, seed);
                bar.inc(1);
                run
            })
            .collect();
        let of = |read: fn(&Run) -> f64| runs.iter().map(read).collect::<Vec<f64>>();
        Isolation {
            policy: kind.name,
            rate: load.rate,
            without_s: of(|run| run.without),
            prompt_s: of(|run| run.prompt),
            answer_s: of(|run| run.answer),
            closed_s: runs.iter().filter_map(|run| run.closed).collect(),
            prefill_s: of(|run| run.prefill),
        }
    });
    let rows = rows.collect();
    bar.finish_and_clear();
    rows
}

/// The 99th percentiles of one seed.
struct Run {
    without: f64,
    prompt: f64,
    answer: f64,
    closed: Option<f64>,
    prefill: f64,
}

impl Run {
    fn new(load: &Load, kind: &PolicyKind, seed: u64) -> Self {
        let joins = load.requests as f64 / load.rate * JOINS;
        let shorts = short_requests(load, seed);
        let setup = {
            let setup = setup(load.class, load.replicas, 1.0, seed);
            let engine = crate::replica::EngineConfig {
                max_batched_tokens: load.batched_tokens,
                ..setup.engine
            };
            Setup { engine, ..setup }
        };
        let with = |input, output| simulate(&beside(&shorts, joins, input, output), &setup, kind);
        let prompt = with(PROMPT, 64);
        let long = prompt.requests.iter().find(|request| request.input == PROMPT);
        let prefill = long.and_then(|request| request.ttft()).unwrap_or(0.0);
        let closed = (kind.name == "slotwise").then(|| {
            let from = Instant::ORIGIN + Duration::from_secs_f64(joins);
            let until = from + Duration::from_secs_f64(prefill);
            let policy = closed_for(&fleet_of(&shorts, &setup), from, until);
            p99(&simulate_with(&shorts, &setup, policy))
        });
        Self {
            without: p99(&simulate(&shorts, &setup, kind)),
            prompt: p99(&prompt),
            answer: p99(&with(64, ANSWER)),
            closed,
            prefill,
        }
    }
}

/// 200 to 1,200 tokens a prompt and 50 to 200 an answer, at random times.
fn short_requests(load: &Load, seed: u64) -> Trace {
    let mut rng = Rng::new(seed ^ 0x150);
    let mut between = |least: f64, most: f64| (least + rng.unit() * (most - least)) as u32;
    let sessions =
        (0..load.requests).map(|_| single(between(200.0, 1_200.0), between(50.0, 200.0))).collect();
    let mut now = 0.0;
    let mut times = Rng::new(seed ^ 0x151);
    let seconds = (0..load.requests)
        .map(|_| {
            now -= (1.0 - times.unit()).ln() / load.rate;
            now
        })
        .collect();
    Trace {
        name: "short requests".into(),
        block_tokens: BLOCK,
        sessions,
        arrivals: Arrivals::Recorded { seconds, quantum: 0.0 },
    }
}

/// The same with one more request.
fn beside(shorts: &Trace, at: f64, input: u32, output: u32) -> Trace {
    let mut trace = shorts.clone();
    trace.sessions.push(single(input, output));
    if let Arrivals::Recorded { seconds, .. } = &mut trace.arrivals {
        seconds.push(at);
    }
    trace
}

fn single(input: u32, output: u32) -> Session {
    let turn = Turn { think: Duration::ZERO, input, output, blocks: [].into(), adapter: None };
    Session { turns: vec![turn], ..Session::default() }
}

/// The 99th percentile of the short requests' time to first token.
fn p99(record: &Record) -> f64 {
    let shorts = record.requests.iter().filter(|it| it.input < PROMPT && it.output < ANSWER);
    percentile(&sorted(shorts.filter_map(|request| request.ttft())), 0.99)
}

/// A table for the terminal: medians over the seeds, with the least and the greatest increase.
pub fn table(rows: &[Isolation]) -> String {
    let mut table = format!(
        "{:<16} {:>7} {:>9} {:>22} {:>22} {:>22} {:>8}\n",
        "policy", "rate", "without", "prompt", "answer", "closed", "prefill"
    );
    for row in rows {
        let _ =
            write!(table, "{:<16} {:>7.0} {:>8.3}s", row.policy, row.rate, median(&row.without_s));
        for with in [&row.prompt_s, &row.answer_s, &row.closed_s] {
            let _ = write!(table, " {:>22}", increase(&row.without_s, with));
        }
        let _ = writeln!(table, " {:>7.1}s", median(&row.prefill_s));
    }
    table
}

/// The median, and the range of the increases seed by seed.
fn increase(without: &[f64], with: &[f64]) -> String {
    if with.is_empty() {
        return "-".into();
    }
    let increases = || without.iter().zip(with).map(|(a, b)| (b / a - 1.0) * 100.0);
    let (least, most) =
        (increases().fold(f64::INFINITY, f64::min), increases().fold(f64::NEG_INFINITY, f64::max));
    format!("{:.3}s ({least:+.0}..{most:+.0}%)", median(with))
}

fn median(values: &[f64]) -> f64 {
    percentile(&sorted(values.iter().copied()), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prompt_blocks_round_robin_and_not_slotwise() {
        let class = "llama-70b-4xh100".parse().expect("known");
        let load = Load { class, replicas: 4, rate: 20.0, requests: 600, batched_tokens: 2_048 };
        let kinds = ["slotwise", "round-robin"].map(|name| PolicyKind::named(name).expect("known"));
        let rows = isolation(&load, &kinds, 1);
        assert!(rows[0].prompt_s[0] < 1.1 * rows[0].closed_s[0], "{rows:?}");
        assert!(rows[1].prompt_s[0] > 10.0 * rows[1].without_s[0], "{rows:?}");
        assert!(rows[0].closed_s.len() == 1 && rows[1].closed_s.is_empty());
    }
}
