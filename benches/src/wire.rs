//! Bytes as clients and engines send them.

/// A metrics page of vLLM 0.32 under load, 64 KB.
pub const METRICS_PAGE: &str = include_str!(
    "../../crates/wire/tests/fixtures/vllm-0.32/default/metrics/metrics_under_load.txt"
);

/// The same page as later scrapes show it: as many counters and gauges of another value as in
/// pages of one second.
pub fn later_metrics_pages(pages: u64) -> Vec<String> {
    let page = |number: u64| {
        let mut page = String::with_capacity(METRICS_PAGE.len() + 4_096);
        for (line, text) in (0..).zip(METRICS_PAGE.lines()) {
            match text.rsplit_once(' ') {
                // A third of the samples: the others did not change since.
                Some((sample, value)) if !text.starts_with('#') && line % 3 == 0 => {
                    let value: f64 = value.parse().expect("a number");
                    page += &format!("{sample} {:?}", value + (number * 37) as f64);
                }
                _ => page += text,
            }
            page.push('\n');
        }
        page
    };
    (1..=pages).map(page).collect()
}

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

/// The first sentence of prompts.
pub const SENTENCE: &str =
    "The scheduler looks at every endpoint's queue, its cache and its adapters before it decides. ";
/// Keys before the prompt.
pub const KEYS: &str = r#""model":"llama-3.1-8b","temperature":0.7,"stream":true,"stream_options":{"include_usage":true},"max_tokens":512"#;

/// JSON text of about so many bytes. `newline` stands after every sentence.
pub fn prose(sentence: &str, newline: &str, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(sentence);
        text.push_str(newline);
    }
    text
}

/// An agent: tools, a long system prompt, and turns with calls and their results. Tools stand after
/// the messages, as clients write them.
pub fn agent(bytes: usize) -> String {
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

/// Parts with cache marks, as Anthropic's clients write them.
pub fn blocks(bytes: usize) -> String {
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

/// Messages of a few words.
pub fn many_messages(bytes: usize) -> String {
    let message = r#"{"role":"user","content":"Yes, go on."},{"role":"assistant","content":"Here is the next one."}"#;
    format!(r#"{{{KEYS},"messages":[{}]}}"#, vec![message; bytes / (message.len() + 1)].join(","))
}

/// A prompt of token ids.
pub fn token_ids(bytes: usize) -> String {
    let ids: Vec<_> = (0..bytes / 7).map(|id| (10_000 + id * 7_919 % 90_000).to_string()).collect();
    format!(r#"{{{KEYS},"prompt":[{}]}}"#, ids.join(", "))
}
