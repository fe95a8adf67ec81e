//! The JSON tables of the functions that admit requests. Python and Node run the same.

use std::path::Path;
use std::{fs, iter};

use serde::de::DeserializeOwned;
use serde_json::Value;
use slotwise::plugins::{
    EndpointFacts, LatencySloAdmitter, ProbabilisticAdmitter, RequestFacts, estimate_output,
};
use slotwise::{SaturationPolicy, UsageLimitPolicy, ceilings, saturation};

/// The cases of a table, with the answer of `function` to each.
fn check(table: &str, function: impl Fn(&Value, &Value) -> Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/plugins");
    let text = fs::read_to_string(folder.join(table)).expect("a table");
    let table: Value = serde_json::from_str(&text).expect("JSON");
    let cases = table["cases"].as_array().expect("cases");
    assert!(cases.len() > 10);
    for case in cases {
        let answer = function(&case["parameters"], &case["inputs"]);
        assert!(equal(&answer, &case["expected"]), "{case}\nanswers {answer}");
    }
}

/// Whether two answers differ by rounding only.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().expect("finite"), right.as_f64().expect("finite"));
            (left - right).abs() <= 1e-9 * right.abs().max(1.0)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && iter::zip(left, right).all(|(a, b)| equal(a, b))
        }
        _ => left == right,
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

#[test]
fn saturation_of_a_pool() {
    check("saturation.json", |parameters, inputs| {
        let policy: SaturationPolicy = read(parameters);
        let endpoints: Vec<EndpointFacts> = read(&inputs["endpoints"]);
        saturation(&policy, &endpoints).into()
    });
}

#[test]
fn ceilings_of_bands() {
    check("ceilings.json", |parameters, inputs| {
        let policy: UsageLimitPolicy = read(parameters);
        let priorities: Vec<i32> = read(&inputs["priorities"]);
        ceilings(&policy, &priorities, read(&inputs["saturation"]), read(&inputs["round"])).into()
    });
}

#[test]
fn probability_of_shedding() {
    check("shed_probability.json", |parameters, inputs| {
        let admitter: ProbabilisticAdmitter = read(parameters);
        admitter.shed_probability(read(&inputs["priority"]), read(&inputs["saturation"])).into()
    });
}

#[test]
fn estimated_output() {
    check("estimate_output.json", |_, inputs| {
        let [client, operator] = ["client_max_tokens", "operator_cap"].map(|it| read(&inputs[it]));
        estimate_output(read(&inputs["input_tokens"]), read(&inputs["ratio"]), client, operator)
            .into()
    });
}

#[test]
fn admission_by_service_level() {
    check("latency_slo_admitter.json", |parameters, inputs| {
        let admitter: LatencySloAdmitter = read(parameters);
        let request: RequestFacts = read(&inputs["request"]);
        let endpoints: Vec<EndpointFacts> = read(&inputs["endpoints"]);
        admitter.admits(&request, &endpoints).into()
    });
}
