//! What aiperf, guidellm and inference-perf replay and write is read: sessions, pauses, lengths and
//! shared prefixes.

use std::fs;
use std::path::{Path, PathBuf};

use slotwise_sim::fleet::simulate;
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::trace::{Arrivals, Format, Trace};

mod support;

fn file(name: &str, text: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    fs::write(&path, text).expect("a temporary file");
    path
}

fn read(name: &str, text: &str) -> Trace {
    Trace::read(&file(name, text), None).unwrap_or_else(|error| panic!("{error}"))
}

/// Without the file's folder.
fn refused(name: &str, text: &str) -> String {
    let path = file(name, text);
    let error = Trace::read(&path, None).expect_err(name).to_string();
    error.replace(&path.display().to_string(), "FILE")
}

/// Each session's turns: pause in ms, tokens of the prompt and the answer, blocks.
fn turns(trace: &Trace) -> Vec<Vec<(u128, u32, u32, usize)>> {
    let turn = |turn: &slotwise_sim::trace::Turn| {
        (turn.think.as_millis(), turn.input, turn.output, turn.blocks.len())
    };
    trace.sessions.iter().map(|session| session.turns.iter().map(turn).collect()).collect()
}

fn begins(trace: &Trace) -> Vec<f64> {
    match &trace.arrivals {
        Arrivals::Recorded { seconds, quantum } if *quantum == 0.0 => seconds.clone(),
        other => panic!("recorded times as they are, not {other:?}"),
    }
}

#[test]
fn sessions_with_delays_are_closed_loops() {
    let trace = read(
        "sessions.jsonl",
        r#"{"session_id": "a", "timestamp": 5000, "input_length": 1024, "output_length": 4, "hash_ids": [1, 2]}
{"session_id": "b", "timestamp": 5500, "input_length": 600, "output_length": 2, "hash_ids": [1, 9]}
{"session_id": "a", "delay": 400, "input_length": 1530, "output_length": 4, "hash_ids": [1, 2, 3]}
{"session_id": "b", "timestamp": 9500, "input_length": 700, "output_length": 2, "hash_ids": [1, 9]}
"#,
    );
    let expected =
        vec![vec![(0, 1024, 4, 2), (400, 1530, 4, 2)], vec![(0, 600, 2, 1), (0, 700, 2, 1)]];
    assert_eq!(turns(&trace), expected);
    assert_eq!(begins(&trace), [0.0, 0.5]);
    assert_eq!(trace.sessions[0].turns[0].blocks, trace.sessions[0].turns[1].blocks);

    let kind = PolicyKind::named("round-robin").expect("known");
    let record = simulate(&trace, &support::setup(1), &kind);
    let ended = record.requests[0].finished.expect("answered");
    let arrivals: Vec<u64> =
        record.requests.iter().map(|request| request.arrived.as_micros()).collect();
    assert!(arrivals.contains(&(ended.as_micros() + 400_000)), "{arrivals:?}");
    assert!(
        arrivals.contains(&4_500_000),
        "a turn with a time of its own waits for it: {arrivals:?}"
    );
}

#[test]
fn sessions_without_times_begin_at_random() {
    let trace = read(
        "untimed.jsonl",
        r#"{"session_id": 7, "input_length": 300, "output_length": 40}
{"session_id": 7, "delay": 2.5, "input_length": 450, "output_length": 20}
"#,
    );
    assert!(matches!(trace.arrivals, Arrivals::Sessions));
    assert_eq!(trace.sessions[0].turns[1].think.as_micros(), 2_500);
    let mixed = refused(
        "mixed.jsonl",
        r#"{"session_id": "a", "timestamp": 0, "input_length": 300, "output_length": 40}
{"session_id": "b", "input_length": 300, "output_length": 40}
"#,
    );
    assert!(mixed.starts_with("FILE:2: missing field `timestamp`"), "{mixed}");
}

