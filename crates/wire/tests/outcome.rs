//! Refusals: golden bodies, headers, and valid JSON for any message.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use slotwise::{Endpoint, EvictReason, Instant, RejectReason, Request, Scheduler};
use slotwise_wire::outcome::{
    BodyShape, Cause, Outcome, Reason, Refusal, StreamError, outcome_status,
};
use slotwise_wire::response::{AnswerEnd, CloseReason, ResponseReader};

fn header(refusal: &Refusal<'_>, name: &str) -> Option<String> {
    refusal.headers().find(|(it, _)| *it == name).map(|(_, value)| value.into_owned())
}

#[test]
fn bodies_are_as_their_libraries_read_them() {
    let refusal = Refusal::new(Reason::Rejected(RejectReason::QueueFull));
    assert_eq!(
        refusal.body(BodyShape::OpenAi),
        r#"{"error":{"message":"the queue is full: its limit of waiting requests or bytes is reached","type":"rate_limit_error","param":null,"code":"queue_full"}}"#
    );
    assert_eq!(
        refusal.body(BodyShape::Anthropic),
        r#"{"type":"error","error":{"type":"overloaded_error","message":"the queue is full: its limit of waiting requests or bytes is reached"}}"#
    );
    let large =
        Refusal::new(Reason::Evicted(EvictReason::TooLarge)).message("a \"quote\", \\ and\n\u{1}");
    assert_eq!(
        large.body(BodyShape::Anthropic),
        r#"{"type":"error","error":{"type":"request_too_large","message":"a \"quote\", \\ and\n\u0001"}}"#
    );
}

