//! Machines over JSON give the expected answer to each call; Python and Node run the same files.
//!
//! A file of `machines` is a list of cases. Each creates a machine and calls it:
//!
//! ```json
//! {"doc": "..", "kind": "routing", "arguments": {..}, "calls": [
//!   {"call": "route", "arguments": {..}, "expect": {..}}
//! ]}
//! ```
//!
//! A case whose machine cannot be created has `error`, a part of the message, and no calls; so has
//! a call that is invalid. `BLESS=1` writes the answers that are missing or differ.

#[path = "support/cases.rs"]
mod cases;

use serde_json::{Value, json};
use slotwise_gateway::machines::Machine;

use cases::run_cases;

#[test]
fn every_call_has_the_expected_answer() {
    run_cases("machines", 2, run, written);
}

fn run(case: &mut Value, bless: bool) {
    let doc = case["doc"].as_str().expect("a doc").to_owned();
    let kind = case["kind"].as_str().expect("a kind");
    let mut machine = match Machine::new(kind, &case["arguments"].to_string()) {
        Ok(machine) => machine,
        Err(error) => return check(case, "error", error.to_string().into(), bless, &doc),
    };
    assert!(case.get("error").is_none(), "{doc}: it was created");
    for call in case["calls"].as_array_mut().expect("calls") {
        let name = call["call"].as_str().expect("a name");
        let arguments = call.get("arguments").cloned().unwrap_or_else(|| json!({}));
        match machine.call(name, &arguments.to_string()) {
            Ok(answer) => {
                let answer = serde_json::from_str(&answer).expect("JSON");
                check(call, "expect", answer, bless, &doc);
            }
            Err(error) => check(call, "error", error.to_string().into(), bless, &doc),
        }
    }
}

/// Compares one field with the answer; of an error, the file has a part.
fn check(case: &mut Value, field: &str, answer: Value, bless: bool, doc: &str) {
    let expected = case.get(field).unwrap_or(&Value::Null);
    let holds = match (field, expected.as_str(), answer.as_str()) {
        ("error", Some(part), Some(message)) => !part.is_empty() && message.contains(part),
        _ => *expected == answer,
    };
    if bless && (!holds || case.get(field).is_none()) {
        case[field] = answer;
    } else {
        assert!(holds, "{doc}: {case}\nanswers {answer}");
    }
}

/// One call a line.
fn written(cases: &[Value]) -> String {
    let lines = |values: &[Value], indent: &str| {
        let lines: Vec<_> = values.iter().map(|value| format!("{indent}{value}")).collect();
        lines.join(",\n")
    };
    let cases: Vec<_> = cases
        .iter()
        .map(|case| {
            let [doc, kind, arguments] = ["doc", "kind", "arguments"].map(|field| &case[field]);
            let head = format!(
                "  {{\n    \"doc\": {doc},\n    \"kind\": {kind},\n    \"arguments\": {arguments},\n"
            );
            match case.get("error") {
                Some(error) => format!("{head}    \"error\": {error}\n  }}"),
                None => {
                    let calls = case["calls"].as_array().expect("calls");
                    format!("{head}    \"calls\": [\n{}\n    ]\n  }}", lines(calls, "      "))
                }
            }
        })
        .collect();
    format!("[\n{}\n]\n", cases.join(",\n"))
}
