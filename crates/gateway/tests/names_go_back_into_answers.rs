//! An exchange writes the client's name of the model into answers, however they are split, and the
//! scheduler counts the same.

use proptest::prelude::*;
use slotwise::{Endpoint, Instant, Request, Scheduler};
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::response::CloseReason;

const NOW: Instant = Instant::ORIGIN;
/// Begins the answer, so that no other endpoint is asked.
const FIRST: &str = "data: {\"choices\":[{\"text\":\"a\"}],\"model\":\"MODEL\"}\n\n";

/// The body that the client gets of these chunks, and the tokens that were counted.
fn answer(answers_as: Option<&str>, content_type: &str, chunks: &[&[u8]]) -> (Vec<u8>, u64, u64) {
    let mut gateway = Gateway::new(Scheduler::default());
    gateway.scheduler_mut().add_endpoint(NOW, Endpoint::new("a")).expect("a new name");
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    if let Some(model) = answers_as {
        exchange = exchange.answers_as(model);
    }
    let picked = gateway.scheduler_mut().pick(NOW, &Request::new("m"));
    exchange.handle_pick(&mut gateway, NOW, picked);
    exchange.handle_head(200, [("content-type", content_type)]);
    let mut body = Vec::new();
    for chunk in chunks {
        let passing = exchange.handle_chunk(&mut gateway, NOW, chunk);
        while let Some(output) = exchange.poll() {
            if let Output::Body(bytes) = output {
                body.extend(bytes);
            }
        }
        if passing.is_passed_on() {
            body.extend_from_slice(chunk);
        }
    }
    exchange.handle_close(&mut gateway, NOW, CloseReason::Clean);
    while let Some(output) = exchange.poll() {
        if let Output::Body(bytes) = output {
            body.extend(bytes);
        }
    }
    let stats = gateway.scheduler().stats();
    (body, stats.completed, stats.failed)
}

/// Pieces of an answer; `MODEL` stands for the name.
fn event() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("a"),
        Just("\\\"model\\\":\\\"llama-3\\\""),
        Just("\u{e9} \u{1f642}"),
        Just("")
    ];
    let gap = prop_oneof![Just(""), Just(" ")];
    let ending = prop_oneof![Just("\n\n"), Just("\r\n\r\n"), Just("\r\r")];
    let shape = 0..5_usize;
    (text, gap, ending, shape).prop_map(|(text, gap, ending, shape)| {
        let data = match shape {
            0 => {
                format!(r#"{{"id":"1","model"{gap}:{gap}"MODEL","choices":[{{"text":"{text}"}}]}}"#)
            }
            1 => format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}],"model":"MODEL"}}"#),
            2 => {
                format!(r#"{{"type":"message_start","message":{{"model":"MODEL","x":"{text}"}}}}"#)
            }
            3 => r#"{"response":{"model":"MODEL"},"delta":{"model":"kept"}}"#.to_owned(),
            _ => return format!(": {text}{ending}"),
        };
        format!("data:{gap}{data}{ending}")
    })
}

proptest! {
    #[test]
    fn a_stream_has_the_clients_name(
        events in prop::collection::vec(event(), 1..12),
        cuts in prop::collection::vec(0_usize..4_000, 0..20),
        name in "[a-z\\\"/.-]{1,20}",
    ) {
        let whole = format!("{FIRST}{}data: [DONE]\n\n", events.concat());
        let sent = whole.replace("MODEL", "meta-llama/llama-3");
        let escaped = serde_json::to_string(&name)?;
        let expected = whole.replace("\"MODEL\"", &escaped);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (sent.len() + 1)).collect();
        cuts.extend([0, sent.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> =
            cuts.windows(2).map(|cut| &sent.as_bytes()[cut[0]..cut[1]]).collect();
        let (body, completed, failed) = answer(Some(&name), "text/event-stream", &chunks);
        prop_assert_eq!(String::from_utf8(body)?, expected);
        let (plain, other, others_failed) = answer(None, "text/event-stream", &chunks);
        prop_assert_eq!(String::from_utf8(plain)?, sent.clone());
        prop_assert_eq!((completed, failed), (other, others_failed));
    }
}

#[test]
fn a_body_has_the_clients_name() {
    let sent =
        br#"{"model": "llama-3", "choices": [{"text": "a"}], "usage": {"completion_tokens": 1}}"#;
    for cut in 0..sent.len() {
        let (first, rest) = sent.split_at(cut);
        let (body, completed, _) = answer(Some("chat"), "application/json", &[first, rest]);
        let expected = String::from_utf8_lossy(sent).replace("llama-3", "chat");
        assert_eq!((String::from_utf8_lossy(&body).into_owned(), completed), (expected, 1));
    }
}
