//! Hand-written bodies of each API.

use slotwise::{Priority, Prompt};
use slotwise_wire::request::{Api, PriorityOrder, RequestReader, SessionField, rewrite_model};

use super::{Read, prompt, text};

#[test]
fn sglang_generates_from_a_batch() {
    let body = r#"{"text": ["one", "two"], "sampling_params": {"max_new_tokens": 7, "n": 2}, "lora_path": [null, "a"],
        "rid": ["r1", "r2"], "stream": true, "session_params": {"id": "s"}, "bootstrap_room": 5, "priority": 3}"#;
    let mut reader = RequestReader::new();
    let view = reader.read(Api::Generate, body.as_bytes()).expect("valid");
    assert!(matches!(view.prompt, Prompt::Text(b"one")));
    assert_eq!((view.prompts, view.max_tokens, view.n, view.stream), (2, Some(7), Some(2), true));
    assert_eq!((view.adapter.as_deref(), view.request_id.as_deref()), (None, Some("r1")));
    assert_eq!(
        (view.session.as_deref(), view.session_field),
        (Some("s"), Some(SessionField::SessionParams))
    );
    assert!(view.kv_transfer && view.model.is_none());
    let request = view.to_request(PriorityOrder::HighFirst);
    assert_eq!(
        (request.model, request.priority, request.expected_output_tokens, request.streams),
        ("", Priority(0), 28, true)
    );
    assert_eq!((request.batch.text_bytes, request.batch.sequences), (3, 4));
}

