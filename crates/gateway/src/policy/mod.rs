//! The policies of the Endpoint Picker as functions of data, for hosts in other languages.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the call by name, and its error |
//! | `plugins` | scorers, filters, pickers, admitters and whole profiles |
//! | `admission` | saturation, ceilings, statuses, estimates, deciders |
//! | `hashes` | hashes and keys of blocks, and topics |
//!
//! Bindings pass JSON through: both languages have the same functions, arguments and errors. In
//! Rust, call the functions of [`slotwise`] and [`slotwise_wire`] themselves.

mod admission;
mod hashes;
mod plugins;

use alloc::format;
use alloc::string::{String, ToString};

use serde::Deserialize;
use serde_json::Value;
use slotwise::plugins::{ProfileConfig, ProfileSetConfig};

use crate::json::{ArgumentError, parse, read};
use crate::names::UnknownName;
use crate::tree::{Node, ReadError};

/// Calls a function by name with a JSON object of arguments, and returns its result as JSON.
///
/// Names of fields may be in snake case or in camel case. Floats that JSON has no numbers for are
/// the texts `NaN`, `Infinity` and `-Infinity`, in arguments and results. Seeds and rounds may be
/// decimal text. Hashes of 64 bits are 16 hexadecimal digits.
///
/// ```
/// use slotwise_gateway::policy::call;
///
/// let arguments = r#"{"name": "queue-scorer", "endpoints": [{"waiting": 3}, {"waiting": 0}]}"#;
/// assert_eq!(call("score", arguments)?, "[0.0,1.0]");
///
/// let error = call("score", r#"{"name": "queue-scorer", "parameters": {"a": 1}}"#);
/// assert!(error.is_err_and(|error| error.to_string().contains("queue-scorer: unknown field")));
/// # Ok::<(), slotwise_gateway::json::ArgumentError>(())
/// ```
///
/// # Errors
///
/// An unknown function or name, with the known ones; an unknown, missing or invalid argument or
/// parameter, with its name.
pub fn call(function: &str, arguments: &str) -> Result<String, ArgumentError> {
    let known = FUNCTIONS.iter().find(|(name, _)| *name == function);
    let Some((_, run)) = known else {
        let error = UnknownName::new(function, FUNCTIONS.iter().map(|(name, _)| *name));
        return Err(ArgumentError::new(format!("the function {error}")));
    };
    run(&parse(arguments)?).map(|result| result.to_string())
}

/// Reads a scheduling profile as [`call`] reads one.
///
/// # Errors
///
/// An unknown name, with the known ones; an unknown or invalid parameter, with its name.
pub fn profile(data: Value) -> Result<ProfileConfig, ArgumentError> {
    read(&of_json(data))
}

/// Reads scheduling profiles and their handler as [`call`] reads profiles.
///
/// # Errors
///
/// As for [`profile`].
pub fn profile_set(data: Value) -> Result<ProfileSetConfig, ArgumentError> {
    read(&of_json(data))
}

fn of_json(data: Value) -> Node {
    // A tree is read from any JSON.
    Node::deserialize(data).unwrap_or_default()
}

type Function = fn(&Node) -> Result<Value, ArgumentError>;

const FUNCTIONS: [(&str, Function); 22] = [
    ("names", plugins::names),
    ("score", plugins::score),
    ("filter", plugins::filter),
    ("pick", plugins::pick),
    ("select", plugins::select),
    ("explain", plugins::explain),
    ("schedule", plugins::schedule),
    ("admit", plugins::admit),
    ("weighted_sum", plugins::weighted_sum),
    ("saturation", admission::saturation),
    ("ceilings", admission::ceilings),
    ("outcome_status", admission::outcome_status),
    ("estimate_output", admission::estimate_output),
    ("shed_probability", admission::shed_probability),
    ("pd_decide", admission::pd_decide),
    ("pack_tokens", hashes::pack_tokens),
    ("approximate_block_tokens", hashes::approximate_block_tokens),
    ("approximate_block_hashes", hashes::approximate_block_hashes),
    ("request_keys", hashes::request_keys),
    ("map_engine_keys", hashes::map_engine_keys),
    ("align_extra_keys", hashes::align_extra_keys),
    ("parse_topic", hashes::parse_topic),
];

/// The reader's error about a plugin.
fn of_plugin(name: &str) -> impl Fn(ReadError) -> ArgumentError + '_ {
    move |error| {
        let message = error.to_string();
        // The error for an unknown name contains the name already.
        let is_name = message.starts_with("unknown variant");
        ArgumentError::new(if is_name { message } else { format!("{name}: {message}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(endpoints: &str) -> Result<String, ArgumentError> {
        call("score", &format!(r#"{{"name": "queue-scorer", "endpoints": {endpoints}}}"#))
    }

    #[test]
    fn fields_have_both_cases_and_keys_of_maps_are_kept() {
        let select = |labels: &str| {
            let arguments = format!(
                r#"{{"name": "label-selector-filter", "parameters": {{"matchLabels": {{"aB": "1"}}}},
                    "endpoints": [{{"labels": {labels}, "kvUsage": 0.5, "kv_usage": 0.5}}]}}"#
            );
            call("filter", &arguments)
        };
        assert!(select(r#"{"aB": "1"}"#).is_err_and(|it| it.to_string().contains("duplicate")));
        let arguments = r#"{"name": "label-selector-filter",
            "parameters": {"matchLabels": {"aB": "1"}},
            "endpoints": [{"labels": {"aB": "1"}, "kvUsage": 1}, {"labels": {"a_b": "1"}}]}"#;
        assert_eq!(call("filter", arguments), Ok("[0]".into()));
    }

    #[test]
    fn floats_without_a_json_number_are_text() {
        let arguments =
            r#"{"policy": "utilization-detector", "endpoints": [{"kv_usage": "Infinity"}]}"#;
        assert_eq!(call("saturation", arguments), Ok("\"Infinity\"".into()));
        let arguments = r#"{"weights": [1], "scores": [["NaN", 0.5]]}"#;
        assert_eq!(call("weighted_sum", arguments), Ok("[0.0,0.5]".into()));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (result, part) in [
            (call("scores", "{}"), "'score'"),
            (call("score", "{"), "EOF"),
            (call("score", r#"{"name": "quue"}"#), "`queue-scorer`"),
            (score(r#"[{"wait": 1}]"#), "`wait`"),
            (score(r#"[{"waiting": "7"}]"#), "invalid type"),
            (score(r#"{}"#), "invalid type"),
            (call("pick", r#"{"name": "random-picker", "scores": [], "seed": -1}"#), "-1"),
            (call("ceilings", r#"{"policy": "none", "priorities": [], "saturation": 0}"#), "none"),
        ] {
            let error = result.expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
