//! Bytes as clients and engines send them.

/// A metrics page of vLLM 0.32 under load, 64 KB.
pub const METRICS_PAGE: &str = include_str!(
    "../../crates/wire/tests/fixtures/vllm-0.32/default/metrics/metrics_under_load.txt"
);

/// The body of a chat completion of at least this many bytes: questions, tool calls and their
/// results.
pub fn chat_body(bytes: usize) -> String {
    let sentence = "The scheduler compares queues, caches and adapters before it decides. ";
    let result = format!(r"{}\n", sentence.repeat(6));
    let turn = format!(
        r#"{{"role":"user","content":"{sentence}"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"search","arguments":"{{\"path\": \"src/lib.rs\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_1","content":"{result}"}}"#
    );
    let turns = vec![&*turn; bytes / turn.len() + 1].join(",");
    format!(r#"{{"model":"llama-3.1-8b","stream":true,"max_tokens":512,"messages":[{turns}]}}"#)
}
