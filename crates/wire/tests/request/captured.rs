//! Requests to a real vLLM 0.32, and whether it accepted them.

use serde_json::Value;
use slotwise::{Priority, Prompt};
use slotwise_wire::headers::Allow;
use slotwise_wire::request::{Api, PriorityOrder, RequestReader, rewrite_model};

use super::twin::Twin;

fn captured() -> serde_json::Map<String, Value> {
    let bodies = include_str!("../fixtures/vllm-0.32/default/http/bodies.json");
    let Ok(Value::Object(bodies)) = serde_json::from_str(bodies) else { panic!("an object") };
    assert_eq!(bodies.len(), 44);
    bodies
}

/// The server rejected every body that the reader rejects. Other bodies have the contents of their
/// trees.
#[test]
fn what_the_server_took_is_read() {
    let (mut read, mut refused) = (0, vec![]);
    for (name, exchange) in captured() {
        let Some(api) = Api::of_path(exchange["path"].as_str().expect("a path")) else { continue };
        let body = match &exchange["request_body"] {
            Value::Null => continue,
            Value::String(raw) => raw.clone(),
            tree => tree.to_string(),
        };
        match RequestReader::new().read(api, body.as_bytes()) {
            Ok(view) => {
                assert_eq!(
                    Twin::of_view(&view),
                    Twin::of_tree(api, &exchange["request_body"]),
                    "{name}"
                );
                let rewritten = rewrite_model(body.as_bytes(), "other").expect("all have models");
                let rewritten =
                    RequestReader::new().read(api, &rewritten).map(|view| Twin::of_view(&view));
                let mut tree = exchange["request_body"].clone();
                tree["model"] = "other".into();
                assert_eq!(rewritten, Ok(Twin::of_tree(api, &tree)), "{name}");
                read += 1;
            }
            Err(error) => {
                assert_eq!(exchange["status"], 400, "{name}: {error}");
                refused.push(name);
            }
        }
    }
    assert_eq!((read, refused.len()), (25, 5), "{refused:?}");
    assert_eq!(
        refused,
        ["err_bad_json", "err_bad_type", "err_no_messages", "err_salt_type", "priority_type"]
    );
}

#[test]
fn a_captured_request_becomes_one_of_the_core() {
    let captured = captured();
    let body = captured["priority_-5"]["request_body"].to_string();
    let mut reader = RequestReader::new();
    let view = reader.read(Api::Completions, body.as_bytes()).expect("it was taken");
    assert_eq!(
        view.to_request(PriorityOrder::LowFirst).priority,
        Priority(0),
        "the host does not accept it"
    );
    let allow = Allow::everything();
    let request = view.to_request_allowed(PriorityOrder::LowFirst, &allow);
    assert_eq!(
        (request.model, request.priority, request.expected_output_tokens, request.streams),
        ("tiny", Priority(5), 1, false)
    );
    assert!(
        matches!(request.prompt, Prompt::Tokens(ids) if ids.len() == 100 && ids[..3] == [261, 143, 193])
    );
    assert_eq!(view.to_request_allowed(PriorityOrder::HighFirst, &allow).priority, Priority(-5));
}
