//! Malformed and extreme answers.

use slotwise_wire::ErrorKind;
use slotwise_wire::response::{AnswerEnd, Body, CloseReason, FinishReason, ResponseReader};

use crate::{fixture, read, read_whole};

/// A line of 64 MB and a body of that size need no more memory than others. A reader cannot
/// allocate, and its size is fixed.
#[test]
fn lines_and_bodies_without_end() {
    assert!(size_of::<ResponseReader>() <= 1_152, "{}", size_of::<ResponseReader>());
    let piece = vec![b'a'; 1 << 16];
    for (body, start) in [
        (Body::Stream, "data: {\"choices\":[{\"text\":\""),
        (Body::Json, "{\"choices\":[{\"text\":\""),
        (Body::Stream, "data"),
        (Body::Stream, "event: "),
    ] {
        let mut reader = ResponseReader::with_body(200, body);
        reader.feed(start.as_bytes());
        for _ in 0..1_000 {
            assert_eq!(reader.feed(&piece).tokens, 0);
        }
        let rest = "\",\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":7}}\n\n";
        let progress = reader.feed(rest.as_bytes());
        let outcome = reader.finish(CloseReason::Clean);
        if start.contains('{') {
            assert_eq!((outcome.end, outcome.tokens), (AnswerEnd::Complete, 7));
        } else {
            assert_eq!((outcome.end, outcome.tokens, progress.tokens), (AnswerEnd::Cut, 0, 0));
        }
    }
}

#[test]
fn nesting_without_end() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let body = format!("{{\"logprobs\":{deep},\"usage\":{{\"prompt_tokens\":5}}}}");
    let (_, outcome) = read_whole(Body::Json, body.as_bytes());
    assert_eq!(
        (outcome.end, outcome.usage.prompt_tokens),
        (AnswerEnd::Complete, Some(5)),
        "it is only skipped"
    );
    for open in ["[", "{\"choices\":[", "{\"response\":", "{\"a\":{", "{\"error\":"] {
        let body = open.repeat(100_000);
        assert_ne!(read_whole(Body::Json, body.as_bytes()).1.end, AnswerEnd::Complete, "{open}");
    }
}

#[test]
fn errors_say_where() {
    let problem = |body, text: &str| {
        let (_, outcome) = read(body, text.as_bytes().chunks(3), CloseReason::Clean);
        let problem = outcome.problem.expect(text);
        assert_eq!(outcome.unreadable, 1, "{text}");
        (problem.offset, problem.problem)
    };
    assert_eq!(problem(Body::Json, "{\"a\" 1}"), (5, ErrorKind::Expected("a colon")));
    assert_eq!(problem(Body::Json, "{\"a\":1}x"), (7, ErrorKind::Expected("the end")));
    assert_eq!(
        problem(Body::Json, "{\"choices\":[1}"),
        (13, ErrorKind::Expected("a comma or the end of the array"))
    );
    assert_eq!(problem(Body::Json, "{a}"), (1, ErrorKind::Expected("a key")));
    assert_eq!(
        problem(Body::Stream, ": hello\n\ndata: {\"a\":}\n\n"),
        (20, ErrorKind::Expected("a value"))
    );
    assert_eq!(
        problem(Body::Stream, "data: {\"a\":\"b\ndata: c\"}\n\n"),
        (20, ErrorKind::Expected("the end of the string"))
    );
    assert_eq!(
        problem(Body::Stream, "data: [DONx\n\ndata: [DONE]\n\n"),
        (10, ErrorKind::Expected("a value"))
    );
    let (_, outcome) = read_whole(Body::Json, b"<html>");
    assert_eq!(
        (outcome.end, outcome.problem.map(|problem| problem.offset)),
        (AnswerEnd::Unreadable, Some(0))
    );
}

