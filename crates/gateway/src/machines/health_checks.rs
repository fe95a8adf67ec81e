//! [`HealthChecks`] of a pool.

use alloc::boxed::Box;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::{EndpointId, Instant};

use super::{At, Calls};
use crate::health_checks::{HealthCheckConfig, HealthCheckStep, HealthChecks};
use crate::json::{ArgumentError, read};
use crate::tree::Node;

struct HealthChecksMachine(HealthChecks);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    #[serde(default)]
    config: HealthCheckConfig,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    endpoint_id: u64,
    at_us: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfEndpoint {
    endpoint_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeResult {
    endpoint_id: u64,
    probe: u64,
    passed: bool,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Creation { config, seed } = read(arguments)?;
    let checks = HealthChecks::new(config, seed).map_err(|error| ArgumentError::of(&error))?;
    Ok(Box::new(HealthChecksMachine(checks)))
}

impl Calls for HealthChecksMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        let checks = &mut self.0;
        let id = EndpointId::from_u64;
        Some(match name {
            "watch" => read(arguments).map(|it: Watch| {
                checks.watch(Instant::from_micros(it.at_us), id(it.endpoint_id));
                Value::Null
            }),
            "unwatch" => read(arguments).map(|it: OfEndpoint| {
                checks.unwatch(id(it.endpoint_id));
                Value::Null
            }),
            "poll" => read(arguments).map(|it: At| {
                checks.poll(Instant::from_micros(it.at_us)).map_or(Value::Null, shown)
            }),
            "next_timeout" => Ok(json!(checks.next_timeout().map(Instant::as_micros))),
            "handle_result" => read(arguments).map(|it: ProbeResult| {
                checks.handle_result(id(it.endpoint_id), it.probe, it.passed);
                Value::Null
            }),
            "handle_failure" => read(arguments).map(|it: OfEndpoint| {
                checks.handle_failure(id(it.endpoint_id));
                Value::Null
            }),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["watch", "unwatch", "poll", "next_timeout", "handle_result", "handle_failure"]
    }
}

fn shown(step: HealthCheckStep) -> Value {
    match step {
        HealthCheckStep::Probe { endpoint_id, probe, deadline } => json!({
            "probe": probe,
            "endpoint_id": endpoint_id.as_u64(),
            "deadline_us": deadline.as_micros(),
        }),
        HealthCheckStep::Report { endpoint_id, passed } => {
            json!({"report": passed, "endpoint_id": endpoint_id.as_u64()})
        }
    }
}
