//! Checks of prompts and answers: nothing passes before it was judged, and all of it passes then.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use slotwise::Instant;
use slotwise_gateway::gates::safety::{OnFailure, SafetyCheck, SafetyConfig, Stage, Verdict};
use slotwise_wire::outcome::BodyShape;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// Small limits, so that short streams reach them.
fn config(on_failure: OnFailure) -> SafetyConfig {
    let mut config = SafetyConfig::default();
    (config.look_back, config.question_bytes, config.max_held) = (12, 8, 2_000);
    config.on_failure = on_failure;
    config
}

fn check(on_failure: OnFailure, stage: Stage, shape: BodyShape) -> SafetyCheck {
    SafetyCheck::new(config(on_failure), stage, shape).expect("valid")
}

fn output(check: &mut SafetyCheck) -> String {
    let bytes: Vec<u8> = std::iter::from_fn(|| check.poll_output()).flatten().collect();
    String::from_utf8(bytes).expect("text")
}

/// An event of a chat answer, which names its choice after its text as engines do.
fn event(choice: u64, text: &str) -> String {
    let choice = json!({"delta": {"content": text}, "index": choice});
    format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
    )
}

/// The text of a choice in a stream.
fn text(stream: &str, choice: u64) -> String {
    let payloads = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let payloads = payloads.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let choices = payloads.flat_map(|payload| payload["choices"].as_array().cloned());
    let of_choice = choices.flatten().filter(|it| it["index"] == choice);
    of_choice.filter_map(|it| it["delta"]["content"].as_str().map(String::from)).collect()
}

/// Feeds the stream in chunks and answers each question after `lag` more chunks.
fn run(
    check: &mut SafetyCheck,
    stream: &str,
    sizes: &[usize],
    lag: usize,
    mut judge: impl FnMut(Vec<String>) -> Verdict,
) -> String {
    let (mut sent, mut rest, mut sizes) = (String::new(), stream.as_bytes(), sizes.iter().cycle());
    let (mut open, mut now): (Option<(usize, _)>, u64) = (None, 0);
    for _ in 0..100_000 {
        now += 1;
        if check.wants_input() {
            let (chunk, after) = rest.split_at(rest.len().min(*sizes.next().expect("sizes")));
            rest = after;
            check.feed(at(now), chunk);
            if rest.is_empty() {
                check.finish(at(now));
            }
        }
        if let Some(question) = check.poll_question() {
            assert!(open.is_none(), "one question at a time");
            open = Some((lag, question));
        }
        open = match open {
            Some((0, question)) => {
                assert!(check.handle_verdict(at(now), question.id, judge(question.texts)));
                None
            }
            other => other.map(|(lag, question)| (lag - 1, question)),
        };
        check.handle_timeout(at(now));
        sent.push_str(&output(check));
        assert!(check.held_bytes() <= 4_100, "{} bytes are held", check.held_bytes());
        if check.has_ended() {
            return sent;
        }
    }
    panic!("the check does not end: {check:?}");
}

