//! A whole decision: hash, look up, weigh every endpoint, reserve, note what the cache will hold, and the end of an older
//! request. Half of each prompt is one of eight shared beginnings.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise::Request;
use slotwise_benches::{Gateway, Prompt, prompts};

/// Requests between two equal prompts: the caches have seen each of them, not just the last.
const PROMPTS: usize = 2_000;
const TEXT_BYTES: usize = 8 << 10;
const TOKENS: usize = 2_000;

fn text(prompt: &Prompt) -> Request<'_> {
    Request::new("llama-3.1-8b").text(&prompt.text)
}

fn tokens(prompt: &Prompt) -> Request<'_> {
    Request::new("llama-3.1-8b").tokens(&prompt.tokens)
}

fn pick(criterion: &mut Criterion) {
    pick_as(criterion, "8 KB of text", text);
    pick_as(criterion, "2,000 tokens", tokens);
}

fn pick_as(criterion: &mut Criterion, form: &str, ask: fn(&Prompt) -> Request<'_>) {
    let prompts = prompts(PROMPTS, TEXT_BYTES, TOKENS, 1);
    let mut group = criterion.benchmark_group(format!("pick/{form}"));
    for endpoints in [8, 64, 1_024] {
        let mut gateway = Gateway::new(endpoints, &prompts, ask);
        let mut next = prompts.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| black_box(gateway.serve(&ask(next.next().expect("a cycle")))));
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

criterion_group!(benches, pick, explain);
criterion_main!(benches);
