//! The ends of answers in each API.

use slotwise::{Failure, Usage};
use slotwise_wire::response::{
    AnswerEnd, Body, CloseReason, Disposition, FinishReason, Outcome, ResponseReader, Retry,
};

use crate::{read, read_whole};

fn stream(events: &str) -> Outcome {
    read_whole(Body::Stream, events.as_bytes()).1
}

fn json(body: &str) -> Outcome {
    read_whole(Body::Json, body.as_bytes()).1
}

/// Streams of Anthropic's messages, whose input excludes cached tokens.
#[test]
fn messages() {
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: ping\ndata: {\"type\":\"ping\"}\n\n\
        event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
    const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    let (progress, outcome) = read_whole(Body::Stream, format!("{START}{DELTA}{stop}").as_bytes());
    assert_eq!((progress.first_token, progress.tokens, progress.ended), (true, 15, true));
    assert_eq!(
        (outcome.end, outcome.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::Length))
    );
    let usage = Usage::default().prompt_tokens(130).cached_tokens(100).completion_tokens(15);
    assert_eq!(outcome.usage, usage);

    let started = stream(START);
    assert_eq!((started.end, started.retry, started.tokens), (AnswerEnd::Cut, Retry::Never, 1));
    assert_eq!(started.usage.completion_tokens, None, "the start does not know the answer");
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    assert_eq!(
        (stream(overloaded).end, stream(overloaded).retry),
        (AnswerEnd::Full, Retry::IfNothingSent)
    );
    assert_eq!(stream(&format!("{START}{overloaded}")).retry, Retry::Never);
    assert_eq!(
        stream("event: error\ndata: out of memory\n\n").end,
        AnswerEnd::Failed,
        "plain text under the name"
    );

    let body = json(
        r#"{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"tool_use","usage":{"input_tokens":9,"output_tokens":3}}"#,
    );
    assert_eq!(
        (body.end, body.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::ToolCalls))
    );
    assert_eq!(body.usage, Usage::default().prompt_tokens(9).completion_tokens(3));
}

