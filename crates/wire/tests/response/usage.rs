//! Usage that the client did not request.

use proptest::prelude::*;
use slotwise_wire::response::{AnswerFilter, Body};

use crate::{chunks, filtered, fixture};

/// The filtered stream.
fn without_usage<'a>(model: Option<&str>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut filter = AnswerFilter::new(Body::Stream, model, true);
    let mut output = Vec::new();
    for chunk in chunks {
        filter.feed(chunk, &mut output);
    }
    filter.finish(&mut output);
    output
}

/// The stream that vLLM sends to a client that requests usage, without that usage.
#[test]
fn a_captured_stream_loses_one_event() {
    for name in ["chat_sse_usage", "completion_sse_usage"] {
        let stream = fixture(&format!("default/http/{name}.sse"));
        let text = String::from_utf8(stream.clone()).expect("UTF-8");
        let events: Vec<&str> = text.split_inclusive("\n\n").collect();
        let kept: String =
            events.iter().filter(|event| !event.contains("\"choices\":[]")).copied().collect();
        let kept = kept.replace(",\"usage\":null", "");
        assert!(kept.len() < text.len());
        for cut in 0..=stream.len() {
            let output = without_usage(None, chunks(&stream, &[cut]));
            assert_eq!(String::from_utf8_lossy(&output), kept, "{name} cut at {cut}");
        }
        assert_eq!(without_usage(None, stream.chunks(1)), kept.as_bytes());
        let renamed = filtered(Body::Stream, "gpt-4o", [kept.as_bytes()]);
        assert_eq!(without_usage(Some("gpt-4o"), stream.chunks(3)), renamed);
    }
}

#[test]
fn only_the_usage_goes() {
    for (stream, kept) in [
        ("data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n", "data: [DONE]\n\n"),
        (
            "data: {\"usage\":{\"a\":[1]},\"choices\": [ ] }\r\n\r\ndata: x\r\n\r\n",
            "data: x\r\n\r\n",
        ),
        ("data:{\"choices\":[],\"usage\":{}}\r\rdata: x\r\r", "data: x\r\r"),
        ("data: {\"usage\":null,\"a\":1}\n\n", "data: {\"a\":1}\n\n"),
        ("data: {\"a\":1 , \"usage\" : null}\n\n", "data: {\"a\":1}\n\n"),
        ("data: {\"a\":1,\"usage\":null,\"b\":2}\n\n", "data: {\"a\":1,\"b\":2}\n\n"),
        ("data: {\"usage\":null}\n\n", "data: {}\n\n"),
    ] {
        assert_eq!(String::from_utf8_lossy(&without_usage(None, [stream.as_bytes()])), kept);
        assert_eq!(
            String::from_utf8_lossy(&without_usage(None, stream.as_bytes().chunks(1))),
            kept
        );
    }
    for same in [
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"completion_tokens\":1}}\n\n",
        "data: {\"choices\":[],\"usage\":[]}\n\n",
        "data: {\"choices\":[{\"usage\":null}],\"x\":{\"usage\":null}}\n\n",
        "data: {\"choices\":[],\"usage\":{}}",
        "data: {\"choices\":[],\"usage\":{}}\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":1}}\n\n",
        ": ping\n\n\n\n",
        "data: {]\n\n",
    ] {
        assert_eq!(String::from_utf8_lossy(&without_usage(None, same.as_bytes().chunks(2))), same);
    }
    let mut body = AnswerFilter::new(Body::Json, None, true);
    let mut output = Vec::new();
    body.feed(b"{\"choices\":[],\"usage\":{}}\n\n", &mut output);
    assert_eq!(output, b"{\"choices\":[],\"usage\":{}}\n\n", "bodies always have it");
}

#[test]
fn an_event_without_end_is_not_held() {
    let mut filter = AnswerFilter::new(Body::Stream, None, true);
    let mut output = Vec::new();
    filter.feed(b"data: {\"text\":\"", &mut output);
    for _ in 0..100 {
        filter.feed(&[b'a'; 4_096], &mut output);
    }
    assert!(output.len() > 300_000);
    filter.feed(b"\"}\n\ndata: {\"choices\":[],\"usage\":{}}\n\n", &mut output);
    assert!(output.ends_with(b"a\"}\n\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_chunks_give_the_same(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "data: ", "data:", "\n", "\n\n", "\r", "\r\n", "\r\n\r\n", "{", "}", "[]", "\"usage\"", "\"choices\"", ":", "null", "{}", ",",
            "{\"choices\":[],\"usage\":{}}", "{\"a\":1,\"usage\":null}", "\u{feff}", "event: x", "x",
        ]), 0..40),
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
        model in any::<bool>(),
    ) {
        let bytes = pieces.concat().into_bytes();
        let model = model.then_some("NEW");
        let whole = without_usage(model, [&*bytes]);
        prop_assert_eq!(without_usage(model, chunks(&bytes, &cuts)), whole);
    }
}