/// A malformed payload does not affect others.
#[test]
fn a_stream_goes_on_after_nonsense() {
    let good = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
    for bad in [
        "data: {]\n\n",
        "data: {\"choices\":[{\"text\":\"a\"\n\n",
        "data: \u{0}\n\n",
        "data: <br>\n\n",
    ] {
        let (progress, outcome) =
            read_whole(Body::Stream, format!("{good}{bad}{good}data: [DONE]\n\n").as_bytes());
        assert_eq!(
            (progress.tokens, outcome.unreadable, outcome.end),
            (2, 1, AnswerEnd::Complete),
            "{bad:?}"
        );
    }
}

#[test]
fn bytes_that_are_no_text() {
    let (progress, outcome) = read_whole(
        Body::Stream,
        b"data: {\"choices\":[{\"index\":0,\"text\":\"\xff\xfe\0\"}],\"\xff\":\"\xff\"}\n\ndata: [DONE]\n\n",
    );
    assert_eq!((progress.tokens, outcome.end, outcome.unreadable), (1, AnswerEnd::Complete, 0));
    let (_, outcome) = read_whole(Body::Stream, &[0; 10_000]);
    assert_eq!(outcome.end, AnswerEnd::Cut);
    let (_, outcome) = read_whole(Body::Json, &[0xff; 10_000]);
    assert_eq!(outcome.end, AnswerEnd::Unreadable);
}

#[test]
fn numbers_that_are_none() {
    for (number, tokens) in [
        ("4294967295", Some(u32::MAX)),
        ("4294967296", None),
        ("9007199254740993", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", Some(1_000)),
        ("12.0", Some(12)),
        ("NaN", None),
        ("Infinity", None),
        ("1e999", None),
        ("\"7\"", None),
        ("[7]", None),
        ("{}", None),
        ("true", None),
    ] {
        let body = format!("{{\"usage\":{{\"prompt_tokens\":{number}}}}}");
        let (_, outcome) = read(Body::Json, body.as_bytes().chunks(2), CloseReason::Clean);
        assert_eq!(
            (outcome.usage.prompt_tokens, outcome.end),
            (tokens, AnswerEnd::Complete),
            "{number}"
        );
    }
    let digits = format!("{{\"usage\":{{\"prompt_tokens\":{}}}}}", "9".repeat(100_000));
    assert_eq!(read_whole(Body::Json, digits.as_bytes()).1.usage.prompt_tokens, None);
    let twice = br#"{"usage":{"prompt_tokens":1,"prompt_tokens":2},"usage":{"prompt_tokens":3}}"#;
    assert_eq!(read_whole(Body::Json, twice).1.usage.prompt_tokens, Some(3), "the last one counts");
}

/// A word is stored up to the length of the longest known one. A longer word is unknown, also in
/// one piece.
#[test]
fn words_without_end() {
    for length in [40, 63, 64, 65, 1_000] {
        let zeros = "0".repeat(length);
        let body = format!(
            "{{\"choices\":[{{\"finish_reason\":\"{zeros}\"}}],\"choices{zeros}\":1,\"usage\":{{\"prompt_tokens\":7.{zeros}}}}}"
        );
        let (_, whole) = read_whole(Body::Json, body.as_bytes());
        assert_eq!(whole.finish_reason, Some(FinishReason::Other), "{length}");
        assert_eq!(whole.usage.prompt_tokens, Some(7).filter(|_| length + 2 <= 64), "{length}");
        for size in [1, 7, 63] {
            let (_, outcome) = read(Body::Json, body.as_bytes().chunks(size), CloseReason::Clean);
            assert_eq!(outcome, whole, "{length} in chunks of {size}");
        }
    }
}

/// A truncated body is never complete.
#[test]
fn bodies_truncated_at_every_byte() {
    let body = fixture("default/http/chat_sse_usage.sse");
    let payload = body.split(|byte| *byte == b'\n').nth(14).expect("a line");
    let json = payload.strip_prefix(b"data: ").expect("data");
    let (_, outcome) = read_whole(Body::Json, json);
    assert_eq!(outcome.usage.completion_tokens, Some(6));
    for end in 1..json.len() {
        let (_, outcome) = read_whole(Body::Json, &json[..end]);
        assert_eq!(
            (outcome.end, outcome.usage.prompt_tokens),
            (AnswerEnd::Cut, None),
            "truncated at {end}"
        );
    }
}