/// Streams of OpenAI's responses, whose input includes cached tokens.
#[test]
fn responses() {
    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null,\"usage\":null}}\n\n\
        event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    let end = |name: &str, rest: &str| {
        stream(&format!(
            "{CREATED}event: {name}\ndata: {{\"type\":\"{name}\",\"response\":{{\"object\":\"response\",{rest}}}}}\n\n"
        ))
    };
    let completed = end(
        "response.completed",
        r#""status":"completed","usage":{"input_tokens":50,"input_tokens_details":{"cached_tokens":32},"output_tokens":7}"#,
    );
    assert_eq!(
        (completed.end, completed.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::Stop))
    );
    let usage = Usage::default().prompt_tokens(50).cached_tokens(32).completion_tokens(7);
    assert_eq!((completed.usage, completed.tokens), (usage, 7));

    let incomplete = end(
        "response.incomplete",
        r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#,
    );
    assert_eq!(
        (incomplete.end, incomplete.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::Length))
    );
    let failed = end(
        "response.failed",
        r#""status":"failed","error":{"code":"server_error","message":"no"}"#,
    );
    assert_eq!((failed.end, failed.retry), (AnswerEnd::Failed, Retry::Never));
    assert_eq!(end("response.failed", r#""status":"failed""#).end, AnswerEnd::Failed);
    assert_eq!((stream(CREATED).end, stream(CREATED).tokens), (AnswerEnd::Cut, 1));
    let said = "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"Hi\"}\n\n";
    assert_eq!(stream(&format!("{CREATED}{said}")).tokens, 1, "it is the same token");
    let overloaded =
        "event: error\ndata: {\"type\":\"overloaded_error\",\"message\":\"later\"}\n\n";
    assert_eq!(
        (stream(overloaded).end, stream(overloaded).retry),
        (AnswerEnd::Full, Retry::IfNothingSent)
    );
    let error = stream(
        "data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow down\"}\n\n",
    );
    assert_eq!((error.end, error.status), (AnswerEnd::Full, 429));

    for (status, end) in [
        ("completed", AnswerEnd::Complete),
        ("failed", AnswerEnd::Failed),
        ("cancelled", AnswerEnd::Aborted),
    ] {
        assert_eq!(
            json(&format!(r#"{{"object":"response","error":null,"status":"{status}"}}"#)).end,
            end
        );
    }
    assert_eq!(
        json(r#"{"object":"batch","status":"failed"}"#).end,
        AnswerEnd::Complete,
        "no response"
    );
}

/// SGLang's own `generate`: growing texts, and finish reasons as objects.
#[test]
fn generate() {
    let meta = |finish: &str, tokens: u32| {
        format!(
            r#"{{"text":"Hi","meta_info":{{"prompt_tokens":20,"completion_tokens":{tokens},"cached_tokens":16,"finish_reason":{finish}}}}}"#
        )
    };
    let done = r#"{"type":"length","length":9}"#;
    let events =
        format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", meta("null", 4), meta(done, 9));
    let (progress, outcome) = read_whole(Body::Stream, events.as_bytes());
    assert_eq!((progress.tokens, outcome.tokens, outcome.exact), (9, 9, true));
    assert_eq!(
        (outcome.end, outcome.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::Length))
    );
    let usage = Usage::default().prompt_tokens(20).cached_tokens(16).completion_tokens(9);
    assert_eq!(outcome.usage, usage);

    let batch = json(&format!("[{},{}]", meta(done, 9), meta(done, 11)));
    let usage = Usage::default().prompt_tokens(40).cached_tokens(32).completion_tokens(20);
    assert_eq!((batch.usage, batch.end), (usage, AnswerEnd::Complete), "the sum of all prompts");

    let abort =
        |status| meta(&format!(r#"{{"type":"abort","message":"no","status_code":{status}}}"#), 0);
    assert_eq!(json(&abort("null")).end, AnswerEnd::Aborted);
    assert_eq!(json(&abort("400")).end, AnswerEnd::Refused, "the client's fault");
    assert_eq!(json(&abort("503")).end, AnswerEnd::Full);
}

#[test]
fn what_counts_as_content() {
    let tokens = |choices: &str| {
        read_whole(Body::Stream, format!("data: {{\"choices\":[{choices}]}}\n\n").as_bytes())
            .0
            .tokens
    };
    for content in [
        r#"{"delta":{"content":"a"}}"#,
        r#"{"delta":{"content":"\n"}}"#,
        r#"{"delta":{"content":[{"type":"text","text":"a"}]}}"#,
        r#"{"delta":{"reasoning_content":"a","content":null}}"#,
        r#"{"delta":{"reasoning":"a"}}"#,
        r#"{"delta":{"refusal":"a"}}"#,
        r#"{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}"#,
        r#"{"delta":{"function_call":{"name":"f"}}}"#,
        r#"{"text":"a"}"#,
        r#"{"text":"","token_ids":[7]}"#,
        r#"{"t\u0065xt":"a"}"#,
    ] {
        assert_eq!(tokens(content), 1, "{content}");
    }
    for empty in [
        "",
        r#"{"delta":{"role":"assistant","content":""}}"#,
        r#"{"delta":{"content":null,"tool_calls":[]}}"#,
        r#"{"text":"","token_ids":[]}"#,
        r#"{"logprobs":{"text":"a","content":[1]},"stop_reason":"x"}"#,
    ] {
        assert_eq!(tokens(empty), 0, "{empty}");
    }
    assert_eq!(tokens(r#"{"index":0,"text":"a"},{"index":1,"text":"b"}"#), 2, "two choices");
    assert_eq!(tokens(r#"{"text":"abc","token_ids":[7,8,9]},{"text":"d"}"#), 4);
}

#[test]
fn a_stream_ends_by_its_last_event_or_its_reasons() {
    const A: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
    const B: &str =
        "data: {\"choices\":[{\"index\":1,\"text\":\"b\",\"finish_reason\":\"stop\"}]}\n\n";
    const A_ENDS: &str =
        "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n";
    assert_eq!(stream("").end, AnswerEnd::Cut);
    assert_eq!(stream("").retry, Retry::IfNothingSent);
    assert_eq!(stream(": nothing yet\n\n").retry, Retry::IfNothingSent, "comments are no answer");
    assert_eq!((stream(A).end, stream(A).retry), (AnswerEnd::Cut, Retry::Never));
    assert_eq!(stream(&format!("{A}{B}")).end, AnswerEnd::Cut, "the first choice has no reason");
    assert_eq!(stream(&format!("{A}{B}{A_ENDS}")).end, AnswerEnd::Complete, "there is no mark");
    assert_eq!(
        stream(&format!("{A}data: [DONE]\n\n")).end,
        AnswerEnd::Complete,
        "there is no reason"
    );
    assert_eq!(
        stream(&format!("{A}data: [DONE]")).end,
        AnswerEnd::Complete,
        "there is no empty line"
    );
    assert_eq!(stream(&format!("{A}data: [DON")).end, AnswerEnd::Cut);

    let mixed = format!("{A}{}data: [DONE]\n\n", B.replace("stop", "abort"));
    assert_eq!(stream(&format!("{mixed}{A_ENDS}")).end, AnswerEnd::Aborted, "one of several");
    let late = format!("{A}data: [DONE]\n\ndata: {{\"error\":{{}}}}\n\n");
    assert_eq!(stream(&late).end, AnswerEnd::Complete, "nothing counts after the end");
}

#[test]
fn a_connection_ends_only_what_goes_on() {
    let part = b"data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n".as_slice();
    let whole = b"data: [DONE]\n\n".as_slice();
    for (close, end, settlement) in [
        (CloseReason::Clean, AnswerEnd::Cut, Disposition::Fail(Failure::Engine)),
        (CloseReason::Broken, AnswerEnd::Cut, Disposition::Fail(Failure::Engine)),
        (CloseReason::TimedOut, AnswerEnd::TimedOut, Disposition::Fail(Failure::Timeout)),
        (CloseReason::ClientDisconnected, AnswerEnd::ClientDisconnected, Disposition::Cancel),
        (CloseReason::Expired, AnswerEnd::Expired, Disposition::Cancel),
    ] {
        let (_, outcome) = read(Body::Stream, [part], close);
        assert_eq!(
            (outcome.end, outcome.settlement(), outcome.retry),
            (end, settlement, Retry::Never)
        );
        assert_eq!(
            read(Body::Stream, [part, whole], close).1.end,
            AnswerEnd::Complete,
            "{}",
            close.as_str()
        );
        let (_, outcome) = read(Body::Json, [b"{\"choices\":[".as_slice()], close);
        assert_eq!(outcome.end, end);
        assert_eq!(outcome.may_retry(false), settlement != Disposition::Cancel);
        assert_eq!(
            read(Body::Json, [b"{\"data\":[]}".as_slice()], close).1.end,
            AnswerEnd::Complete
        );
        let opaque = if close == CloseReason::Clean { AnswerEnd::Complete } else { end };
        assert_eq!(read(Body::Opaque, [part], close).1.end, opaque);
    }
}

#[test]
fn statuses() {
    let engine = Disposition::Fail(Failure::Engine);
    let (complete, refused) = (Disposition::Complete(Usage::default()), Disposition::Cancel);
    for (status, end, settlement, retry) in [
        (200, AnswerEnd::Complete, complete, false),
        (204, AnswerEnd::Cut, engine, true),
        (302, AnswerEnd::Refused, refused, true),
        (304, AnswerEnd::Refused, refused, true),
        (400, AnswerEnd::Refused, refused, false),
        (401, AnswerEnd::Refused, refused, true),
        (402, AnswerEnd::Refused, refused, true),
        (403, AnswerEnd::Refused, refused, true),
        (404, AnswerEnd::Refused, refused, true),
        (405, AnswerEnd::Refused, refused, false),
        (408, AnswerEnd::TimedOut, Disposition::Fail(Failure::Timeout), true),
        (422, AnswerEnd::Refused, refused, false),
        (413, AnswerEnd::Refused, refused, false),
        (421, AnswerEnd::Refused, refused, true),
        (429, AnswerEnd::Full, engine, true),
        (499, AnswerEnd::ClientDisconnected, Disposition::Cancel, false),
        (500, AnswerEnd::Failed, engine, true),
        (501, AnswerEnd::Refused, refused, false),
        (502, AnswerEnd::Failed, engine, true),
        (503, AnswerEnd::Full, engine, true),
        (504, AnswerEnd::TimedOut, Disposition::Fail(Failure::Timeout), true),
        (529, AnswerEnd::Full, engine, true),
    ] {
        let outcome = Outcome::of_status(status);
        assert_eq!((outcome.end, outcome.settlement()), (end, settlement), "{status}");
        assert_eq!((outcome.may_retry(false), outcome.may_retry(true)), (retry, false), "{status}");
        if status != 200 {
            let error =
                stream(&format!("data: {{\"error\":{{\"code\":{status}}}}}\n\ndata: [DONE]\n\n"));
            let known = (400..600).contains(&status);
            assert_eq!(
                error.end,
                if known { end } else { AnswerEnd::Failed },
                "{status} inside of 200"
            );
        }
    }
}

#[test]
fn errors_in_all_shapes() {
    for (error, end) in [
        (r#"{"error":"no"}"#, AnswerEnd::Failed),
        (r#"{"error":{"message":"no"}}"#, AnswerEnd::Failed),
        (r#"{"error":{"type":"BadRequestError","code":null}}"#, AnswerEnd::Refused),
        (r#"{"error":{"code":"429"}}"#, AnswerEnd::Full),
        (
            r#"{"error":{"code":"context_length_exceeded","type":"invalid_request_error"}}"#,
            AnswerEnd::Refused,
        ),
        (
            r#"{"object":"error","message":"no","type":"BadRequestError","code":400}"#,
            AnswerEnd::Refused,
        ),
        (
            r#"{"object":"error","message":"no","type":"InternalServerError","code":500}"#,
            AnswerEnd::Failed,
        ),
        (r#"{"error":null}"#, AnswerEnd::Complete),
        (r#"{"code":500,"message":"no error"}"#, AnswerEnd::Complete),
    ] {
        assert_eq!(json(error).end, end, "{error}");
    }
}

/// A response with a status of success but without an answer: a failure that may be retried.
#[test]
fn answers_that_are_none() {
    let settled = |status, kind: &str, body: &str| {
        let mut reader = ResponseReader::new(status, kind);
        reader.feed(body.as_bytes());
        reader.finish(CloseReason::Clean)
    };
    const STREAM: &str = "text/event-stream";
    for (status, kind, body, end) in [
        (200, "application/json", "", AnswerEnd::Cut),
        (200, "application/json", " \n", AnswerEnd::Cut),
        (200, "", "", AnswerEnd::Cut),
        (200, STREAM, "", AnswerEnd::Cut),
        (200, STREAM, ": ping\n\n", AnswerEnd::Cut),
        (200, STREAM, "data: [DONE]\n\n", AnswerEnd::Cut),
        (200, STREAM, "<html>no stream</html>", AnswerEnd::Cut),
        (204, "", "", AnswerEnd::Cut),
        (200, "application/json", "<!doctype html><p>Sign in", AnswerEnd::Unreadable),
        (200, "text/html; charset=utf-8", "<p>Sign in", AnswerEnd::Unreadable),
        (200, "text/html", "", AnswerEnd::Unreadable),
        (200, "application/json", "{}", AnswerEnd::Unreadable),
        (200, "application/json", "[]", AnswerEnd::Unreadable),
        (200, "application/json", "null", AnswerEnd::Unreadable),
        (200, "application/json", "17", AnswerEnd::Unreadable),
        (200, "application/json", "OK", AnswerEnd::Unreadable),
        (100, "", "", AnswerEnd::Failed),
        (0, "", "", AnswerEnd::Unreachable),
    ] {
        let outcome = settled(status, kind, body);
        assert_eq!(outcome.end, end, "{status} {kind} {body}");
        assert!(matches!(outcome.settlement(), Disposition::Fail(_)), "{status} {kind} {body}");
        assert!(outcome.may_retry(false) && !outcome.is_complete(), "{status} {kind} {body}");
    }
    let audio = settled(200, "audio/wav", "RIFF");
    assert_eq!(
        (audio.end, audio.settlement()),
        (AnswerEnd::Complete, Disposition::Complete(Usage::default()))
    );
    for body in [r#"{"data":[{"embedding":[0.1]}]}"#, "[[0.1]]", r#"{"results":[]}"#] {
        assert_eq!(settled(200, "application/json", body).end, AnswerEnd::Complete, "{body}");
    }
    // The first event of a stream is an error, of the endpoint or of the request.
    for (status, elsewhere) in [(400, false), (401, true), (403, true), (404, true), (422, false)] {
        let outcome =
            stream(&format!("data: {{\"error\":{{\"message\":\"no\",\"code\":{status}}}}}\n\n"));
        assert_eq!((outcome.end, outcome.status), (AnswerEnd::Refused, status));
        assert_eq!(
            (outcome.settlement(), outcome.may_retry(false)),
            (Disposition::Cancel, elsewhere)
        );
    }
}

/// A prompt that is too long is a client error, whatever the status.
#[test]
fn prompts_that_are_too_long() {
    let settled = |status, body: &str| {
        let mut reader = ResponseReader::new(status, "application/json");
        body.as_bytes().chunks(5).for_each(|chunk| _ = reader.feed(chunk));
        reader.finish(CloseReason::Clean)
    };
    for error in [
        r#"{"message":"This model's maximum context length is 2048 tokens. However, you requested 5003.","type":"Internal Server Error","code":500}"#,
        r#"{"error":{"message":"The decoder prompt (length 5003) is longer than the maximum model length of 2048.","code":500}}"#,
        r#"{"error":{"message":"no","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        r#"{"error":{"code":500,"message":"no","type":"exceed_context_size_error"}}"#,
        r#"{"error":{"code":500,"message":"the request exceeds the available context size, try increasing it"}}"#,
        r#"{"type":"error","error":{"type":"api_error","message":"Prompt is too long: 210000 tokens > 200000 maximum"}}"#,
        r#"{"object":"error","message":"The input (5003 tokens) is longer than the model's context length (2048 tokens).","code":500}"#,
        r#"{"detail":"Prompt length (5003) exceeds maximum input length (2048)."}"#,
        r#"{"error":"Input length (5003 tokens) exceeds the maximum allowed length (2042 tokens)."}"#,
    ] {
        let outcome = settled(500, error);
        assert_eq!((outcome.end, outcome.status), (AnswerEnd::Refused, 400), "{error}");
        assert_eq!(
            (outcome.settlement(), outcome.may_retry(false)),
            (Disposition::Cancel, false),
            "{error}"
        );
        if error.contains("error\"") {
            assert_eq!(settled(200, error).end, AnswerEnd::Refused, "{error}");
            assert_eq!(stream(&format!("data: {error}\n\n")).end, AnswerEnd::Refused, "{error}");
        }
    }
    let failed =
        r#"{"error":{"message":"CUDA out of memory","type":"Internal Server Error","code":500}}"#;
    assert_eq!(
        (settled(500, failed).end, settled(200, failed).end),
        (AnswerEnd::Failed, AnswerEnd::Failed)
    );
    // Dynamo answers 503 for a dead worker, which is not a full queue.
    let gone = r#"{"error":{"message":"Stream ended before generation completed","code":503}}"#;
    assert_eq!(
        (settled(503, gone).end, settled(200, gone).end),
        (AnswerEnd::Failed, AnswerEnd::Failed)
    );
    assert_eq!(
        settled(503, r#"{"message":"Service temporarily unavailable"}"#).end,
        AnswerEnd::Full
    );
}

/// Finish reasons by which hosted APIs and engines report failures with status 200.
#[test]
fn words_of_failure() {
    let settled = |word: &str| {
        let event = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"finish_reason\":\"{word}\"}}]}}\n\ndata: [DONE]\n\n"
        );
        let (_, outcome) = read(Body::Stream, event.as_bytes().chunks(9), CloseReason::Clean);
        assert_eq!(outcome, stream(&event));
        outcome
    };
    let long = format!("error: {}", "out of memory ".repeat(9));
    for word in [
        "insufficient_system_resource",
        "network_error",
        "error: out of memory",
        "Error",
        "ERROR",
        "error_5xx",
        "engine_error",
        "internal_error",
        "failed",
        &long,
    ] {
        assert_eq!(settled(word).end, AnswerEnd::Failed, "{word}");
        assert_eq!(settled(word).settlement(), Disposition::Fail(Failure::Engine), "{word}");
    }
    for word in ["abort", "aborted", "cancelled", "canceled", "TIMEOUT", "interrupted"] {
        assert_eq!(settled(word).end, AnswerEnd::Aborted, "{word}");
    }
    for (word, reason) in [
        ("eos_token", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("model_length", FinishReason::Length),
        ("sensitive", FinishReason::ContentFilter),
        ("error_toxic", FinishReason::ContentFilter),
        ("something", FinishReason::Other),
        ("terror", FinishReason::Other),
        (&"x".repeat(100), FinishReason::Other),
    ] {
        assert_eq!(
            (settled(word).end, settled(word).finish_reason),
            (AnswerEnd::Complete, Some(reason)),
            "{word}"
        );
    }
}

/// An implausible number never replaces the counted one.
#[test]
fn usage_that_cannot_be() {
    let event = |text: &str, usage: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}],\"usage\":{usage}}}\n\n"
        )
    };
    const ZEROS: &str =
        r#"{"prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":0}}"#;
    let (role, one, two) = (event("", ZEROS), event("one", ZEROS), event("two", ZEROS));
    let last = event("", r#"{"prompt_tokens":9,"completion_tokens":2}"#);
    let chunks = [&*role, &*one, &*two, &*last].map(str::as_bytes);
    let (progress, outcome) = read(Body::Stream, chunks, CloseReason::Clean);
    let seen: Vec<_> = progress.iter().map(|one| (one.first_token, one.tokens)).collect();
    assert_eq!(seen, [(false, 0), (true, 1), (false, 1), (false, 0)]);
    assert_eq!((outcome.tokens, outcome.exact), (2, true));
    assert_eq!(outcome.usage, Usage::default().prompt_tokens(9).completion_tokens(2));

    let zeros = stream(&format!("{one}{}", event("", ZEROS)));
    assert_eq!((zeros.tokens, zeros.exact, zeros.usage), (1, false, Usage::default()));
    let fewer = stream(&format!("{one}{two}{two}{}", event("", r#"{"completion_tokens":2}"#)));
    assert_eq!((fewer.tokens, fewer.exact, fewer.usage), (3, false, Usage::default()));
    let absurd = stream(&format!(
        "{one}{}",
        event("", r#"{"prompt_tokens":9,"completion_tokens":4294967295}"#)
    ));
    assert_eq!((absurd.tokens, absurd.usage), (1, Usage::default().prompt_tokens(9)));
    let cached =
        r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":10}}"#;
    assert_eq!(
        stream(&event("one", cached)).usage,
        Usage::default().prompt_tokens(9).completion_tokens(1)
    );
    // Zeros do not replace an earlier usage.
    let back = stream(&format!(
        "{}{}",
        event("one", r#"{"prompt_tokens":9,"completion_tokens":1}"#),
        event("", ZEROS)
    ));
    assert_eq!(back.usage, Usage::default().prompt_tokens(9).completion_tokens(1));

    for body in [
        r#"{"choices":[{"index":0,"message":{"content":"a"}}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#,
        r#"{"type":"message","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":0,"output_tokens":0}}"#,
        r#"{"text":"a","meta_info":{"prompt_tokens":0,"completion_tokens":0,"cached_tokens":0}}"#,
    ] {
        assert_eq!(json(body).usage, Usage::default(), "{body}");
    }
    let started = r#"{"type":"message_start","message":{"usage":{"input_tokens":0,"cache_read_input_tokens":0}}}"#;
    let said = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#;
    let zero = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":0}}"#;
    let message = stream(&format!("data: {started}\n\ndata: {said}\n\ndata: {zero}\n\n"));
    assert_eq!((message.tokens, message.usage), (1, Usage::default()));
    let delta = r#"{"type":"response.output_text.delta","delta":"a"}"#;
    let done = r#"{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":0,"output_tokens":0,"input_tokens_details":{"cached_tokens":0}}}}"#;
    let response = stream(&format!("data: {delta}\n\ndata: {done}\n\n"));
    assert_eq!(
        (response.end, response.tokens, response.usage),
        (AnswerEnd::Complete, 1, Usage::default())
    );
}

/// llama.cpp's own `/completion` and `/infill`: `stop` instead of choices and an end mark.
#[test]
fn native_completions_of_llama_cpp() {
    const PART: &str = "data: {\"index\":0,\"content\":\" s\",\"tokens\":[376],\"stop\":false,\"tokens_predicted\":1,\"tokens_evaluated\":153}\n\n";
    const LAST: &str = "{\"index\":0,\"content\":\"\",\"tokens\":[],\"id_slot\":0,\"stop\":true,\"model\":\"t\",\"tokens_predicted\":1,\"tokens_evaluated\":153,\"generation_settings\":{\"stop\":[],\"index\":7},\"stop_type\":\"limit\",\"tokens_cached\":158,\"timings\":{\"cache_n\":152,\"prompt_n\":1,\"predicted_n\":1}}";
    let (progress, outcome) =
        read_whole(Body::Stream, format!("{PART}data: {LAST}\n\n").as_bytes());
    assert!(progress.first_token);
    assert_eq!(
        (outcome.end, outcome.finish_reason),
        (AnswerEnd::Complete, Some(FinishReason::Length))
    );
    assert_eq!((outcome.tokens, outcome.exact), (1, true));
    let usage = Usage::default().prompt_tokens(153).cached_tokens(152).completion_tokens(1);
    assert_eq!(outcome.usage, usage);
    assert_eq!(stream(PART).end, AnswerEnd::Cut);
    let two = PART.replace("\"index\":0", "\"index\":1");
    assert_eq!(
        stream(&format!("{PART}{two}data: {LAST}\n\n")).end,
        AnswerEnd::Cut,
        "one of two prompts"
    );
    let body = json(&LAST.replace("\"content\":\"\"", "\"content\":\" s\""));
    assert_eq!((body.end, body.usage), (AnswerEnd::Complete, usage));
}
