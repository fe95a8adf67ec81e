//! Bodies of disaggregated requests.

use serde_json::{Value, json};
use slotwise_wire::request::{Api, KvTransfer, RequestReader, kv_transfer_params};

fn applied(transfer: KvTransfer<'_>, api: Api, body: &str) -> Value {
    let new = transfer.apply(api, body.as_bytes()).expect("a body");
    serde_json::from_slice(&new).unwrap_or_else(|error| panic!("{error} in {new:?}"))
}

#[test]
fn a_prefill_asks_for_one_token_and_no_stream() {
    let body = r#"{"messages": [], "max_completion_tokens": 900, "min_tokens": 7, "stream": true,
        "stream_options": {"include_usage": true}, "n": 1}"#;
    let parameters = json!({
        "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null,
        "remote_block_ids": null, "remote_host": null, "remote_port": null,
    });
    let expected = json!({
        "messages": [], "max_completion_tokens": 1, "min_tokens": 0, "stream": false,
        "stream_options": null, "n": 1, "max_tokens": 1, "kv_transfer_params": parameters,
    });
    assert_eq!(applied(KvTransfer::NixlPrefill, Api::ChatCompletions, body), expected);
    for (api, limit) in [(Api::Responses, "max_output_tokens"), (Api::Messages, "max_tokens")] {
        let new = applied(KvTransfer::NixlPrefill, api, "{}");
        assert_eq!((&new[limit], &new["stream"]), (&json!(1), &json!(false)));
    }
    assert!(KvTransfer::NixlPrefill.apply(Api::Embeddings, b"{}").is_err());
}

#[test]
fn the_decoding_engine_gets_what_the_prefilling_one_returned() {
    let answer = br#"{"choices": [], "kv_transfer_params": {"remote_block_ids": [1, 2],
        "remote_engine_id": "e", "remote_host": "10.0.0.1", "remote_port": 5600}}"#;
    let parameters = kv_transfer_params(answer).expect("JSON").expect("present");
    let body = r#"{"prompt": "x", "stream": true, "max_tokens": 5}"#;
    let new = applied(KvTransfer::NixlDecode { parameters }, Api::Completions, body);
    assert_eq!(new["kv_transfer_params"]["remote_block_ids"], json!([1, 2]));
    assert_eq!((&new["stream"], &new["max_tokens"]), (&json!(true), &json!(5)));
    assert_eq!(kv_transfer_params(br#"{"kv_transfer_params": null}"#), Ok(None));
    assert_eq!(kv_transfer_params(b"{}"), Ok(None));
    assert!(kv_transfer_params(b"[]").is_err());
}

#[test]
fn sglang_engines_meet_in_a_room() {
    let transfer = KvTransfer::Bootstrap {
        host: "10.0.0.1",
        port: KvTransfer::BOOTSTRAP_PORT,
        room: (1 << 63) - 1,
    };
    let new = applied(transfer, Api::Generate, r#"{"text": "x"}"#);
    let expected = json!({
        "text": "x", "bootstrap_host": "10.0.0.1", "bootstrap_port": 8998,
        "bootstrap_room": 9_223_372_036_854_775_807_u64,
    });
    assert_eq!(new, expected);
}

#[test]
fn a_client_names_no_other_engine() {
    let body = r#"{"prompt": "x", "kv_transfer_params": {"remote_host": "evil"}, "bootstrap_room": 3,
        "kv_transfer_params": {"remote_host": "evil"}}"#;
    let new = KvTransfer::None.apply(Api::Completions, body.as_bytes()).expect("a body");
    assert!(!String::from_utf8(new.clone()).expect("text").contains("evil"));
    let mut reader = RequestReader::new();
    assert!(!reader.read(Api::Completions, &new).expect("valid").kv_transfer);
    let decode = KvTransfer::NixlDecode { parameters: r#"{"remote_host":"p"}"# };
    let new = decode.apply(Api::Completions, body.as_bytes()).expect("a body");
    assert!(!String::from_utf8(new).expect("text").contains("evil"));
}

#[test]
fn other_bytes_stay_and_no_body_panics() {
    let body = "{ \"prompt\" : \"\\u00e9\" ,\n \"temperature\": 1.0e0 }";
    let new = KvTransfer::None.apply(Api::Completions, body.as_bytes()).expect("a body");
    assert_eq!(new, body.as_bytes());
    for broken in ["", "[]", "{", "{\"a\":", "{\"stream\":tru}", "{\"a\":1}x", "null", "\u{feff}{}"]
    {
        let transfer = KvTransfer::Bootstrap { host: "\"\\", port: 1, room: 0 };
        let done = transfer.apply(Api::Completions, broken.as_bytes());
        assert!(done.is_err(), "{broken:?}: {done:?}");
    }
}

#[test]
fn media_make_a_request_multimodal() {
    let mut reader = RequestReader::new();
    let image = br#"{"messages": [{"role": "user", "content": [{"type": "image_url",
        "image_url": {"url": "https://example.com/cat.png"}}]}]}"#;
    let view = reader.read(Api::ChatCompletions, image).expect("valid");
    assert!(view.to_request(slotwise_wire::request::PriorityOrder::LowFirst).multimodal);
    let text = br#"{"messages": [{"role": "user", "content": "a cat"}]}"#;
    let view = reader.read(Api::ChatCompletions, text).expect("valid");
    assert!(!view.to_request(slotwise_wire::request::PriorityOrder::LowFirst).multimodal);
}