fn words() -> impl Strategy<Value = Vec<(u64, String)>> {
    prop::collection::vec((0..2_u64, "[a-c \"\\\\é]{0,9}"), 1..60)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..150_usize, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn allowed_streams_pass_byte_by_byte(words in words(), sizes in sizes(), lag in 0..4_usize) {
        let mut stream: String = words.iter().map(|(choice, text)| event(*choice, text)).collect();
        stream.push_str(": ping\r\n\r\ndata: [DONE]\n\n");
        let mut check = check(OnFailure::Block, Stage::Stream, BodyShape::OpenAi);
        let sent = run(&mut check, &stream, &sizes, lag, |_| Verdict::Allow);
        prop_assert_eq!(sent, stream);
        prop_assert!(check.refusal().is_none());
    }

    /// The twin is the whole text: what the client has is a prefix that ends before the phrase.
    #[test]
    fn no_part_of_a_blocked_phrase_is_sent(
        before in words(), cuts in prop::collection::vec(1..12_usize, 1..3),
        after in words(), sizes in sizes(), lag in 0..4_usize,
    ) {
        const PHRASE: &str = "FORBIDDENxyz";
        let mut stream: String = before.iter().map(|(choice, text)| event(*choice, text)).collect();
        let mut rest = PHRASE;
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            stream.push_str(&event(0, head));
            rest = tail;
        }
        stream.push_str(&event(0, rest));
        after.iter().for_each(|(choice, text)| stream.push_str(&event(*choice, text)));
        let mut check = check(OnFailure::Allow, Stage::Stream, BodyShape::OpenAi);
        let sent = run(&mut check, &stream, &sizes, lag, |texts| {
            match texts.iter().any(|text| text.contains(PHRASE)) {
                true => Verdict::Block("phrase".into()),
                false => Verdict::Allow,
            }
        });
        let whole = text(&stream, 0);
        let clean = whole.split(PHRASE).next().expect("the start");
        prop_assert!(clean.starts_with(&text(&sent, 0)), "{}", sent);
        prop_assert!(sent.ends_with("data: [DONE]\n\n"));
        prop_assert_eq!(check.refusal().expect("blocked").code(), "content_filter");
    }

    #[test]
    fn a_replaced_text_is_what_the_client_gets(words in words(), sizes in sizes(), lag in 0..4_usize) {
        let stream: String = words.iter().map(|(choice, text)| event(*choice, text)).collect();
        let mut check = check(OnFailure::Block, Stage::Stream, BodyShape::OpenAi);
        let sent = run(&mut check, &stream, &sizes, lag, |texts| {
            Verdict::Replace(texts.iter().map(|text| text.replace('a', "X\"")).collect())
        });
        for choice in 0..2 {
            prop_assert_eq!(text(&sent, choice), text(&stream, choice).replace('a', "X\""));
        }
    }

    #[test]
    fn hostile_bytes_end_and_hold_little(
        bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b'd'), Just(b'"'), Just(b'{'),
        ], 0..400),
        lead in prop_oneof![Just(""), Just("data: "), Just("data: {\"choices\":")],
        stage in prop_oneof![Just(Stage::Prompt), Just(Stage::Answer), Just(Stage::Stream)],
        allow in any::<bool>(), chunk in 1..50_usize,
    ) {
        let on_failure = if allow { OnFailure::Allow } else { OnFailure::Block };
        let mut check = check(on_failure, stage, BodyShape::Anthropic);
        let body = [lead.as_bytes(), &bytes].concat();
        let mut sent = Vec::new();
        for chunk in body.chunks(chunk) {
            check.feed(at(1), chunk);
            sent.extend(std::iter::from_fn(|| check.poll_output()).flatten());
        }
        check.finish(at(2));
        while let Some(question) = check.poll_question() {
            prop_assert!(check.handle_verdict(at(3), question.id, Verdict::Allow));
        }
        sent.extend(std::iter::from_fn(|| check.poll_output()).flatten());
        prop_assert!(check.has_ended());
        if check.refusal().is_none() {
            prop_assert_eq!(sent, body);
        }
    }
}

#[test]
fn a_check_without_a_verdict_ends_at_its_deadline() {
    for (on_failure, passes) in [(OnFailure::Allow, true), (OnFailure::Block, false)] {
        let mut check = check(on_failure, Stage::Prompt, BodyShape::OpenAi);
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
        check.feed(at(0), body.as_bytes());
        check.finish(at(0));
        let question = check.poll_question().expect("a text");
        assert_eq!((check.next_timeout(), question.deadline), (Some(at(1_000)), at(1_000)));
        check.handle_timeout(at(999));
        assert!(!check.has_ended());
        check.handle_timeout(at(1_000));
        assert!(check.has_ended() && check.next_timeout().is_none());
        assert!(!check.handle_verdict(at(1_001), question.id, Verdict::Allow), "it is too late");
        assert_eq!((output(&mut check) == body, check.failures()), (passes, 1));
        let refusal = check.refusal().map(|refusal| (refusal.status(), refusal.message.clone()));
        let message = "the content filter is not available: the check has not ended in time";
        assert_eq!(refusal, (!passes).then(|| (503, message.into())));
    }
}

#[test]
fn a_slow_stream_is_asked_after_the_delay() {
    let mut check = check(OnFailure::Block, Stage::Stream, BodyShape::OpenAi);
    check.feed(at(0), event(0, "ab").as_bytes());
    assert!(check.poll_question().is_none(), "more may come");
    assert_eq!(check.next_timeout(), Some(at(200)));
    check.handle_timeout(at(200));
    let question = check.poll_question().expect("the delay has passed");
    assert_eq!((question.texts, question.deadline), (vec!["ab".into()], at(1_200)));
}

