//! Every chunking gives the same result as one chunk and as the naive reader.

use proptest::prelude::*;
use serde_json::json;
use slotwise_wire::response::{Body, CloseReason, Outcome, Progress};

use crate::twin::{self, Twin};
use crate::{STREAMS, chunks, fixture, fixture_json, read};

fn total(progress: &[Progress]) -> Progress {
    assert!(
        progress.iter().filter(|one| one.first_token).count() <= 1,
        "there is only one first token"
    );
    progress.iter().fold(Progress::default(), |sum, one| sum.and(*one))
}

fn as_twin(progress: Progress, outcome: Outcome) -> Twin {
    Twin {
        tokens: outcome.tokens,
        exact: outcome.exact,
        usage: outcome.usage,
        finish: outcome.finish_reason,
        ended: progress.ended,
        error: outcome.status != 200,
        unreadable: outcome.unreadable,
        seen: Default::default(),
    }
}

#[test]
fn captured_streams_in_all_halves_and_byte_by_byte() {
    for name in STREAMS {
        let stream = fixture(&format!("default/http/{name}.sse"));
        let (whole, outcome) = read(Body::Stream, [&*stream], CloseReason::Clean);
        assert_eq!(as_twin(whole[0], outcome), twin::stream(&stream).told(), "{name}");
        for cut in 0..stream.len() {
            let (progress, cut_outcome) =
                read(Body::Stream, chunks(&stream, &[cut]), CloseReason::Clean);
            assert_eq!((total(&progress), cut_outcome), (whole[0], outcome), "{name} cut at {cut}");
        }
        let (progress, outcome_of_bytes) = read(Body::Stream, stream.chunks(1), CloseReason::Clean);
        assert_eq!((total(&progress), outcome_of_bytes), (whole[0], outcome), "{name}");
    }
}

#[test]
fn captured_bodies_in_all_halves() {
    for (name, said) in fixture_json("default/http/bodies.json").as_object().expect("an object") {
        let body = said["body"].as_str().expect("a body").as_bytes();
        let (_, whole) = read(Body::Json, [body], CloseReason::Clean);
        for cut in 0..body.len() {
            let (_, outcome) = read(Body::Json, chunks(body, &[cut]), CloseReason::Clean);
            assert_eq!(outcome, whole, "{name} cut at {cut}");
        }
        let (_, outcome) = read(Body::Json, body.chunks(1), CloseReason::Clean);
        assert_eq!(outcome, whole, "{name}");
    }
}

#[test]
fn truncated_streams_are_what_the_twin_says() {
    for name in STREAMS {
        let stream = fixture(&format!("default/http/{name}.sse"));
        for end in 0..stream.len() {
            let (progress, outcome) =
                read(Body::Stream, stream[..end].chunks(7), CloseReason::Broken);
            let mut twin = twin::stream(&stream[..end]).told();
            // Without its empty line, the end mark counts only at the end of the body.
            twin.ended = total(&progress).ended;
            assert_eq!(as_twin(total(&progress), outcome), twin, "{name} truncated at {end}");
        }
    }
}

/// A payload that the twin can read, or any other.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![Just(String::new()), any::<String>()];
    let reason = prop_oneof![
        8 => Just(serde_json::Value::Null),
        1 => Just("stop".into()),
        1 => Just("length".into()),
        1 => Just("tool_calls".into()),
        1 => Just("something".into()),
    ];
    let ids = proptest::option::of(proptest::collection::vec(any::<u32>(), 0..4));
    let usage = proptest::option::weighted(
        0.3,
        (any::<u32>(), 0..40_u64, proptest::option::of(any::<u16>())),
    );
    let chunk = (text, reason, ids, usage, any::<bool>(), 0..3_u32, any::<bool>()).prop_map(
        |(text, reason, ids, usage, chat, index, pretty)| {
            let mut choice = json!({"index": index, "finish_reason": reason, "token_ids": ids, "logprobs": {"text": ["x", {"a": "}"}]}});
            if chat {
                choice["delta"] = json!({"content": text});
            } else {
                choice["text"] = text.into();
            }
            let mut payload = json!({"id": "cmpl-1", "model": "a/b", "choices": [choice]});
            if let Some((prompt, completion, cached)) = usage {
                payload["usage"] = json!({"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": cached}});
            }
            // Pretty-printed JSON has several lines.
            if pretty { serde_json::to_vec_pretty(&payload) } else { serde_json::to_vec(&payload) }.expect("JSON")
        },
    );
    prop_oneof![
        20 => chunk,
        1 => Just(b"[DONE]".to_vec()),
        1 => Just(b" [DONE]\t".to_vec()),
        1 => Just(b"[DONE] [1]".to_vec()),
        1 => Just(b"[\"DONE\"]".to_vec()),
        1 => Just(b"[]".to_vec()),
        1 => Just(b"17".to_vec()),
        1 => Just(b"\"text\"".to_vec()),
        1 => Just(b"{\"error\":{\"code\":500}}".to_vec()),
        1 => Just(b"{\"choices\":[".to_vec()),
        1 => Just(b"{]".to_vec()),
        1 => Just(b"".to_vec()),
    ]
}

