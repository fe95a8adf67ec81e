//! Saturation, ceilings, statuses, estimates and deciders.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::plugins::{EndpointFacts, OUTPUT_RATIO, ProbabilisticAdmitter};
use slotwise::{Decider, DeciderFacts, SaturationPolicy, UsageLimitPolicy};
use slotwise_wire::outcome::{Cause, Outcome};

use super::of_plugin;
use crate::json::{ArgumentError, Bits, Parameters, Reader, number, numbers, read};

/// The saturation of a pool.
pub(super) fn saturation(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        policy: Parameters,
        endpoints: Vec<EndpointFacts>,
    }
    let Arguments { policy, endpoints } = read(arguments)?;
    let policy: SaturationPolicy = named(policy)?;
    Ok(number(slotwise::saturation(&policy, &endpoints)))
}

/// The usage limit of each band.
pub(super) fn ceilings(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        policy: Parameters,
        priorities: Vec<i32>,
        saturation: f64,
        #[serde(default = "first")]
        round: Bits,
    }
    const fn first() -> Bits {
        Bits(1)
    }
    let Arguments { policy, priorities, saturation, round } = read(arguments)?;
    let policy: UsageLimitPolicy = named(policy)?;
    Ok(numbers(slotwise::ceilings(&policy, &priorities, saturation, round.0)))
}

/// The HTTP status and the dropped reason of an outcome.
pub(super) fn outcome_status(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        outcome: String,
        #[serde(default)]
        causes: Vec<String>,
        #[serde(default)]
        pool_empty: bool,
    }
    let Arguments { outcome, causes, pool_empty } = read(arguments)?;
    let causes: Vec<Cause> = causes.iter().filter_map(|cause| Cause::from_name(cause)).collect();
    let outcome = Outcome::from_name(&outcome);
    Ok(json!(slotwise_wire::outcome::outcome_status(outcome, &causes, pool_empty)))
}

/// The expected output tokens.
pub(super) fn estimate_output(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        input_tokens: i64,
        #[serde(default)]
        ratio: Option<f64>,
        #[serde(default)]
        client_max_tokens: Option<i64>,
        #[serde(default)]
        operator_cap: Option<i64>,
    }
    let given: Arguments = read(arguments)?;
    let ratio = given.ratio.unwrap_or(OUTPUT_RATIO);
    let (client, operator) = (given.client_max_tokens, given.operator_cap);
    Ok(slotwise::plugins::estimate_output(given.input_tokens, ratio, client, operator).into())
}

/// The probability of `probabilistic-admitter`.
pub(super) fn shed_probability(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        priority: i32,
        saturation: f64,
        #[serde(default)]
        parameters: Option<ProbabilisticAdmitter>,
    }
    let Arguments { priority, saturation, parameters } = read(arguments)?;
    Ok(number(parameters.unwrap_or_default().shed_probability(priority, saturation)))
}

/// Whether a decider disaggregates a request.
pub(super) fn pd_decide(arguments: Value) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        decider: Parameters,
        #[serde(default)]
        facts: DeciderFacts,
    }
    let Arguments { decider: Parameters(decider), facts } = read(arguments)?;
    let (name, parameters) = match &decider {
        Value::String(name) => (name.as_str(), Value::Null),
        other => (other["type"].as_str().unwrap_or_default(), other["parameters"].clone()),
    };
    let decider = Decider::from_name(name, Reader(parameters)).map_err(of_plugin(name))?;
    Ok(slotwise::pd_decide(&decider, &facts).into())
}

/// A policy as its name, as `{"type": NAME, ...}`, or as `{"type": NAME, "parameters": {...}}`.
fn named<T: serde::de::DeserializeOwned>(policy: Parameters) -> Result<T, ArgumentError> {
    let mut policy = match policy.0 {
        Value::String(name) => json!({ "type": name }),
        other => other,
    };
    if let Value::Object(fields) = &mut policy {
        match fields.remove("parameters") {
            Some(Value::Object(parameters)) => fields.extend(parameters),
            Some(Value::Null) | None => {}
            Some(other) => _ = fields.insert("parameters".into(), other),
        }
    }
    let name = String::from(policy["type"].as_str().unwrap_or_default());
    T::deserialize(Reader(policy)).map_err(of_plugin(&name))
}