#[test]
fn a_blocked_stream_ends_as_its_api_does() {
    let delta = |data: &str| format!("data: {data}\n\n");
    let anthropic = [
        delta(r#"{"type":"message_start","message":{"id":"m1","content":[]}}"#),
        delta(
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        delta(
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a long text"}}"#,
        ),
    ];
    let responses = [
        delta(r#"{"type":"response.created","response":{"id":"r1","model":"m","output":[]}}"#),
        delta(r#"{"type":"response.output_text.delta","content_index":0,"delta":"a long text"}"#),
        String::new(),
    ];
    let completions = [
        delta(
            r#"{"id":"t1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":"a long text"}]}"#,
        ),
        String::new(),
        String::new(),
    ];
    for (stream, passed, last) in [
        (
            anthropic,
            2,
            [
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null},"usage":{"output_tokens":0}}"#,
                r#"{"type":"message_stop"}"#,
            ]
            .as_slice(),
        ),
        (
            responses,
            1,
            &[r#"{"type":"response.incomplete","response":{"id":"r1","model":"m","object":"response","status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}}"#],
        ),
        (
            completions,
            0,
            &[
                r#"{"id":"t1","created":7,"model":"m","object":"text_completion","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"content_filter"}]}"#,
                "[DONE]",
            ],
        ),
    ] {
        let mut check = check(OnFailure::Block, Stage::Stream, BodyShape::OpenAi);
        check.feed(at(0), stream.concat().as_bytes());
        let question = check.poll_question().expect("a long text");
        assert_eq!(question.texts, ["a long text"]);
        assert_eq!(output(&mut check), stream[..passed].concat());
        check.handle_verdict(at(1), question.id, Verdict::Block("secret".into()));
        let output = output(&mut check);
        let data: Vec<&str> =
            output.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data, last);
        let refusal = check.refusal().expect("blocked");
        assert_eq!(refusal.message, "the content filter has blocked the answer: secret");
    }
}

#[test]
fn a_blocked_body_has_no_text_and_the_reason() {
    for (body, blocked) in [
        (
            json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "bad"},
                "logprobs": {"content": [{"token": "bad"}]}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}),
            json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""},
                "logprobs": null, "finish_reason": "content_filter"}], "usage": {"prompt_tokens": 1}}),
        ),
        (
            json!({"type": "message", "content": [{"type": "text", "text": "bad"}], "stop_reason": "end_turn"}),
            json!({"type": "message", "content": [{"type": "text", "text": ""}], "stop_reason": "refusal"}),
        ),
        (
            json!({"object": "response", "status": "completed", "incomplete_details": null,
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "bad"}]}]}),
            json!({"object": "response", "status": "incomplete", "incomplete_details": {"reason": "content_filter"},
                "output": [{"type": "message", "content": [{"type": "output_text", "text": ""}]}]}),
        ),
    ] {
        let mut check = check(OnFailure::Block, Stage::Answer, BodyShape::OpenAi);
        check.feed(at(0), body.to_string().as_bytes());
        check.finish(at(0));
        let question = check.poll_question().expect("a text");
        assert_eq!(question.texts, ["bad"]);
        check.handle_verdict(at(0), question.id, Verdict::Block(String::new()));
        let output: Value = serde_json::from_str(&output(&mut check)).expect("JSON");
        assert_eq!(output, blocked);
    }
}

#[test]
fn a_wrong_number_of_texts_is_a_failure() {
    let mut check = check(OnFailure::Block, Stage::Prompt, BodyShape::OpenAi);
    check.feed(at(0), br#"{"model":"m","prompt":["a","b"]}"#);
    check.finish(at(0));
    let question = check.poll_question().expect("texts");
    check.handle_verdict(at(0), question.id, Verdict::Replace(vec!["a".into()]));
    assert_eq!(check.refusal().expect("blocked").code(), "safety_unavailable");
}

#[test]
fn sizes_and_times_are_checked() {
    let mut config = SafetyConfig::default();
    config.max_held = 1_023;
    assert_eq!(config.check().expect_err("too little").field, "max_held");
    config.timeout = Duration::ZERO;
    assert_eq!(config.check().expect_err("no time").field, "timeout");
}
