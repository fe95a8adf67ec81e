//! The JSON vectors: the results of parsing in every language.
//!
//! A vector is a list of calls with their arguments and results, one per line. Bytes are a string
//! (as UTF-8), `{"hex": ...}`, or `{"file": ...}` below `tests/fixtures`.
//!
//! `BLESS=1 cargo test -p slotwise-wire --all-features --test vectors` rewrites the results; review
//! the difference.

#[path = "support/calls.rs"]
mod calls;

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
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the vectors")
        .map(|file| file.expect("a file").path())
        .collect();
    paths.sort();
    let mut count = 0;
    for path in &paths {
        let text = fs::read_to_string(path).expect("readable");
        let mut vector: Vector = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (number, step) in (1..).zip(&mut vector.steps) {
            let answer = calls::answer(&step.call, &step.args).unwrap_or_else(|| {
                panic!("step {number} of {}: there is no {}", path.display(), step.call)
            });
            if env::var_os("BLESS").is_some() {
                step.expect = answer;
            } else {
                assert_eq!(answer, step.expect, "step {number} of {}", path.display());
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
            let [call, args, expect] =
                [&Value::from(step.call.as_str()), &step.args, &step.expect].map(Value::to_string);
            format!("    {{\"call\": {call}, \"args\": {args}, \"expect\": {expect}}}")
        };
        let steps: Vec<String> = self.steps.iter().map(line).collect();
        let doc = Value::from(self.doc.as_str());
        format!("{{\n  \"doc\": {doc},\n  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"))
    }
}