#[test]
fn error_events_are_as_their_libraries_read_them() {
    assert_eq!(
        StreamError::Cut.event(BodyShape::OpenAi),
        "data: {\"error\":{\"message\":\"the engine failed before the end of the answer\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}\n\n"
    );
    assert_eq!(
        StreamError::TimedOut.event(BodyShape::Anthropic),
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"the engine sent nothing for too long within the answer\"}}\n\n"
    );
    for error in [StreamError::Cut, StreamError::TimedOut, StreamError::Expired] {
        for shape in [BodyShape::OpenAi, BodyShape::Anthropic] {
            let mut reader = ResponseReader::new(200, "text/event-stream");
            reader.feed(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
            reader.feed(error.event(shape).as_bytes());
            let end = reader.finish(CloseReason::Clean).end;
            let is_seen = matches!(end, AnswerEnd::Failed | AnswerEnd::TimedOut);
            assert!(is_seen, "another gateway sees {end:?}");
        }
    }
}

#[test]
fn an_event_may_follow_only_a_whole_one() {
    let between = |chunks: &[&str]| {
        let mut reader = ResponseReader::new(200, "text/event-stream");
        chunks.iter().for_each(|chunk| _ = reader.feed(chunk.as_bytes()));
        reader.is_between_events()
    };
    for whole in ["", "data: {}\n\n", "event: a\ndata: {}\r\n\r\n", ": comment\n", "id: 1\n"] {
        assert!(between(&[whole]), "{whole:?}");
        let bytes: Vec<String> = whole.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert!(between(&bytes), "{whole:?} in bytes");
    }
    for part in ["d", "data: {}\n", "event: a\n", ": comm", "data: {}\n\ndata", "data: [DONE]\n\n"]
    {
        assert!(!between(&[part]), "{part:?}");
    }
    let mut body = ResponseReader::new(200, "application/json");
    body.feed(b"{}");
    assert!(!body.is_between_events());
}

#[test]
fn retry_after_is_rounded_up_and_never_zero_or_too_long() {
    let refusal = Refusal::new(Reason::Rejected(RejectReason::Saturated));
    assert_eq!((header(&refusal, "retry-after"), header(&refusal, "retry-after-ms")), (None, None));
    for (micros, seconds, millis) in [
        (0, "1", "1"),
        (1, "1", "1"),
        (1_000_000, "1", "1000"),
        (1_000_001, "2", "1001"),
        (58_400_000, "59", "58400"),
        (59_000_000, "59", "59000"),
        (59_001_000, "59", "59000"),
        (600_000_000, "59", "59000"),
    ] {
        let refusal = refusal.retry_after(Duration::from_micros(micros));
        assert_eq!(header(&refusal, "retry-after").as_deref(), Some(seconds));
        assert_eq!(header(&refusal, "retry-after-ms").as_deref(), Some(millis));
        for shape in [BodyShape::OpenAi, BodyShape::Anthropic] {
            let body: Value = serde_json::from_str(&refusal.body(shape)).expect("JSON");
            let whole = (micros > 59_000_000).then_some(micros / 1_000);
            assert_eq!(body["error"]["retry_after_ms"].as_u64(), whole, "what headers cannot say");
        }
    }
    let forever = refusal.retry_after(Duration::MAX);
    assert_eq!((forever.retry_after_seconds(), forever.retry_after_ms()), (Some(59), Some(59_000)));
}

#[test]
fn each_reason_has_the_names_of_the_reference() {
    let told: Vec<(&str, u16, Option<&str>)> =
        Reason::all().map(|it| (it.code(), it.http_status(), it.dropped_reason())).collect();
    let saturated = Some("rejected-saturated");
    let expired = Some("rejected-ttl-expired");
    let no_endpoints = Some("rejected-no-endpoints");
    let wanted = [
        ("no_endpoints", 503, no_endpoints),
        ("not_served", 404, None),
        ("too_large", 413, None),
        ("deadline_unreachable", 429, saturated),
        ("saturated", 429, saturated),
        ("shed", 429, saturated),
        ("queue_full", 429, saturated),
        ("thread_not_found", 404, None),
        ("name_too_long", 400, None),
        ("ttl_expired", 429, expired),
        ("no_endpoints", 503, no_endpoints),
        ("deadline_unreachable", 429, expired),
        ("displaced", 429, saturated),
        ("too_large", 413, None),
        ("thread_not_found", 404, None),
        ("victim", 429, Some("evicted-priority")),
        ("cancelled", 503, Some("rejected-context-cancelled")),
        ("shutting_down", 503, Some("rejected-shutting-down")),
        ("missing_api_key", 401, None),
        ("invalid_api_key", 401, None),
        ("model_not_allowed", 403, None),
        ("model_not_found", 404, None),
        ("no_route", 404, None),
        ("no_backend", 500, None),
        ("rate_limit_exceeded", 429, None),
        ("concurrency_limit_exceeded", 429, None),
        ("request_exceeds_limit", 413, None),
        ("too_many_clients", 429, None),
        ("content_filter", 400, None),
        ("safety_unavailable", 503, None),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_the_core_refuses_becomes_a_refusal() {
    let now = Instant::ORIGIN;
    let mut scheduler = Scheduler::default();
    scheduler.add_endpoint(now, Endpoint::new("a").model("llama")).expect("a new name");
    let rejected =
        scheduler.pick(now, &Request::new("mistral")).expect_err("no endpoint serves it");
    let refusal = Refusal::from(&rejected);
    assert_eq!((refusal.status(), refusal.reason.code()), (rejected.http_status(), "not_served"));
    assert_eq!(refusal.retry_after, rejected.retry_after);
    assert_eq!(header(&refusal, "content-type").as_deref(), Some("application/json"));
    assert_eq!(header(&refusal, "x-llm-d-request-dropped-reason"), None);
}

proptest! {
    #[test]
    fn bodies_are_json_whatever_the_message(message in any::<String>(), which in 0..Reason::all().count()) {
        let reason = Reason::all().nth(which).expect("a reason");
        let refusal = Refusal::new(reason).message(&message);
        let body: Value = serde_json::from_str(&refusal.body(BodyShape::OpenAi))?;
        let error = json!({"message": message, "type": reason.openai_type(), "param": null, "code": reason.code()});
        prop_assert_eq!(body, json!({"error": error}));
        let body: Value = serde_json::from_str(&refusal.body(BodyShape::Anthropic))?;
        let error = json!({"type": reason.anthropic_type(), "message": message});
        prop_assert_eq!(body, json!({"type": "error", "error": error}));
    }
}

/// The table of the reference's outcomes. Python and Node run the same.
#[test]
fn outcomes_of_the_reference_have_its_status() {
    let table: Value =
        serde_json::from_str(include_str!("../../core/tests/vectors/plugins/outcome_status.json"))
            .expect("JSON");
    for case in table["cases"].as_array().expect("cases") {
        let inputs = &case["inputs"];
        let outcome = Outcome::from_name(inputs["outcome"].as_str().expect("a name"));
        let causes = inputs["causes"].as_array().expect("names").iter();
        let causes: Vec<Cause> =
            causes.filter_map(|name| Cause::from_name(name.as_str()?)).collect();
        let empty = inputs["pool_empty"].as_bool().expect("a flag");
        assert_eq!(json!(outcome_status(outcome, &causes, empty)), case["expected"], "{case}");
    }
}