prop_compose! {
    fn line_end()(which in 0..3_usize) -> &'static str { ["\n", "\r\n", "\r"][which] }
}

/// A stream in every form that the standard allows.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let event = (payload(), line_end(), any::<bool>(), 0..8_u8);
    (proptest::collection::vec(event, 0..12), any::<bool>(), line_end()).prop_map(
        |(events, mark, empty)| {
            let mut stream = if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
            for (payload, end, space, extra) in events {
                let mut line = |text: &[u8]| {
                    stream.extend(text);
                    stream.extend(end.as_bytes());
                };
                match extra {
                    0 => line(b": comment {\"error\":{}}"),
                    1 => line(b"id: 7"),
                    2 => line(b"event: chunk"),
                    3 => line(b"dataset: [DONE]"),
                    4 => line(b"retry"),
                    5 => line(b"even: [DONE]"),
                    _ => {}
                }
                for text in payload.split(|byte| *byte == b'\n') {
                    line(&[if space { b"data: ".as_slice() } else { b"data:" }, text].concat());
                }
                // Two line ends, so that the first is not half of one.
                stream.extend(if end == "\r" && empty == "\n" { "\r" } else { empty }.as_bytes());
            }
            stream
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_chunking_is_the_same(stream in any_stream(), cuts in proptest::collection::vec(any::<usize>(), 0..40)) {
        let (whole, outcome) = read(Body::Stream, [&*stream], CloseReason::Clean);
        let (progress, outcome_of_chunks) = read(Body::Stream, chunks(&stream, &cuts), CloseReason::Clean);
        prop_assert_eq!((total(&progress), outcome_of_chunks), (whole[0], outcome));
        let twin = twin::stream(&stream).told();
        prop_assert_eq!(as_twin(whole[0], outcome), twin, "{}", String::from_utf8_lossy(&stream));
    }

    #[test]
    fn nonsense_is_the_same_in_any_chunks(
        mut stream in any_stream(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        json in any::<bool>(),
    ) {
        for (at, byte) in changes {
            let length = stream.len().max(1);
            if let Some(place) = stream.get_mut(at % length) {
                *place = byte;
            }
        }
        let body = if json { Body::Json } else { Body::Stream };
        let (whole, outcome) = read(body, [&*stream], CloseReason::Clean);
        let (progress, outcome_of_chunks) = read(body, chunks(&stream, &cuts), CloseReason::Clean);
        prop_assert_eq!((total(&progress), outcome_of_chunks), (whole[0], outcome));
        prop_assert!(outcome.problem.is_none_or(|problem| problem.offset <= stream.len()));
    }

    /// Any JSON value is read to its end.
    #[test]
    fn bodies_are_whole_or_cut(body in payload(), end in any::<usize>()) {
        let json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
        let (_, outcome) = read(Body::Json, [&*body], CloseReason::Clean);
        if json {
            prop_assert_eq!((outcome.unreadable, outcome.problem), (0, None));
            let part = &body[..end % body.len()];
            let (_, outcome) = read(Body::Json, [part], CloseReason::Broken);
            if serde_json::from_slice::<serde_json::Value>(part).is_err() {
                prop_assert_eq!(outcome.end, slotwise_wire::response::AnswerEnd::Cut);
            }
        }
    }
}
