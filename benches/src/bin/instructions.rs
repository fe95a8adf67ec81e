//! Fixed amounts of the benchmarks' work, for `benches/instructions.sh`, which counts instructions.
//!
//! `instructions WORKLOAD` prepares one workload, runs it in [`measured`], the only function in
//! which callgrind collects, and prints the number of operations. Without an argument it lists the
//! workloads.

use std::hint::black_box;

use slotwise::Request;
use slotwise_benches::{FullQueue, LoadedPool, ProfilePool, Prompt, prompts};

const PROMPTS: usize = 2_000;
const TEXT_BYTES: usize = 8 << 10;
const TOKENS: usize = 2_000;
const PROFILE_DECISIONS: usize = 1_000;
const QUEUED: usize = 5_000;

/// Prepares, runs the work in [`measured`] and returns the number of operations.
type Workload = fn() -> usize;

const WORKLOADS: [(&str, Workload); 11] = [
    ("pick/text/64", || pick(64, Prompt::as_text)),
    ("pick/text/1024", || pick(1_024, Prompt::as_text)),
    ("pick/tokens/64", || pick(64, Prompt::as_tokens)),
    ("pick/tokens/1024", || pick(1_024, Prompt::as_tokens)),
    ("profile/5", || profile(5)),
    ("profile/25", || profile(25)),
    ("profile/100", || profile(100)),
    ("profile/1024", || profile(1_024)),
    ("flow/submit", submit),
    ("flow/submit_and_cancel", submit_and_cancel),
    ("flow/poll_decision", poll_decision),
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let workload = WORKLOADS.iter().find(|(known, _)| *known == name);
    let (_, workload) = workload.expect("a workload of the list that `instructions` prints");
    println!("{}", workload());
}

/// Callgrind collects in this function alone: `--toggle-collect`.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    black_box(work)();
}

/// Decisions in a pool that has served each of the prompts once.
fn pick(endpoints: usize, to_request: fn(&Prompt) -> Request<'_>) -> usize {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut pool = LoadedPool::new(endpoints, &prompts, to_request);
    measured(&mut || {
        for prompt in &prompts {
            black_box(pool.serve(&to_request(prompt)));
        }
    });
    PROMPTS
}

/// Decisions by a scheduling profile, without the ends of the requests.
fn profile(endpoints: usize) -> usize {
    let mut pool = ProfilePool::new(endpoints);
    pool.decide_in(PROFILE_DECISIONS as u64, measured);
    PROFILE_DECISIONS
}

fn submit() -> usize {
    let mut queue = FullQueue::new(QUEUED);
    measured(&mut || {
        for _ in 0..QUEUED {
            black_box(queue.submit());
        }
    });
    QUEUED
}

fn submit_and_cancel() -> usize {
    let mut queue = FullQueue::new(QUEUED);
    measured(&mut || (0..QUEUED).for_each(|_| queue.submit_and_cancel()));
    QUEUED
}

fn poll_decision() -> usize {
    let mut queue = FullQueue::new(QUEUED);
    measured(&mut || assert_eq!(black_box(queue.dispatch_all()), QUEUED));
    QUEUED
}