#[test]
fn token_ids_come_before_text() {
    let ids = |ids: &[u32]| Read::Tokens(ids.to_vec());
    assert_eq!(prompt(Api::Generate, r#"{"text": "a", "input_ids": [1, 2]}"#), ids(&[1, 2]));
    assert_eq!(prompt(Api::Generate, r#"{"input_ids": [[1], [2, 3]], "text": null}"#), ids(&[1]));
    assert_eq!(
        prompt(Api::Completions, r#"{"prompt": [[1, 4294967295], ["never looked at"]]}"#),
        ids(&[1, u32::MAX])
    );
    assert_eq!(prompt(Api::Completions, r#"{"prompt_token_ids": [9], "prompt": [1]}"#), ids(&[1]));
    // Engines do not read token ids there.
    let chat = r#"{"prompt_token_ids": [9], "input_ids": [9], "messages": []}"#;
    assert_eq!(prompt(Api::ChatCompletions, chat), Read::Text(vec![]));
    assert_eq!(
        prompt(Api::InferenceGenerate, r#"{"token_ids": [5, 6], "sampling_params": {}}"#),
        ids(&[5, 6])
    );
    assert_eq!(prompt(Api::Embeddings, r#"{"input": [1, 2]}"#), ids(&[1, 2]));
    // None are given.
    assert_eq!(
        prompt(Api::Generate, r#"{"text": "a", "input_ids": []}"#),
        Read::Text(b"a".to_vec())
    );
    assert_eq!(
        prompt(Api::Generate, r#"{"prompt": "a", "input_ids": null}"#),
        Read::Text(b"a".to_vec())
    );
}

#[test]
fn a_plain_prompt_is_borrowed() {
    let body = br#"{"prompt": "plain \u00e9", "prompt": "plain"}"#;
    let mut reader = RequestReader::new();
    let view = reader.read(Api::Completions, body).expect("valid");
    let Prompt::Text(text) = view.prompt else { panic!("text") };
    assert!(body.as_ptr_range().contains(&text.as_ptr()));
    assert_eq!(
        super::text(Api::Completions, r#"{"prompt": "plain \u00e9"}"#),
        "plain é".as_bytes()
    );
}

#[test]
fn what_a_plain_prompt_shows_counts() {
    let of = |image: &str| {
        text(Api::Generate, &format!(r#"{{"image_data": {image}, "text": "what is <image>?"}}"#))
    };
    assert_ne!(of("\"a.png\""), of("\"b.png\""));
    assert!(of("\"a.png\"").starts_with(b"what is <image>?\xffh"));
    assert_eq!(of("null"), b"what is <image>?");
}

#[test]
fn sessions_have_an_order() {
    let fields = [
        (r#""previous_response_id": "g""#, "previous_response_id"),
        (r#""user": "f""#, "user"),
        (r#""conversation": {"id": "e"}"#, "conversation"),
        (r#""prompt_cache_key": "d""#, "prompt_cache_key"),
        (r#""session_params": {"id": "c"}"#, "session_params.id"),
        (r#""vllm_xargs": {"session_id": "b"}"#, "vllm_xargs.session_id"),
        (r#""session_id": "a""#, "session_id"),
    ];
    for upto in 1..=fields.len() {
        let body: Vec<_> = fields[..upto].iter().map(|(field, _)| *field).collect();
        let body = format!("{{\"input\": \"\", {}}}", body.join(","));
        let mut reader = RequestReader::new();
        let view = reader.read(Api::Responses, body.as_bytes()).expect("valid");
        assert_eq!(view.session_field.map(SessionField::as_str), Some(fields[upto - 1].1));
    }
    let mut reader = RequestReader::new();
    let body = br#"{"messages": [], "session_id": "", "vllm_xargs": {"session_id": 5}, "metadata": {"user_id": "me"}}"#;
    let view = reader.read(Api::Messages, body).expect("valid");
    assert_eq!(
        (view.session.as_deref(), view.session_field),
        (Some("me"), Some(SessionField::MetadataUserId))
    );
}

#[test]
fn numbers_are_taken_as_engines_take_them() {
    let read = |field: &str| {
        let body = format!(r#"{{"messages": [], {field}}}"#);
        let mut reader = RequestReader::new();
        let view = reader.read(Api::ChatCompletions, body.as_bytes()).expect("valid");
        (view.max_tokens, view.priority, view.stream)
    };
    assert_eq!(read(r#""max_tokens": "12""#).0, Some(12));
    assert_eq!(read(r#""max_tokens": 12.0"#).0, Some(12));
    for none in ["-1", "-1.0", "\"-1\"", "-2", "null"] {
        assert_eq!(read(&format!(r#""max_tokens": {none}"#)).0, None, "{none}");
    }
    assert_eq!(read(r#""max_tokens": 0"#).0, Some(0));
    assert_eq!(read(r#""max_tokens": 99999999999"#).0, Some(u32::MAX));
    assert_eq!(read(r#""max_tokens": 5, "max_completion_tokens": 6"#).0, Some(6));
    assert_eq!(read(r#""max_completion_tokens": null, "max_tokens": 5"#).0, Some(5));
    assert_eq!(read(r#""priority": -9223372036854775808"#).1, Some(i64::MIN));
    assert_eq!(PriorityOrder::LowFirst.priority(i64::MIN), Priority(i32::MAX));
    assert_eq!(PriorityOrder::HighFirst.priority(i64::MIN), Priority(i32::MIN));
    for (yes, said) in [
        (true, "true"),
        (true, "1"),
        (true, "\"True\""),
        (false, "0"),
        (false, "null"),
        (false, "\"off\""),
    ] {
        assert_eq!(read(&format!(r#""stream": {said}"#)).2, yes, "{said}");
    }
}

#[test]
fn a_model_is_replaced_where_it_stands() {
    let rewritten = |body: &str, model: &str| {
        rewrite_model(body.as_bytes(), model).map(|body| String::from_utf8(body).expect("UTF-8"))
    };
    assert_eq!(
        rewritten(r#"{"messages":[{"model":"x"}], "model" : "a\"b" ,"n":1}"#, "q\"\\\n\u{1}é")
            .as_deref(),
        Ok(r#"{"messages":[{"model":"x"}], "model" : "q\"\\\u000a\u0001é" ,"n":1}"#)
    );
    // Engines use the last one.
    assert_eq!(
        rewritten(r#"{"model":"a","model":"b"}"#, "c").as_deref(),
        Ok(r#"{"model":"a","model":"c"}"#)
    );
    let missing = rewritten(r#"{"n": 1} "#, "c").expect_err("no model");
    assert_eq!(
        (missing.offset, missing.to_string()),
        (7, "at byte 7: expected a key \"model\"".into())
    );
    assert!(rewritten(r#"{"model": null}"#, "c").is_err());
    assert_eq!(rewritten(r#"{"model": 5}"#, "c").expect_err("a number").offset, 10);
}
