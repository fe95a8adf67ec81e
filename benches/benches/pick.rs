//! A whole decision: hash, look up, find the best endpoint, reserve, note what the cache will hold, and the end of an older
//! request. Half of each prompt is one of eight shared beginnings.
//!
//! The large pools show what the search alone costs: on idle ones, where everybody ties, prompts of a few tokens that end at once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise::Request;
use slotwise_benches::{Gateway, Prompt, prompts};

/// Requests between two equal prompts: the caches have seen each of them, not just the last.
const PROMPTS: usize = 2_000;
const TEXT_BYTES: usize = 8 << 10;
const TOKENS: usize = 2_000;
const LARGE: usize = 65_000;
const MODEL: &str = "llama-3.1-8b";

fn text(prompt: &Prompt) -> Request<'_> {
    Request::new(MODEL).text(&prompt.text)
}

fn tokens(prompt: &Prompt) -> Request<'_> {
    Request::new(MODEL).tokens(&prompt.tokens)
}

fn pick(criterion: &mut Criterion) {
    pick_as(criterion, "8 KB of text", text);
    pick_as(criterion, "2,000 tokens", tokens);
}

fn pick_as(criterion: &mut Criterion, form: &str, ask: fn(&Prompt) -> Request<'_>) {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut group = criterion.benchmark_group(format!("pick/{form}"));
    for endpoints in [8, 64, 1_024, LARGE] {
        let mut gateway = Gateway::new(endpoints, &prompts, ask);
        let mut next = prompts.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| black_box(gateway.serve(&ask(next.next().expect("a cycle")))));
        });
    }
    group.finish();
}

/// Prompts of 32 tokens that nobody has seen, on idle endpoints; alone, and behind 1,024 tokens that all of them hold.
fn idle(criterion: &mut Criterion) {
    let system: Vec<u32> = (0..1_024).collect();
    for (name, shared) in [("idle", &system[..0]), ("idle, 1,024 tokens shared by all", &system)] {
        let mut group = criterion.benchmark_group(format!("pick/{name}"));
        for endpoints in [64, 1_024, LARGE] {
            let mut gateway = Gateway::sharing(endpoints, MODEL, shared);
            let mut prompt = [shared, &[0; 32]].concat();
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter(|| {
                    prompt[shared.len()] += 1;
                    black_box(gateway.serve(&Request::new(MODEL).tokens(&prompt)))
                });
            });
        }
        group.finish();
    }
}

/// Two changes of one endpoint of an idle pool.
fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("close and open");
    for endpoints in [64, 1_024, LARGE] {
        let mut gateway = Gateway::idle(endpoints);
        let mut next = (0..endpoints as u64).cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| gateway.close_and_open(next.next().expect("a cycle")));
        });
    }
    group.finish();
}

fn explain(criterion: &mut Criterion) {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let gateway = Gateway::new(64, &prompts, tokens);
    let mut next = prompts.iter().cycle();
    criterion.bench_function("explain/2,000 tokens/64", |bencher| {
        bencher.iter(|| black_box(gateway.explain(&tokens(next.next().expect("a cycle")))));
    });
}

criterion_group!(benches, pick, idle, update, explain);
criterion_main!(benches);
