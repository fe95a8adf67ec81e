//! [`Routing`] with its generator.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::Rng;

use super::{Calls, refused};
use crate::json::{ArgumentError, read};
use crate::routing::{Inquiry, NoRoute, Route, Routing, RoutingConfig, Target};
use crate::tree::Node;

struct RoutingMachine {
    routing: Routing,
    rng: Rng,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    config: RoutingConfig,
    /// Seeds the splits that nothing pins.
    #[serde(default)]
    seed: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RouteArguments {
    model: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    session: Option<String>,
    objective: Option<String>,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Arguments { config, seed } = read(arguments)?;
    let routing = Routing::new(config).map_err(|error| ArgumentError::new(error.to_string()))?;
    Ok(Box::new(RoutingMachine { routing, rng: Rng::new(seed) }))
}

impl Calls for RoutingMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        Some(match name {
            "route" => read(arguments).map(|arguments| self.route(&arguments)),
            "models" => Ok(self.routing.models().into()),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["route", "models"]
    }
}

impl RoutingMachine {
    fn route(&mut self, arguments: &RouteArguments) -> Value {
        let headers: Vec<_> =
            arguments.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let inquiry = Inquiry {
            model: &arguments.model,
            method: &arguments.method,
            path: &arguments.path,
            headers: &headers,
            session: arguments.session.as_deref(),
            objective: arguments.objective.as_deref(),
        };
        match self.routing.route(&inquiry, &mut self.rng) {
            Ok(route) => of_route(&route),
            Err(no_route) => of_no_route(&no_route),
        }
    }
}

fn of_route(route: &Route<'_>) -> Value {
    let targets = |targets: &[Target<'_>]| targets.iter().map(of_target).collect::<Vec<_>>();
    json!({
        "rule": route.rule,
        "target": of_target(&route.target),
        "fallbacks": targets(&route.fallbacks),
        "mirrors": targets(&route.mirrors),
        "priority": route.priority,
        "timeout_s": route.timeout.map(|time| time.as_secs_f64()),
    })
}

pub(super) fn of_target(target: &Target<'_>) -> Value {
    json!({
        "pool": target.pool,
        "model": target.model,
        "base": target.base,
        "adapter": target.adapter,
    })
}

fn of_no_route(no_route: &NoRoute) -> Value {
    refused(no_route.code(), no_route.http_status(), no_route)
}
