//! Requests: from a body to what a scheduler needs to know of it, and a body with another model.
//!
//! Bodies are written once and then read again and again by one reader, as a gateway's thread does.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise_benches::{KEYS, SENTENCE, agent, blocks, many_messages, prose, token_ids};
use slotwise_wire::request::{Api, RequestReader, rewrite_model};

const CHINESE: &str = "调度器在做出决定之前会查看每个端点的队列、缓存和适配器。";

fn one_string(sentence: &str, newline: &str, bytes: usize) -> String {
    format!(
        r#"{{{KEYS},"messages":[{{"role":"user","content":"{}"}}]}}"#,
        prose(sentence, newline, bytes)
    )
}

fn request(criterion: &mut Criterion) {
    for (size, bytes) in [("8 KB", 8_192), ("1 MB", 1 << 20)] {
        let chat = Api::ChatCompletions;
        let bodies = [
            ("agent", chat, agent(bytes)),
            ("blocks", Api::Messages, blocks(bytes)),
            ("one string", chat, one_string(SENTENCE, "", bytes)),
            ("one string with a newline a sentence", chat, one_string(SENTENCE, r"\n", bytes)),
            ("many small messages", chat, many_messages(bytes)),
            ("chinese", chat, one_string(CHINESE, "", bytes)),
            (
                "plain prompt",
                Api::Completions,
                format!(r#"{{{KEYS},"prompt":"{}"}}"#, prose(SENTENCE, "", bytes)),
            ),
            ("token ids", Api::Completions, token_ids(bytes)),
        ];
        let mut group = criterion.benchmark_group(format!("wire request/{size}"));
        for (name, api, body) in &bodies {
            group.throughput(Throughput::Bytes(body.len() as u64));
            let mut reader = RequestReader::new();
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    let view = reader.read(*api, black_box(body.as_bytes())).expect("valid");
                    black_box(view.prompts)
                });
            });
        }
        let agent = &bodies[0].2;
        group.bench_function("rewrite the model of an agent", |bencher| {
            bencher.iter(|| {
                rewrite_model(black_box(agent.as_bytes()), "llama-3.1-8b-lora").expect("valid")
            });
        });
        // How much of it all is finding out whether it is UTF-8.
        for (name, at) in [("utf-8 alone, one string", 2), ("utf-8 alone, chinese", 5)] {
            let body = &bodies[at].2;
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    core::str::from_utf8(black_box(body.as_bytes())).expect("valid").len()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, request);
criterion_main!(benches);
