//! The plugins of the Endpoint Picker against values that were computed from its formulas.
//!
//! The cases are the files of `vectors/plugins`, one a family; Python and Node run the same files.
//! A file has a `kind` and its `cases`:
//!
//! ```json
//! {"kind": "scorer", "cases": [
//!   {"name": "what the case shows", "plugin": "queue-scorer", "parameters": {},
//!    "request": {}, "endpoints": [{"waiting": 3}], "expected": [1.0]}
//! ]}
//! ```
//!
//! `parameters`, `request` and `endpoints` may be absent. The result is `expected`, or `error`: a
//! part of the message with which the parameters are rejected. The kinds are:
//!
//! - `scorer`: `expected` has the raw scores, which may differ by 1e-9.
//! - `filter`: `expected` has the places of the kept endpoints; random choices follow `seed`.
//! - `picker`: the case has `scores` instead of endpoints; `expected` has the selected places.
//! - `handler`: the case has `profiles` and `deciders` by name too; `expected` has the schedule,
//!   and `error` may be a part of the message with which the request is rejected.
//! - `explain`: the case has a `profile` instead of a plugin; `expected` has its explanation.
//!
//! Files of the folder without a `kind` are tables of functions, which other tests read.
//!
//! Scripts beside the files write those that are not written by hand. They compute the values from
//! the formulas, without this crate.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slotwise::plugins::{
    EndpointFacts, FilterPlugin, PickerPlugin, ProfileConfig, ProfileSet, ProfileSetConfig,
    RequestFacts, SchedulingProfile, ScorerPlugin, filter, pick, score,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    plugin: String,
    #[serde(default)]
    parameters: Value,
    #[serde(default)]
    request: RequestFacts,
    #[serde(default)]
    endpoints: Vec<EndpointFacts>,
    #[serde(default)]
    scores: Vec<f64>,
    #[serde(default)]
    profile: Value,
    #[serde(default)]
    profiles: Value,
    #[serde(default)]
    deciders: Value,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    expected: Value,
    error: Option<String>,
}

impl Case {
    /// The result as data, or the error of the parameters.
    fn run(&self, kind: &str) -> Result<Value, String> {
        let Self { plugin: name, request, endpoints, scores, seed, .. } = self;
        let parameters = self.parameters.clone();
        let text = |error: serde_json::Error| error.to_string();
        Ok(match kind {
            "scorer" => {
                let plugin = ScorerPlugin::from_name(name, parameters).map_err(text)?;
                survives(&plugin);
                score(plugin.as_plugin(), request, endpoints).into()
            }
            "filter" => {
                let plugin = FilterPlugin::from_name(name, parameters).map_err(text)?;
                survives(&plugin);
                filter(plugin.as_plugin(), request, endpoints, *seed).into()
            }
            "picker" => {
                let plugin = PickerPlugin::from_name(name, parameters).map_err(text)?;
                survives(&plugin);
                pick(plugin.as_plugin(), scores, *seed).into()
            }
            "handler" => {
                let config = json!({
                    "handler": {"type": name, "parameters": parameters},
                    "profiles": self.profiles,
                    "deciders": self.deciders,
                });
                let config: ProfileSetConfig = serde_json::from_value(config).map_err(text)?;
                survives(&config);
                let mut profiles = ProfileSet::new(config).map_err(|e| e.to_string())?;
                let schedule = profiles.schedule(request, endpoints, *seed);
                serde_json::to_value(schedule.map_err(|e| e.to_string())?).map_err(text)?
            }
            "explain" => {
                let config: ProfileConfig =
                    serde_json::from_value(self.profile.clone()).map_err(text)?;
                survives(&config);
                let profile = SchedulingProfile::from(config);
                let explanation = profile.explain(request, endpoints, *seed);
                serde_json::to_value(explanation).map_err(text)?
            }
            _ => panic!("no kind {kind}"),
        })
    }
}

#[test]
fn every_case_has_the_expected_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/plugins");
    let mut count = 0;
    for file in fs::read_dir(folder).expect("the vectors") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        if file.get("kind").is_none() {
            continue;
        }
        let file: File =
            serde_json::from_value(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for case in &file.cases {
            let at = format!("{}, {}: {}", path.display(), case.plugin, case.name);
            match (case.run(&file.kind), &case.error) {
                (Ok(result), None) => assert!(
                    are_close(&result, &case.expected),
                    "{at}: {result} instead of {}",
                    case.expected
                ),
                (Err(error), Some(part)) => assert!(error.contains(part), "{at}: {error}"),
                (result, error) => panic!("{at}: {result:?}, expected the error {error:?}"),
            }
            count += 1;
        }
    }
    assert!(count > 100, "only {count} cases");
}

/// Asserts that a plugin is the same after it was written and read.
#[track_caller]
fn survives<P: Serialize + DeserializeOwned + PartialEq + Debug>(plugin: &P) {
    let data = serde_json::to_value(plugin).expect("data");
    let again: P = serde_json::from_value(data).expect("what was written");
    assert_eq!(&again, plugin);
}

/// Whether two results are equal, numbers within 1e-9.
fn are_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().expect("finite") - b.as_f64().expect("finite")).abs() < 1e-9
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_close(a, b))
        }
        _ => a == b,
    }
}
