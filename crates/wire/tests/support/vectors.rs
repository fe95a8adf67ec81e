//! Runs JSON vectors: lists of calls with their arguments and results.

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

/// Compares the result of every call of the vectors in `folder`. With `BLESS`, writes those that
/// differ.
/// `answerer` makes the function that answers the calls of one vector, or returns `None` for a call
/// that does not exist. Returns the number of calls.
pub(crate) fn run<F: FnMut(&str, &Value) -> Option<Value>>(
    folder: &Path,
    answerer: impl Fn() -> F,
) -> usize {
    let files = fs::read_dir(folder).expect("the vectors");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let mut count = 0;
    for path in &paths {
        let name = path.display();
        let text = fs::read_to_string(path).expect("readable");
        let mut vector: Vector =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut answer = answerer();
        let mut differs = false;
        for (number, step) in (1..).zip(&mut vector.steps) {
            let answer = answer(&step.call, &step.args)
                .unwrap_or_else(|| panic!("step {number} of {name}: there is no {}", step.call));
            if env::var_os("BLESS").is_none() {
                assert_eq!(answer, step.expect, "step {number} of {name}");
            } else if answer != step.expect {
                step.expect = answer;
                differs = true;
            }
            count += 1;
        }
        if differs {
            fs::write(path, vector.text()).expect("writable");
        }
    }
    count
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
