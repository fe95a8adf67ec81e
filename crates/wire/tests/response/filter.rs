//! The client's name for the model.

use proptest::prelude::*;
use serde_json::Value;
use slotwise_wire::response::Body;

use crate::{STREAMS, chunks, filtered, fixture, fixture_json};

#[test]
fn captured_streams_change_by_the_name_alone() {
    for name in STREAMS {
        let stream = fixture(&format!("default/http/{name}.sse"));
        let text = String::from_utf8(stream.clone()).expect("UTF-8");
        let expected = text.replace("\"model\":\"tiny\"", "\"model\":\"gpt \\\"4\\\"\"");
        assert_ne!(text, expected);
        assert_eq!(filtered(Body::Stream, "gpt \"4\"", [&*stream]), expected.as_bytes(), "{name}");
        for cut in 0..stream.len() {
            let output = filtered(Body::Stream, "gpt \"4\"", chunks(&stream, &[cut]));
            assert_eq!(output, expected.as_bytes(), "{name} cut at {cut}");
        }
        assert_eq!(filtered(Body::Stream, "gpt \"4\"", stream.chunks(1)), expected.as_bytes());
        assert_eq!(
            filtered(Body::Stream, "tiny", stream.chunks(3)),
            stream,
            "the same name is the same stream"
        );
    }
}

#[test]
fn captured_bodies_change_by_the_name_alone() {
    for (name, said) in fixture_json("default/http/bodies.json").as_object().expect("an object") {
        let body = said["body"].as_str().expect("a body");
        let output = filtered(Body::Json, "gpt-4o", body.as_bytes().chunks(5));
        let Ok(Value::Object(mut expected)) = serde_json::from_str(body) else {
            assert_eq!(output, body.as_bytes(), "{name}");
            continue;
        };
        if let Some(model) = expected.get_mut("model") {
            *model = "gpt-4o".into();
        }
        let output: Value = serde_json::from_slice(&output).expect("JSON");
        assert_eq!(output, Value::Object(expected), "{name}");
    }
}

#[test]
fn only_the_model_at_the_top() {
    let same =
        |body: &str| assert_eq!(filtered(Body::Json, "new", [body.as_bytes()]), body.as_bytes());
    same(r#"{"model":null,"choices":[{"model":"a","message":{"model":"a"}}]}"#);
    same(r#"{"models":"a","xmodel":"a","text":"\"model\":\"a\"","model":{"model":"a"}}"#);
    same(r#"{"a":{"message":{"model":"a"}},"x":"model","model" "a"}"#);
    same("");
    let changed = |body: &str, expected: &str| {
        assert_eq!(filtered(Body::Json, "new", [body.as_bytes()]), expected.as_bytes());
        assert_eq!(filtered(Body::Json, "new", body.as_bytes().chunks(1)), expected.as_bytes());
    };
    changed(r#" { "mod\u0065l" : "a\"\\" , "b":1}"#, r#" { "mod\u0065l" : "new" , "b":1}"#);
    changed(
        r#"{"message":{"model":"a"},"model":""}"#,
        r#"{"message":{"model":"new"},"model":"new"}"#,
    );
    changed(
        r#"{"response":{"model":"a","b":[{"model":"c"}]}}"#,
        r#"{"response":{"model":"new","b":[{"model":"c"}]}}"#,
    );
    changed(r#"[{"model":"a"},{"model":"b"}]"#, r#"[{"model":"new"},{"model":"new"}]"#);
    let stream = "data: {\"model\":\"cut off\n\ndata: {\"model\":\"a\"}\r\n\r\ndata: {\"model\":\ndata: \"a\"}\n\n";
    let expected = "data: {\"model\":\"new\n\ndata: {\"model\":\"new\"}\r\n\r\ndata: {\"model\":\ndata: \"new\"}\n\n";
    assert_eq!(filtered(Body::Stream, "new", stream.as_bytes().chunks(1)), expected.as_bytes());
    assert_eq!(filtered(Body::Opaque, "new", [stream.as_bytes()]), stream.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_name_in_any_chunks(
        old in any::<String>(),
        new in any::<String>(),
        text in any::<String>(),
        first in any::<bool>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
    ) {
        let json = |text: &str| serde_json::to_string(text).expect("JSON");
        let write = |model: &str| {
            let rest = format!("\"text\": {}, \"choices\":[{{\"model\":{}}}]", json(&text), json(&old));
            if first { format!("{{\"model\" :{model},{rest} }}") } else { format!("{{{rest},\n\"model\": {model}}}") }
        };
        let escaped: String = new.chars().fold(String::new(), |escaped, letter| match letter {
            '"' | '\\' => escaped + "\\" + &letter.to_string(),
            '\0'..' ' => escaped + &format!("\\u{:04x}", u32::from(letter)),
            _ => escaped + &letter.to_string(),
        });
        let output = filtered(Body::Json, &new, chunks(write(&json(&old)).as_bytes(), &cuts));
        prop_assert_eq!(String::from_utf8_lossy(&output), write(&format!("\"{escaped}\"")));
        let output: Value = serde_json::from_slice(&output).expect("JSON");
        prop_assert_eq!(&output["model"], &Value::from(new));
    }

    /// Input that is not an answer passes in the same way for any chunking.
    #[test]
    fn nonsense_in_any_chunks(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "data: ", "data:", "\n", "\r", "\r\n", "{", "}", "[", "]", "\"model\"", ":", "\"a\"", ",", "\\", "\"", "\"message\"", "\u{feff}", "event", "null", "é",
        ]), 0..40),
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
        json in any::<bool>(),
    ) {
        let bytes = pieces.concat().into_bytes();
        let body = if json { Body::Json } else { Body::Stream };
        let whole = filtered(body, "NEW", [&*bytes]);
        prop_assert_eq!(filtered(body, "NEW", chunks(&bytes, &cuts)), whole);
    }
}
