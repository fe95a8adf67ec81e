//! The JSON vectors of a gateway: what bytes of engines and clients lead to, in every language.
//!
//! `crates/wire/tests/vectors.rs` describes their language. `BLESS=1 cargo test -p slotwise-gateway
//! --all-features --test vectors` writes the answers anew; reading the difference is the review.

#[path = "../../wire/tests/support/calls.rs"]
#[expect(dead_code, reason = "the calls of the wire's own vectors are not used here")]
mod calls;
#[path = "support/gateway.rs"]
mod gateway;

use std::path::Path;
use std::{env, fs};

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vector {
    doc: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    call: String,
    args: Value,
    expect: Value,
}

#[test]
fn every_call_has_the_expected_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let files = fs::read_dir(folder).expect("the vectors");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let mut count = 0;
    for path in &paths {
        let name = path.display();
        let text = fs::read_to_string(path).expect("readable");
        let mut vector: Vector =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut gateway = gateway::Host::default();
        for (number, step) in (1..).zip(&mut vector.steps) {
            let answer = gateway
                .answer(&step.call, &step.args)
                .unwrap_or_else(|| panic!("step {number} of {name}: there is no {}", step.call));
            if env::var_os("BLESS").is_some() {
                step.expect = answer;
            } else {
                assert_eq!(answer, step.expect, "step {number} of {name}");
            }
            count += 1;
        }
        if env::var_os("BLESS").is_some() {
            fs::write(path, vector.text()).expect("writable");
        }
    }
    assert!(count > 60, "only {count} steps were found");
}

impl Vector {
    fn text(&self) -> String {
        let line = |step: &Step| {
            let call = Value::from(step.call.as_str());
            let [call, args, expect] = [&call, &step.args, &step.expect].map(Value::to_string);
            format!("    {{\"call\": {call}, \"args\": {args}, \"expect\": {expect}}}")
        };
        let steps: Vec<String> = self.steps.iter().map(line).collect();
        let doc = Value::from(self.doc.as_str());
        format!("{{\n  \"doc\": {doc},\n  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"))
    }
}