#[test]
fn prompts_without_ids_share_nothing_and_texts_share_their_beginnings() {
    let line = r#"{"timestamp": 0, "input_length": 1024, "output_length": 4}"#;
    let trace = read("plain.jsonl", line);
    assert_eq!((turns(&trace), begins(&trace)), (vec![vec![(0, 1024, 4, 0)]], vec![0.0]));

    let shared = "a long prompt that several requests have in common. ".repeat(20);
    let text = |at: u32, end: &str| {
        let prompt = format!("{shared}{end}");
        serde_json::json!({"timestamp": at, "text_input": prompt, "output_length": 3}).to_string()
    };
    let chat = |role: &str| {
        let messages = serde_json::json!([{"role": role, "content": shared}, {"role": "user", "content": "hi"}]);
        serde_json::json!({"timestamp": 9, "messages": messages, "output_length": 3}).to_string()
    };
    let body = serde_json::json!({"model": "m", "max_tokens": 8, "prompt": shared});
    let payload = serde_json::json!({"timestamp": 12, "payload": body}).to_string();
    let ids =
        r#"{"timestamp": 13, "input_length": 1040, "output_length": 4, "hash_ids": [1, 2, 3]}"#;
    let lines =
        [text(0, "one"), text(5, "two, longer"), chat("system"), chat("user"), payload, ids.into()];
    let trace = read("texts.jsonl", &lines.join("\n"));
    assert_eq!(trace.block_tokens, 16);
    let blocks: Vec<_> =
        trace.sessions.iter().map(|session| session.turns[0].blocks.clone()).collect();
    assert_eq!(trace.sessions[0].turns[0].input, (shared.len() as u32 + 3).div_ceil(4));
    assert!(blocks[0].len() == 16 && blocks[0][..] == blocks[1][..16]);
    assert_eq!(blocks[0][..16], blocks[4][..16], "the body's prompt is the same text");
    assert_eq!((trace.sessions[4].turns[0].output, blocks[5].len()), (8, 64));
    assert_ne!(blocks[2][0], blocks[3][0], "roles differ");
}

