//! Answers of a real vLLM.

use serde_json::Value;
use slotwise::{Failure, Usage};
use slotwise_wire::response::{
    AnswerEnd, Body, CloseReason, Disposition, FinishReason, Outcome, Progress, ResponseReader,
    Retry,
};

use crate::{STREAMS, fixture, fixture_json, read_whole};

fn usage(prompt: u32, cached: u32, completion: u32) -> Usage {
    Usage::default().prompt_tokens(prompt).cached_tokens(cached).completion_tokens(completion)
}

#[test]
fn streams_say_what_they_say() {
    let expected = [
        (6, true, usage(6, 0, 6)),
        (6, false, Usage::default()),
        (6, true, usage(6, 0, 6)),
        (4, true, Usage::default().completion_tokens(4)),
        (4, true, usage(100, 96, 4)),
    ];
    for (name, (tokens, exact, usage)) in STREAMS.into_iter().zip(expected) {
        let (progress, outcome) =
            read_whole(Body::Stream, &fixture(&format!("default/http/{name}.sse")));
        assert_eq!(
            (progress.first_token, progress.tokens, progress.ended),
            (true, tokens, true),
            "{name}"
        );
        assert_eq!(outcome.end, AnswerEnd::Complete, "{name}");
        assert_eq!(outcome.finish_reason, Some(FinishReason::Length), "{name}");
        assert_eq!((outcome.tokens, outcome.exact), (tokens, exact), "{name}");
        assert_eq!(outcome.usage, usage, "{name}");
        assert_eq!((outcome.unreadable, outcome.problem), (0, None), "{name}");
        assert_eq!(outcome.settlement(), Disposition::Complete(usage));
    }
}

/// Token by token, with a usage in each payload.
#[test]
fn each_token_counts_when_it_comes() {
    let stream = fixture("default/http/chat_sse_continuous_usage.sse");
    let mut reader = ResponseReader::new(200, "text/event-stream");
    let lines: Vec<&[u8]> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    let events: Vec<Progress> = lines.chunks(2).map(|event| reader.feed(&event.concat())).collect();
    let tokens: Vec<u32> = events.iter().map(|progress| progress.tokens).collect();
    assert_eq!(tokens, [0, 1, 1, 1, 1, 1, 1, 0, 0], "the first payload has a role and no content");
    assert_eq!(events.iter().position(|progress| progress.first_token), Some(1));
    assert_eq!(events.iter().filter(|progress| progress.first_token).count(), 1);
    assert_eq!(events.iter().position(|progress| progress.ended), Some(8));
}

/// Reads a captured exchange.
fn exchange(exchange: &Value) -> Outcome {
    let header = |name| {
        let headers = exchange["headers"].as_array().into_iter().flatten();
        headers.filter(|header| header[0] == name).find_map(|header| header[1].as_str())
    };
    let status = exchange["status"].as_u64().expect("a status") as u16;
    let mut reader = ResponseReader::new(status, header("content-type").unwrap_or_default());
    reader.feed(exchange["body"].as_str().expect("a body").as_bytes());
    reader.finish(CloseReason::Clean)
}

#[test]
fn bodies_say_what_they_say() {
    let bodies = fixture_json("default/http/bodies.json");
    let bodies = bodies.as_object().expect("an object");
    assert_eq!(bodies.len(), 44);
    for (name, said) in bodies {
        let outcome = exchange(said);
        let status = said["status"].as_u64().expect("a status") as u16;
        assert_eq!(outcome.status, status, "{name}");
        assert_eq!((outcome.unreadable, outcome.problem), (0, None), "{name}");
        let empty = said["body"] == "";
        let here_alone = status == 404 || empty;
        let elsewhere = if here_alone { Retry::IfNothingSent } else { Retry::Never };
        assert_eq!(outcome.retry, elsewhere, "{name}");
        if status >= 400 {
            assert_eq!(outcome.end, AnswerEnd::Refused, "{name}");
            assert_eq!(outcome.settlement(), Disposition::Cancel, "{name}");
            continue;
        }
        // An empty body is not an answer.
        let end = if empty { AnswerEnd::Cut } else { AnswerEnd::Complete };
        assert_eq!(outcome.end, end, "{name}");
        let body: Value =
            serde_json::from_str(said["body"].as_str().expect("a body")).unwrap_or_default();
        if let Some(said) = body.get("usage") {
            let number = |value: &Value| value.as_u64().map(|number| number as u32);
            let cached = number(&said["prompt_tokens_details"]["cached_tokens"]);
            assert_eq!(outcome.usage.prompt_tokens, number(&said["prompt_tokens"]), "{name}");
            assert_eq!(
                outcome.usage.completion_tokens,
                number(&said["completion_tokens"]),
                "{name}"
            );
            assert_eq!(outcome.usage.cached_tokens, cached, "{name}");
            let reason = body["choices"][0]["finish_reason"].as_str();
            assert_eq!(outcome.finish_reason.map(FinishReason::as_str), reason, "{name}");
        }
    }
    assert_eq!(
        exchange(&bodies["completion_ok_warm"]).usage,
        usage(100, 96, 4),
        "the prompt was cached"
    );
    assert_eq!(exchange(&bodies["get_health"]).usage, Usage::default());
}

#[test]
fn a_full_queue_sends_to_another_endpoint() {
    let captured = fixture_json("failures/queue_overflow.json");
    let outcomes: Vec<Outcome> =
        captured["responses"].as_array().expect("an array").iter().map(exchange).collect();
    let full: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| outcome.end == AnswerEnd::Full).collect();
    assert_eq!((full.len(), outcomes.len()), (12, 16));
    for outcome in full {
        assert!(outcome.may_retry(false) && !outcome.may_retry(true));
        assert_eq!(outcome.settlement(), Disposition::Fail(Failure::Engine));
    }
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome.end, AnswerEnd::Full | AnswerEnd::Complete))
    );
}

#[test]
fn a_killed_engine_fails() {
    let captured = fixture_json("failures/engine_killed.json");
    let stream = exchange(&captured["in_flight_stream"]);
    assert_eq!((stream.end, stream.status), (AnswerEnd::Failed, 500), "though the status was 200");
    assert_eq!(stream.retry, Retry::Never, "a started stream is not retried");
    assert_eq!(stream.settlement(), Disposition::Fail(Failure::Engine));
    let plain = exchange(&captured["in_flight_plain"]);
    assert_eq!((plain.end, plain.retry), (AnswerEnd::Failed, Retry::IfNothingSent));
    assert_eq!(
        Outcome::unreachable().settlement(),
        Disposition::Fail(Failure::Unreachable),
        "and afterwards"
    );
}

#[test]
fn a_terminated_server_aborts() {
    let captured = fixture_json("failures/api_sigterm.json");
    let stream = exchange(&captured["in_flight_stream"]);
    assert_eq!((stream.end, stream.status), (AnswerEnd::Aborted, 200));
    assert_eq!(stream.finish_reason, Some(FinishReason::Abort));
    assert_eq!(
        (stream.retry, stream.settlement()),
        (Retry::Never, Disposition::Fail(Failure::Engine))
    );
    let plain = exchange(&captured["in_flight_plain"]);
    assert_eq!(
        (plain.end, plain.retry),
        (AnswerEnd::Aborted, Retry::IfNothingSent),
        "it is held in one piece"
    );
}
