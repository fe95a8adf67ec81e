//! Malformed and extreme bodies.

use proptest::prelude::*;
use slotwise::Prompt;
use slotwise_wire::ErrorKind;
use slotwise_wire::request::{Api, ModelSplice, RequestReader};

use super::error;
use super::random::any_body;

#[test]
fn errors_say_where_and_what() {
    let check = |api, body: &str, at: &str, problem| {
        let error = error(api, body);
        assert_eq!(
            (error.offset, error.problem),
            (body.find(at).expect("in there"), problem),
            "{body}"
        );
    };
    let chat = Api::ChatCompletions;
    check(chat, r#"{"model": 5}"#, "5", ErrorKind::Expected("a model's name"));
    check(chat, r#"{"messages": "hi"}"#, "\"hi", ErrorKind::Expected("an array of messages"));
    check(chat, r#"{"messages": ["hi"]}"#, "\"hi", ErrorKind::Expected("a message"));
    check(chat, r#"{"messages": [{"role": 7}]}"#, "7", ErrorKind::Expected("a role"));
    check(
        chat,
        r#"{"messages": [{"role": "a", "content": 7}]}"#,
        "7",
        ErrorKind::Expected("a string or an array of parts"),
    );
    check(chat, r#"{"messages": [{"content": [7]}]}"#, "7", ErrorKind::Expected("a part"));
    check(chat, r#"{"messages": [{"tool_calls": [7]}]}"#, "7", ErrorKind::Expected("a call"));
    check(chat, r#"{"tools": {}}"#, "{}", ErrorKind::Expected("an array of tools"));
    check(chat, r#"{"max_tokens": "many"}"#, "\"many", ErrorKind::Expected("max tokens"));
    check(chat, r#"{"max_tokens": -1.5}"#, "-1.5", ErrorKind::OutOfRange("max tokens"));
    check(chat, r#"{"stream": 2}"#, "2", ErrorKind::Expected("true or false"));
    check(
        chat,
        r#"{"priority": 99999999999999999999}"#,
        "9999",
        ErrorKind::OutOfRange("a priority"),
    );
    check(chat, r#"{"a": 1} x"#, "x", ErrorKind::Expected("the end"));
    check(chat, "[]", "[", ErrorKind::Expected("an object"));
    let ids = Api::Completions;
    check(ids, r#"{"prompt": [1, 4294967296]}"#, "4294967296", ErrorKind::OutOfRange("a token id"));
    check(ids, r#"{"prompt": [1, -2]}"#, "-2", ErrorKind::OutOfRange("a token id"));
    check(ids, r#"{"prompt": [1, "b"]}"#, "\"b", ErrorKind::Expected("a token id"));
    check(ids, r#"{"prompt": [[1.5]]}"#, "1.5", ErrorKind::OutOfRange("a token id"));
    check(
        ids,
        r#"{"prompt": true}"#,
        "true",
        ErrorKind::Expected("a prompt: a string, token ids, or an array of either"),
    );
    check(
        Api::Generate,
        r#"{"input_ids": "1"}"#,
        "\"1",
        ErrorKind::Expected("an array of token ids"),
    );
    assert_eq!(error(chat, b"{\"a\": \"\xff\"}").problem, ErrorKind::NotUtf8);
    assert_eq!(error(chat, b"").problem, ErrorKind::Truncated);
}

#[test]
fn a_body_has_a_limit() {
    let body = br#"{"messages":[]}"#;
    assert!(RequestReader::with_limit(body.len()).read(Api::Messages, body).is_ok());
    let error = RequestReader::with_limit(body.len() - 1)
        .read(Api::Messages, body)
        .map(|_| ())
        .expect_err("one byte too long");
    assert_eq!((error.offset, error.problem), (body.len() - 1, ErrorKind::TooLong(body.len() - 1)));
}

/// A body of 100 MiB is read in place; a body of one byte more is rejected.
#[test]
fn the_largest_bodies() {
    let (head, tail) = (r#"{"model":"m","prompt":""#, r#""}"#);
    let mut body = Vec::with_capacity(RequestReader::DEFAULT_LIMIT + 1);
    body.extend_from_slice(head.as_bytes());
    body.resize(RequestReader::DEFAULT_LIMIT - tail.len(), b'a');
    body.extend_from_slice(tail.as_bytes());
    let mut reader = RequestReader::new();
    let Prompt::Text(text) = reader.read(Api::Completions, &body).expect("valid").prompt else {
        panic!("text")
    };
    assert!(body.as_ptr_range().contains(&text.as_ptr()), "it is not copied");
    body.push(b' ');
    let error = reader.read(Api::Completions, &body).map(|_| ()).expect_err("too long");
    let limit = RequestReader::DEFAULT_LIMIT;
    assert_eq!((error.offset, error.problem), (limit, ErrorKind::TooLong(limit)));
}

#[test]
fn nesting_ends_somewhere() {
    let deep = |open: &str, levels: usize| open.repeat(levels);
    for open in [
        r#"{"messages":[{"role":"user","content":[{"a":"#,
        r#"{"tools":[{"parameters":"#,
        "{\"a\":",
    ] {
        let body = format!("{open}{}", deep("[", 100_000));
        assert_eq!(error(Api::ChatCompletions, body).problem, ErrorKind::TooDeep(128));
    }
    let part = r#"{"type":"tool_result","tool_use_id":"a","content":["#;
    let body = format!(r#"{{"messages":[{{"role":"user","content":[{}"#, deep(part, 10_000));
    assert_eq!(error(Api::Messages, body).problem, ErrorKind::TooDeep(128));
    // The maximum nesting: the innermost part is copied as written.
    let levels = 61;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{}{}]}}]}}"#,
        deep(part, levels),
        deep("]}", levels)
    );
    assert!(RequestReader::new().read(Api::Messages, body.as_bytes()).is_ok());
}

/// The text of any body is a small multiple of its size.
#[test]
fn memory_is_linear() {
    let part = r#"{"type":"tool_result","tool_use_id":"","content":[{"uuid":"","file":1}]}"#;
    let message = format!(r#"{{"content":[{part}],"role":"u","content":[{part}],"role":"v"}}"#);
    let many = |piece: &str, bytes: usize| vec![piece; bytes / piece.len()].join(",");
    let bodies = [
        format!(r#"{{"messages":[{}]}}"#, many(&message, 4 << 20)),
        format!(r#"{{"messages":[{}]}}"#, many("{}", 4 << 20)),
        format!(r#"{{"messages":[{{"role":"a","content":[{}]}}]}}"#, many("{}", 4 << 20)),
        format!(
            r#"{{"messages":[{{"role":"a","content":[{}]}}]}}"#,
            many(r#"{"file":1}"#, 4 << 20)
        ),
        format!(
            r#"{{"messages":[{{"role":"a","content":["x"]}}],{}}}"#,
            many(r#""tools":[{},{}]"#, 4 << 20)
        ),
        format!(r#"{{"messages":[{{{}}}]}}"#, many(r#""role":"a","content":["x"]"#, 4 << 20)),
    ];
    for body in bodies {
        let mut reader = RequestReader::new();
        let view = reader.read(Api::Messages, body.as_bytes()).expect("valid");
        let Prompt::Text(text) = view.prompt else { panic!("text") };
        assert!(text.len() <= 4 * body.len(), "{} of {}: {}", text.len(), body.len(), &body[..60]);
    }
}

proptest! {
    #[test]
    fn no_cut_and_no_change_makes_it_panic(
        (api, body) in any_body(), at in any::<prop::sample::Index>(), byte in any::<u8>(), other in prop::sample::select(Api::ALL.to_vec()),
    ) {
        let mut body = body.to_string().into_bytes();
        let mut reader = RequestReader::new();
        let at = at.index(body.len());
        let cut = reader.read(api, &body[..at]).map(|_| ()).expect_err("cut");
        prop_assert!(cut.offset <= at);
        prop_assert!(ModelSplice::find(&body[..at], "m").is_err());
        // As another API, the body may be valid or not.
        let _ = reader.read(other, &body);
        body[at] = byte;
        if let Err(error) = reader.read(api, &body) {
            prop_assert!(error.offset <= body.len());
        }
    }
}
