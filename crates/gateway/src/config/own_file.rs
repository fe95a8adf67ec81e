//! The own file: a few lines with good defaults.
//!
//! ```yaml
//! endpoints: [http://10.0.0.1:8000, http://10.0.0.2:8000]
//! models: [llama-3]
//! objectives:
//! - {name: batch, priority: -5}
//! ```
//!
//! A file without `pools` describes one pool, called `default`, at its top level.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use slotwise::{Config, Endpoint, Seconds};

use super::configuration::{Configuration, PoolConfig, Signals};
use super::problem::Problem;
use crate::clusters::{Balancing, BalancingMetric, Cluster, ClustersConfig, Export};
use crate::gates::GatesConfig;
use crate::health_checks::HealthCheckConfig;
use crate::routing::{
    AdapterModel, Backend, HeaderMatch, Mirror, ModelRewrite, Objective, Pin, RewriteRule,
    RewriteTarget, RoutedPool, RoutingConfig, Rule, RuleMatch,
};
use crate::tree::{self, Node};

/// The name of a file's only pool.
const ONLY_POOL: &str = "default";

/// A file as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OwnFile {
    pools: Vec<FilePool>,
    rules: Vec<Rule>,
    rewrites: Vec<ModelRewrite>,
    objectives: Vec<Objective>,
    pin: Pin,
    seed: u64,
    gates: Option<GatesConfig>,
    signals: Signals,
    clusters: ClustersConfig,
    // The only pool of a file without `pools`.
    models: Vec<String>,
    adapters: Vec<AdapterModel>,
    endpoints: Vec<FileEndpoint>,
    scheduler: Option<Config>,
    balancing: Balancing,
    exports: Vec<Export>,
    timeout: Option<Seconds>,
    health_check: Option<HealthCheckConfig>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct FilePool {
    name: String,
    models: Vec<String>,
    adapters: Vec<AdapterModel>,
    fallback: Option<String>,
    endpoints: Vec<FileEndpoint>,
    scheduler: Config,
    balancing: Balancing,
    exports: Vec<Export>,
    timeout: Option<Seconds>,
    health_check: Option<HealthCheckConfig>,
}

/// An endpoint: its name alone, or its description.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
struct FileEndpoint(Endpoint);

/// The configuration of a file. `pools` are those that other documents of the text add.
pub(super) fn read(node: &Node, pools: &[&str]) -> Result<Configuration, Problem> {
    let file: OwnFile = tree::read(node)?;
    if file.describes_one_pool() {
        if !file.pools.is_empty() {
            let message =
                "must be absent, or hold the file's models, adapters, endpoints and scheduler";
            return Err(Problem::new(message).in_field("pools"));
        }
        if pools.len() > 1 {
            let message = "must have `pools`, as other documents add several";
            return Err(Problem::new(message));
        }
    }
    if !file.clusters.pools.is_empty() {
        let message = "must be absent; the file's own `pools` list the clusters that export them";
        return Err(Problem::new(message).in_field("pools").in_field("clusters"));
    }
    Ok(file.configuration(pools))
}

/// The configuration of a file without fields: one pool.
pub(super) fn without_fields() -> Configuration {
    OwnFile::default().configuration(&[])
}

/// The file of a configuration, with `pools`.
pub(super) fn write(configuration: &Configuration) -> OwnFile {
    let RoutingConfig { seed, pin, pools, rules, rewrites, objectives, .. } =
        configuration.routing.clone();
    let of_pool = |routed: RoutedPool| {
        let PoolConfig { scheduler, endpoints, balancing, exports, timeout, health_check } =
            configuration.pools.get(&routed.name).cloned().unwrap_or_default();
        FilePool {
            name: routed.name,
            models: routed.models,
            adapters: routed.adapters,
            fallback: routed.fallback,
            endpoints: endpoints.into_iter().map(FileEndpoint).collect(),
            scheduler,
            balancing,
            exports,
            timeout,
            health_check,
        }
    };
    OwnFile {
        pools: pools.into_iter().map(of_pool).collect(),
        rules,
        rewrites,
        objectives,
        pin,
        seed,
        gates: configuration.gates.clone(),
        signals: configuration.signals.clone(),
        clusters: configuration.clusters.clone(),
        ..OwnFile::default()
    }
}

