//! A whole decision: hash, look up, find the best endpoint, reserve, note what its cache will hold;
//! and the end of an older request. The first half of each prompt is one of eight shared prefixes.
//!
//! Idle pools show what the search alone costs: all endpoints tie, and prompts of a few tokens end
//! at once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise::Request;
use slotwise_benches::{LoadedPool, MODEL, Prompt, prompts};

/// Requests between two equal prompts: caches hold all of them, not only the last.
const PROMPTS: usize = 2_000;
const TEXT_BYTES: usize = 8 << 10;
const TOKENS: usize = 2_000;
const LARGE: usize = 65_000;

fn pick(criterion: &mut Criterion) {
    pick_as(criterion, "8 KB of text", Prompt::as_text);
    pick_as(criterion, "2,000 tokens", Prompt::as_tokens);
}

fn pick_as(criterion: &mut Criterion, form: &str, to_request: fn(&Prompt) -> Request<'_>) {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut group = criterion.benchmark_group(format!("pick/{form}"));
    for endpoints in [8, 64, 1_024, LARGE] {
        let mut pool = LoadedPool::new(endpoints, &prompts, to_request);
        let mut next = prompts.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| black_box(pool.serve(&to_request(next.next().expect("a cycle")))));
        });
    }
    group.finish();
}

/// New prompts of 32 tokens on idle endpoints; alone, and behind 1,024 tokens that all caches hold.
fn idle(criterion: &mut Criterion) {
    let system: Vec<u32> = (0..1_024).collect();
    for (name, shared) in [("idle", &system[..0]), ("idle, 1,024 tokens shared by all", &system)] {
        let mut group = criterion.benchmark_group(format!("pick/{name}"));
        for endpoints in [64, 1_024, LARGE] {
            let mut pool = LoadedPool::sharing(endpoints, shared);
            let mut prompt = [shared, &[0; 32]].concat();
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter(|| {
                    prompt[shared.len()] += 1;
                    black_box(pool.serve(&Request::new(MODEL).tokens(&prompt)))
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
        let mut pool = LoadedPool::idle(endpoints);
        let mut next = (0..endpoints as u64).cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| pool.drain_and_resume(next.next().expect("a cycle")));
        });
    }
    group.finish();
}

fn explain(criterion: &mut Criterion) {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let pool = LoadedPool::new(64, &prompts, Prompt::as_tokens);
    let mut next = prompts.iter().cycle();
    criterion.bench_function("explain/2,000 tokens/64", |bencher| {
        bencher.iter(|| black_box(pool.explain(&next.next().expect("a cycle").as_tokens())));
    });
}

criterion_group!(benches, pick, idle, update, explain);
criterion_main!(benches);
