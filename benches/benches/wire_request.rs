//! Requests: from a body to what a scheduler needs to know of it, and a body with another model.
//!
//! Bodies are written once and then read again and again by one reader, as a gateway's thread does.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise_wire::request::{Api, RequestReader, rewrite_model};

const SENTENCE: &str =
    "The scheduler looks at every endpoint's queue, its cache and its adapters before it decides. ";
const CHINESE: &str = "调度器在做出决定之前会查看每个端点的队列、缓存和适配器。";
const KEYS: &str = r#""model":"llama-3.1-8b","temperature":0.7,"stream":true,"stream_options":{"include_usage":true},"max_tokens":512"#;

/// JSON text of about so many bytes. `newline` is what stands after every sentence.
fn prose(sentence: &str, newline: &str, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(sentence);
        text.push_str(newline);
    }
    text
}

/// An agent: tools, a long system prompt, and turns with calls and their results. Tools stand after
/// the messages, as clients write them.
fn agent(bytes: usize) -> String {
    let tool = |number: usize| {
        format!(
            r#"{{"type":"function","function":{{"name":"tool_{number}","description":"{}","parameters":{{"type":"object","properties":{{"path":{{"type":"string","description":"Where to look"}},"limit":{{"type":"integer","description":"How many at the most"}}}},"required":["path"]}}}}}}"#,
            prose(SENTENCE, "", 160)
        )
    };
    let tools: Vec<_> = (0..(bytes / 4_000).clamp(2, 12)).map(tool).collect();
    let system = prose(SENTENCE, r"\n", (bytes / 5).min(12_000));
    let mut messages = format!(r#"{{"role":"system","content":"{system}"}}"#);
    let mut turn = 0;
    while messages.len() + tools.iter().map(String::len).sum::<usize>() + 400 < bytes {
        turn += 1;
        messages.push_str(&format!(
            r#",{{"role":"user","content":"Step {turn}. {}"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{turn}","type":"function","function":{{"name":"tool_1","arguments":"{{\"path\": \"src/lib.rs\", \"limit\": {turn}}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{turn}","content":"{}"}},{{"role":"assistant","content":"{}"}}"#,
            prose(SENTENCE, "", 100), prose(SENTENCE, r"\n", (bytes / 12).min(3_000)), prose(SENTENCE, r"\n\n", 400.min(bytes / 20)),
        ));
    }
    format!(r#"{{{KEYS},"messages":[{messages}],"tools":[{}]}}"#, tools.join(","))
}

/// The same length as parts with cache marks, as Anthropic's clients write them.
fn blocks(bytes: usize) -> String {
    let mut messages = String::new();
    let mut turn = 0;
    while messages.len() < bytes {
        let comma = if turn == 0 { "" } else { "," };
        turn += 1;
        messages.push_str(&format!(
            r#"{comma}{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_{turn}","content":[{{"type":"text","text":"{}"}}]}},{{"type":"text","text":"Go on","cache_control":{{"type":"ephemeral"}}}}]}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"{}","signature":"c2ln"}},{{"type":"tool_use","id":"toolu_{turn}","name":"bash","input":{{"command":"ls -la"}}}}]}}"#,
            prose(SENTENCE, r"\n", 1_500), prose(SENTENCE, r"\n", 200),
        ));
    }
    format!(
        r#"{{"model":"claude","max_tokens":512,"system":[{{"type":"text","text":"You are an agent.","cache_control":{{"type":"ephemeral"}}}}],"messages":[{messages}]}}"#
    )
}

fn one_string(sentence: &str, newline: &str, bytes: usize) -> String {
    format!(
        r#"{{{KEYS},"messages":[{{"role":"user","content":"{}"}}]}}"#,
        prose(sentence, newline, bytes)
    )
}

fn many_messages(bytes: usize) -> String {
    let message = r#"{"role":"user","content":"Yes, go on."},{"role":"assistant","content":"Here is the next one."}"#;
    format!(r#"{{{KEYS},"messages":[{}]}}"#, vec![message; bytes / (message.len() + 1)].join(","))
}

fn token_ids(bytes: usize) -> String {
    let ids: Vec<_> = (0..bytes / 7).map(|id| (10_000 + id * 7_919 % 90_000).to_string()).collect();
    format!(r#"{{{KEYS},"prompt":[{}]}}"#, ids.join(", "))
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