/// A file with the defaults of all that the configuration has: each list has one item.
pub(super) fn template(configuration: &Configuration) -> OwnFile {
    let endpoint = FileEndpoint(Endpoint::new(""));
    let exports = [Export::default()].into();
    let pool = FilePool { endpoints: [endpoint].into(), exports, ..FilePool::default() };
    OwnFile {
        pools: [pool].into(),
        rules: [Rule::default()].into(),
        clusters: with_a_member(),
        gates: configuration.gates.as_ref().map(|_| GatesConfig::default()),
        ..OwnFile::default()
    }
}

/// A file in which each list has one item, and each optional part is present.
pub(super) fn example() -> OwnFile {
    let rule = Rule {
        matches: [RuleMatch { headers: [HeaderMatch::default()].into(), ..RuleMatch::default() }]
            .into(),
        backends: [Backend::default()].into(),
        mirrors: [Mirror::default()].into(),
        ..Rule::default()
    };
    let targets = [RewriteTarget::default()].into();
    let rewrite = ModelRewrite {
        rules: [RewriteRule { models: [String::new()].into(), targets }].into(),
        ..ModelRewrite::default()
    };
    let objective = Objective::default();
    let balancing =
        Balancing { metrics: [BalancingMetric::default()].into(), ..Balancing::default() };
    let pool = FilePool {
        models: [String::new()].into(),
        adapters: [AdapterModel::default()].into(),
        endpoints: [FileEndpoint(Endpoint::new(""))].into(),
        balancing: balancing.clone(),
        exports: [Export { balancing, ..Export::default() }].into(),
        ..FilePool::default()
    };
    OwnFile {
        models: pool.models.clone(),
        adapters: pool.adapters.clone(),
        endpoints: pool.endpoints.clone(),
        scheduler: Some(Config::default()),
        balancing: pool.balancing.clone(),
        exports: pool.exports.clone(),
        clusters: with_a_member(),
        pools: [pool].into(),
        rules: [rule].into(),
        rewrites: [rewrite].into(),
        objectives: [objective].into(),
        gates: Some(GatesConfig::default()),
        ..OwnFile::default()
    }
}

/// The defaults of clusters, with one member.
fn with_a_member() -> ClustersConfig {
    ClustersConfig { members: [Cluster::default()].into(), ..ClustersConfig::default() }
}

impl OwnFile {
    /// Whether the top level describes the only pool.
    fn describes_one_pool(&self) -> bool {
        !(self.models.is_empty() && self.adapters.is_empty() && self.endpoints.is_empty())
            || self.scheduler.is_some()
            || self.balancing != Balancing::default()
            || !self.exports.is_empty()
            || self.timeout.is_some()
            || self.health_check.is_some()
    }

    fn configuration(mut self, pools: &[&str]) -> Configuration {
        if self.pools.is_empty() && (pools.is_empty() || self.describes_one_pool()) {
            self.pools.push(FilePool {
                name: (*pools.first().unwrap_or(&ONLY_POOL)).into(),
                models: self.models,
                adapters: self.adapters,
                fallback: None,
                endpoints: self.endpoints,
                scheduler: self.scheduler.unwrap_or_default(),
                balancing: self.balancing,
                exports: self.exports,
                timeout: self.timeout,
                health_check: self.health_check,
            });
        }
        let mut routing = RoutingConfig {
            seed: self.seed,
            pin: self.pin,
            pools: Vec::new(),
            rules: self.rules,
            rewrites: self.rewrites,
            objectives: self.objectives,
        };
        let mut pools = BTreeMap::new();
        for pool in self.pools {
            let routed = routing.pool(&pool.name);
            (routed.models, routed.adapters) = (pool.models, pool.adapters);
            routed.fallback = pool.fallback;
            let endpoints = pool.endpoints.into_iter().map(|endpoint| endpoint.0).collect();
            let FilePool { scheduler, balancing, exports, timeout, health_check, .. } = pool;
            let config =
                PoolConfig { scheduler, endpoints, balancing, exports, timeout, health_check };
            pools.insert(pool.name, config);
        }
        let Self { gates, signals, clusters, .. } = self;
        Configuration { routing, pools, gates, signals, clusters }
    }
}

impl<'de> Deserialize<'de> for FileEndpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = FileEndpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or a map with a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<FileEndpoint, E> {
        Ok(FileEndpoint(Endpoint::new(name)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileEndpoint, A::Error> {
        Endpoint::deserialize(MapAccessDeserializer::new(map)).map(FileEndpoint)
    }
}