#[test]
fn errors_name_file_line_and_field_once() {
    for (bad, reason) in [
        (
            r#"{"input_length": "9", "output_length": 4}"#,
            "`input_length` is \"9\", expected a number of tokens",
        ),
        (
            r#"{"input_length": 9, "output_length": -4}"#,
            "`output_length` is -4, expected a number of tokens",
        ),
        (
            r#"{"input_length": 9, "output_length": 1, "hash_ids": [1.5]}"#,
            "`hash_ids` is an array of 1, expected",
        ),
        (r#"{"input_length": 9, "output_length": 1, "delay": -1}"#, "delay is -0.001, not a time"),
        (
            r#"{"input_length": 9, "text_input": "x", "output_length": 1}"#,
            "`input_length`, `text_input` exclude",
        ),
        (
            r#"{"text_input": "x", "hash_ids": [1], "output_length": 1}"#,
            "`hash_ids` goes with `input_length`",
        ),
        (r#"{"text_input": "", "output_length": 1}"#, "the prompt has no tokens"),
        (
            r#"{"messages": "x", "output_length": 1}"#,
            "`messages` is \"x\", expected an array of messages",
        ),
        (r#"{"output_length": 1}"#, "missing field `input_length`"),
        (r#"{"input_length": 9}"#, "missing field `output_length`"),
        (r#"[1]"#, "the line is an array of 1, expected a JSON object"),
        (r#"{"input_length": 9,"#, "EOF while parsing a value (column 19)"),
    ] {
        let good = r#"{"input_length": 9, "output_length": 4}"#;
        let error = refused("bad.jsonl", &format!("{good}\n\n{bad}\n{good}\n"));
        assert!(error.starts_with(&format!("FILE:3: {reason}")), "{error}");
        assert!(!error.contains(" line 1") && error.matches("FILE").count() == 1, "{error}");
    }
    let short =
        refused("short.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,7\n");
    assert_eq!(short, "FILE:2: the line has 2 columns, the header 3");
}

const MEASURED: &str = r#"{"metadata": {"session_num": 0, "x_correlation_id": "c1", "conversation_id": "a", "turn_index": 0, "request_start_ns": 1795907525000000000, "request_end_ns": 1795907526000000000, "benchmark_phase": "profiling", "was_cancelled": false}, "metrics": {"input_sequence_length": {"value": 100, "unit": "tokens"}, "output_sequence_length": {"value": 12, "unit": "tokens"}, "usage_prompt_tokens": {"value": 120, "unit": "tokens"}}}
{"metadata": {"session_num": 1, "x_correlation_id": "c2", "conversation_id": "a", "turn_index": 0, "request_start_ns": 1795907525500000000, "request_end_ns": 1795907525900000000, "benchmark_phase": "profiling"}, "metrics": {"usage_prompt_tokens": {"value": 50, "unit": "tokens"}, "usage_completion_tokens": {"value": 5.0, "unit": "tokens"}}}
{"metadata": {"session_num": 0, "x_correlation_id": "c1", "conversation_id": "a", "turn_index": 1, "request_start_ns": 1795907527250000000, "request_end_ns": 1795907528000000000, "benchmark_phase": "profiling"}, "metrics": {"input_sequence_length": {"value": 300, "unit": "tokens"}, "output_sequence_length": {"value": 9, "unit": "tokens"}}}
{"metadata": {"session_num": 2, "request_start_ns": 1, "request_end_ns": 2, "benchmark_phase": "profiling"}, "metrics": {}, "error": {"code": 500}}
{"metadata": {"session_num": 3, "request_start_ns": 1, "request_end_ns": 2, "benchmark_phase": "warmup"}, "metrics": {}}
"#;

#[test]
fn what_aiperf_measured_is_read() {
    let trace = read("profile_export.jsonl", MEASURED);
    assert_eq!(turns(&trace), [vec![(0, 100, 12, 0), (1250, 300, 9, 0)], vec![(0, 50, 5, 0)]]);
    assert_eq!(begins(&trace), [0.0, 0.5]);
    let error =
        refused("measured.jsonl", &MEASURED.replace("\"value\": 300", "\"value\": \"many\""));
    let field = "`metrics.input_sequence_length.value` is \"many\", expected a number of tokens";
    assert!(error.starts_with(&format!("FILE:3: {field}")), "{error}");
}

#[test]
fn what_guidellm_and_inference_perf_measured_is_read() {
    let prompt = "the same system prompt for all of the requests in here. ".repeat(4);
    let request = |chat: &str, start: f64, end: f64| {
        let args = serde_json::json!({"body": {"messages": [{"role": "user", "content": prompt}]}})
            .to_string();
        serde_json::json!({
            "info": {"conversation_id": chat}, "request_args": args, "request_start_time": start,
            "request_end_time": end, "prompt_tokens": 64, "output_tokens": 10, "input_metrics": {"text_tokens": 64},
        })
    };
    let successful = [
        request("a", 1.795e9, 1.795e9 + 1.0),
        request("a", 1.795e9 + 1.5, 1.795e9 + 2.0),
        request("b", 1.795e9 + 3.0, 1.795e9 + 4.0),
    ];
    let report = serde_json::json!({
        "metadata": {"version": 1},
        "benchmarks": [{"requests": {"successful": successful, "errored": [], "incomplete": []}}],
    });
    let trace = read("benchmarks.json", &serde_json::to_string_pretty(&report).expect("JSON"));
    assert_eq!(turns(&trace), [vec![(0, 64, 10, 3), (500, 64, 10, 3)], vec![(0, 64, 10, 3)]]);
    assert_eq!(begins(&trace), [0.0, 3.0]);
    assert_eq!(trace.sessions[0].turns[0].blocks, trace.sessions[1].turns[0].blocks);

    let entry = |start: f64, error: Option<u32>| {
        serde_json::json!({
            "start_time": start, "end_time": start + 0.5, "error": error,
            "request": serde_json::json!({"prompt": prompt, "max_tokens": 7}).to_string(),
            "info": {"request_metrics": {"text": {"input_tokens": 60}}, "response_metrics": {"output_tokens": 7}},
        })
    };
    let entries = serde_json::json!([entry(88.25, None), entry(88.5, None), entry(89.0, Some(1))]);
    let trace = read(
        "per_request_lifecycle_metrics.json",
        &serde_json::to_string_pretty(&entries).expect("JSON"),
    );
    assert_eq!(turns(&trace), [vec![(0, 60, 7, 3)], vec![(0, 60, 7, 3)]]);
    assert_eq!(begins(&trace), [0.0, 0.25]);
    assert_eq!(trace.sessions[0].turns[0].blocks, trace.sessions[1].turns[0].blocks);
}

const WEKA: &str = r#"{
  "id": "s1", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 64, "system_tokens": 0,
  "requests": [
    {"t": 0.0, "type": "s", "model": "m", "in": 200, "out": 20, "hash_ids": [1, 2, 3], "api_time": 2.0, "ttft": 0.5},
    {"t": 2.5, "type": "subagent", "agent_id": "agent_1", "subagent_type": "Explore", "duration_ms": 900,
     "total_tokens": 70, "tool_use_count": 0, "status": "completed", "models": ["m"], "requests": [
       {"t": 0.25, "type": "n", "model": "m", "in": 70, "out": 5, "hash_ids": [8], "api_time": 0.5},
       {"t": 1.0, "type": "n", "model": "m", "in": 140, "out": 5, "hash_ids": [8, 9], "api_time": 0.5}]},
    {"t": 5.0, "type": "n", "model": "m", "in": 300, "out": 0, "hash_ids": [1, 2, 3, 4, 5], "api_time": 1.0, "think_time": 3.0}
  ]
}
"#;

#[test]
fn sessions_of_weka_are_closed_loops_with_sub_agents() {
    let trace = read("weka.json", WEKA);
    assert!(matches!(trace.arrivals, Arrivals::Sessions) && trace.block_tokens == 64);
    let expected =
        vec![vec![(0, 200, 20, 3), (3000, 300, 1, 4)], vec![(0, 70, 5, 1), (250, 140, 5, 2)]];
    assert_eq!(turns(&trace), expected);
    let [parent, sub] = &trace.sessions[..] else { panic!("a parent and a sub-agent") };
    let spawn = parent.spawns[0];
    assert_eq!(
        (spawn.turn, spawn.delay.as_millis(), spawn.session, sub.spawned),
        (0, 2750, 1, true)
    );
    assert_eq!(parent.turns[0].blocks[..], parent.turns[1].blocks[..3]);
    assert_eq!(sub.turns[0].blocks[0], sub.turns[1].blocks[0]);

    let one_a_line = WEKA.replace('\n', "");
    let other = one_a_line
        .replace("\"s1\"", "\"s2\"")
        .replace("\"t\": 0.25", "\"t\": 2.75")
        .replace("\"t\": 1.0", "\"t\": 3.5");
    let trace = read("weka.jsonl", &format!("{one_a_line}\n{other}\n"));
    assert_eq!(
        turns(&trace)[..2],
        turns(&trace)[2..],
        "a sub-agent's times may count from the session's begin"
    );
    let first = |session: usize| trace.sessions[session].turns[0].blocks[0];
    assert_ne!(first(0), first(2), "ids are local to a session");
    let global = format!("{one_a_line}\n{other}\n").replace("\"local\"", "\"global\"");
    let trace = read("global.jsonl", &global);
    assert_eq!(trace.sessions[0].turns[0].blocks, trace.sessions[2].turns[0].blocks);

    let folder = file("weka-folder", "").with_file_name("sessions");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("b.json"), WEKA).expect("a file");
    fs::write(folder.join("a.json"), &one_a_line).expect("a file");
    fs::write(folder.join("notes.txt"), "not a trace").expect("a file");
    assert_eq!(Trace::read(&folder, None).expect("readable").requests(), 8);
    fs::write(folder.join("b.json"), WEKA.replace("\"in\": 300", "\"in\": null")).expect("a file");
    let error = Trace::read(&folder, None).expect_err("no length").to_string();
    assert!(error.ends_with("b.json:1: missing field `requests[2].in`"), "{error}");
    let error = refused("ids.json", &WEKA.replace("[8, 9]", "[8]"));
    let reason = "a prompt of 140 tokens has 2 full blocks, but there are 1 block ids";
    assert_eq!(error, format!("FILE:1: `requests[1].requests[1]`: {reason}"));
}

/// A chat span of OTLP.
fn otlp(
    id: &str,
    parent: &str,
    times: [u64; 2],
    attributes: &[(&str, serde_json::Value)],
) -> serde_json::Value {
    let attributes: Vec<_> = attributes
        .iter()
        .map(|(key, value)| serde_json::json!({"key": key, "value": value}))
        .collect();
    serde_json::json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "parentSpanId": parent, "name": "chat m", "kind": 3,
        "startTimeUnixNano": times[0].to_string(), "endTimeUnixNano": times[1].to_string(),
        "attributes": attributes, "status": {},
    })
}

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_795_907_525 * SECOND;

#[test]
fn spans_of_otlp_are_requests() {
    let int = |value: u32| serde_json::json!({"intValue": value.to_string()});
    let text = |value: &str| serde_json::json!({"stringValue": value});
    let system = "you are a helpful assistant that answers at length. ".repeat(10);
    let messages = |question: &str| {
        let parts = serde_json::json!([
            {"role": "system", "parts": [{"type": "text", "content": system}]},
            {"role": "user", "parts": [{"type": "text", "content": question}]},
        ]);
        text(&parts.to_string())
    };
    let chat = |input: u32, output: u32, question: &str| {
        [
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.usage.input_tokens", int(input)),
            ("gen_ai.usage.output_tokens", int(output)),
            ("gen_ai.input.messages", messages(question)),
        ]
    };
    let agent =
        [("gen_ai.operation.name", text("invoke_agent")), ("gen_ai.usage.input_tokens", int(999))];
    let tool = [("gen_ai.operation.name", text("execute_tool"))];
    let mut failed = otlp("07", "01", [NOW, NOW + 1], &chat(5, 5, "x"));
    failed["status"] = serde_json::json!({"code": 2});
    let spans = [
        otlp("01", "", [NOW, NOW + 20 * SECOND], &agent),
        otlp("02", "01", [NOW + SECOND, NOW + 2 * SECOND], &chat(150, 10, "first?")),
        otlp("03", "02", [NOW + SECOND, NOW + 2 * SECOND], &chat(150, 10, "first?")),
        otlp("04", "01", [NOW + 2 * SECOND, NOW + 3 * SECOND], &tool),
        otlp("05", "01", [NOW + 4 * SECOND, NOW + 9 * SECOND], &chat(160, 20, "second?")),
        otlp("06", "01", [NOW + 5 * SECOND, NOW + 6 * SECOND], &chat(150, 30, "beside?")),
        failed,
    ];
    let export =
        serde_json::json!({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": spans}]}]});
    let trace = read("otlp.json", &serde_json::to_string_pretty(&export).expect("JSON"));
    let shape: Vec<Vec<(u128, u32, u32)>> = turns(&trace)
        .into_iter()
        .map(|turns| turns.into_iter().map(|(a, b, c, _)| (a, b, c)).collect())
        .collect();
    assert_eq!(shape, [vec![(0, 150, 10), (2000, 160, 20)], vec![(0, 150, 30)]]);
    let (main, beside) = (&trace.sessions[0], &trace.sessions[1]);
    assert_eq!((main.spawns[0].turn, main.spawns[0].delay.as_millis()), (1, 1000));
    let (a, b) = (&main.turns[0].blocks, &beside.turns[0].blocks);
    assert!(a.len() >= 8 && a[..8] == b[..8], "the system prompt is shared");

    // The same in the other spellings: an export a line, a list of spans with dates, a span a line.
    let lines = format!("{export}\n{export}\n").replace("0af7651916cd43dd8448eb211c80319c", "1");
    assert_eq!(read("otlp.jsonl", &lines).sessions.len() % 2, 0);
    let flat = r#"{"trace_id": "t1", "span_id": "a", "start_time": "2026-11-29T03:00:00.5", "end_time": "2026-11-29T03:00:01.5", "name": "chat m", "status": {"code": 0}, "attributes": {"gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 6}}"#;
    let later = flat
        .replace("03:00:00.5", "05:00:02+02:00")
        .replace("03:00:01.5", "03:00:03Z")
        .replace("\"a\"", "\"b\"");
    let expected = [vec![(0, 40, 6, 0), (500, 40, 6, 0)]];
    assert_eq!(turns(&read("spans.jsonl", &format!("{flat}\n{later}\n"))), expected);
    assert_eq!(turns(&read("spans.json", &format!("{{\"spans\": [{flat},\n{later}]}}"))), expected);
    assert_eq!(turns(&read("list.json", &format!("[{flat}, {later}]"))), expected);

    let wrong = refused("otel.jsonl", &format!("{flat}\n{}", later.replace("40,", "\"forty\",")));
    assert_eq!(
        wrong,
        "FILE:2: `gen_ai.usage.prompt_tokens` is \"forty\", expected a number of tokens"
    );
    let wrong = refused("otel.jsonl", &flat.replace("2026-11-29T03:00:00.5", "yesterday"));
    assert!(
        wrong.starts_with("FILE:1: `start_time` is \"yesterday\", expected nanoseconds since 1970"),
        "{wrong}"
    );
    let none = refused("none.jsonl", &flat.replace("\"chat\"", "\"execute_tool\""));
    assert_eq!(none, "FILE: it has no requests");
}

#[test]
fn other_files_of_aiperf_are_read_too() {
    let trace = read(
        "burst.csv",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,m,472,18,490,log\n45,m,10,0,10,log\n",
    );
    assert_eq!(turns(&trace), [vec![(0, 472, 18, 0)], vec![(0, 10, 1, 0)]]);
    for name in ["aiperf", "guidellm", "inference-perf", "weka", "otel", "burstgpt"] {
        let format: Format = name.parse().expect("known");
        assert_eq!(format.to_string(), name);
    }
}
