//! Saturation, ceilings, statuses, estimates and deciders.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::plugins::{EndpointFacts, OUTPUT_RATIO, ProbabilisticAdmitter};
use slotwise::{Decider, DeciderFacts, SaturationPolicy, UsageLimitPolicy};
use slotwise_wire::outcome::{Cause, Outcome};

use super::of_plugin;
use crate::json::{ArgumentError, Bits, number, numbers, read};
use crate::tree::{self, Entry, Node, Reader};

/// The saturation of a pool.
pub(super) fn saturation(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        policy: Node,
        endpoints: Vec<EndpointFacts>,
    }
    let Arguments { policy, endpoints } = read(arguments)?;
    let policy: SaturationPolicy = named(policy)?;
    Ok(number(slotwise::saturation(&policy, &endpoints)))
}

/// The usage limit of each band.
pub(super) fn ceilings(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        policy: Node,
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
pub(super) fn outcome_status(arguments: &Node) -> Result<Value, ArgumentError> {
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
pub(super) fn estimate_output(arguments: &Node) -> Result<Value, ArgumentError> {
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
pub(super) fn shed_probability(arguments: &Node) -> Result<Value, ArgumentError> {
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
pub(super) fn pd_decide(arguments: &Node) -> Result<Value, ArgumentError> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        decider: Node,
        #[serde(default)]
        facts: DeciderFacts,
    }
    let Arguments { decider, facts } = read(arguments)?;
    let none = Node::default();
    let (name, parameters) = match decider.as_text() {
        Some(name) => (name, &none),
        None => (name_of(&decider), decider.get("parameters").unwrap_or(&none)),
    };
    let given = Reader::of_host(parameters);
    let decider = Decider::from_name(name, given).map_err(of_plugin(name))?;
    Ok(slotwise::pd_decide(&decider, &facts).into())
}

/// A policy as its name, as `{"type": NAME, ...}`, or as `{"type": NAME, "parameters": {...}}`.
fn named<T: serde::de::DeserializeOwned>(policy: Node) -> Result<T, ArgumentError> {
    let mut policy = match policy.as_text() {
        Some(_) => Node::map([("type", policy)]),
        None => policy,
    };
    if let tree::Value::Map(entries) = &mut policy.value {
        let is_nested = |entry: &Entry| {
            entry.key == "parameters"
                && matches!(entry.value.value, tree::Value::Map(_) | tree::Value::Null)
        };
        let nested = entries.iter().position(is_nested).map(|at| entries.remove(at));
        if let Some(tree::Value::Map(parameters)) = nested.map(|entry| entry.value.value) {
            entries.extend(parameters);
        }
    }
    tree::read_of_host(&policy).map_err(of_plugin(name_of(&policy)))
}

/// The type of a policy.
fn name_of(policy: &Node) -> &str {
    policy.get("type").and_then(Node::as_text).unwrap_or_default()
}
