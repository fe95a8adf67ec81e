//! A [`Configuration`] that was read from a file.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Calls;
use crate::config::{self, Change, Configuration, Loaded, PoolConfig, Problem};
use crate::json::{ArgumentError, read};
use crate::tree::Node;

struct ConfigurationMachine(Loaded);

/// A file: its name, for messages, and its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPool {
    pool: String,
}

/// The pools that clusters export, or one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clusters {
    #[serde(default)]
    pool: Option<String>,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    Ok(Box::new(ConfigurationMachine(load(arguments)?)))
}

/// All problems are one message, each on its own line.
fn load(arguments: &Node) -> Result<Loaded, ArgumentError> {
    let File { name, text } = read(arguments)?;
    config::read(&name, &text).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        ArgumentError::new(lines.join("\n"))
    })
}

impl Calls for ConfigurationMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        let Loaded { configuration, ignored, .. } = &self.0;
        Some(match name {
            "text" => Ok(configuration.to_yaml().into()),
            "ignored" => Ok(ignored.iter().map(Problem::to_string).collect()),
            "diff" => load(arguments).map(|newer| of_changes(configuration, &newer.configuration)),
            "routing" => Ok(json!(configuration.routing)),
            "gates" => Ok(json!(configuration.gates)),
            "schema" => Ok(config::schema().into()),
            "signals" => Ok(json!(configuration.signals)),
            "clusters" => read(arguments)
                .map(|of: Clusters| json!(configuration.clusters_config(of.pool.as_deref()))),
            "pool" => read(arguments).map(|of: OfPool| of_pool(configuration, &of.pool)),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["text", "ignored", "diff", "routing", "gates", "schema", "signals", "clusters", "pool"]
    }
}

fn of_changes(configuration: &Configuration, newer: &Configuration) -> Value {
    let change = |Change { path, before, after }: Change| json!({"path": path, "before": before, "after": after});
    configuration.diff(newer).into_iter().map(change).collect()
}

/// The pool, or `null` if there is none of this name.
fn of_pool(configuration: &Configuration, name: &str) -> Value {
    let pool = configuration.pools.get(name);
    let shown = |pool: &PoolConfig| {
        json!({
            "scheduler": pool.scheduler,
            "endpoints": pool.endpoints,
            "balancing": pool.balancing,
            "exports": pool.exports,
            "timeout": pool.timeout,
            "health_check": pool.health_check,
        })
    };
    pool.map_or(Value::Null, shown)
}
