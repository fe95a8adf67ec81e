//! What a file describes: pools with their schedulers, routing, gates.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::{Config, Endpoint, Scheduler, Seconds};

use super::problem::Problem;
use crate::InvalidField;
use crate::clusters::{Balancing, ClustersConfig, Export, ImportedPool, check};
use crate::gates::{Gates, GatesConfig};
use crate::health_checks::HealthCheckConfig;
use crate::names::UnknownName;
use crate::routing::{Routing, RoutingConfig};

/// The whole configuration of a gateway.
///
/// A host builds one [`Scheduler`] for each pool, one [`Routing`] and one [`Gates`] from it. If
/// clusters export its pools, [`clusters_config`](Self::clusters_config) is what
/// [`Clusters`](crate::clusters::Clusters) take.
///
/// ```
/// use slotwise_gateway::config;
///
/// let file = "
/// pools:
/// - name: llama
///   models: [llama-3]
///   endpoints: [http://10.0.0.1:8000, http://10.0.0.2:8000]
/// objectives:
/// - {name: batch, priority: -5}
/// ";
/// let loaded = config::read("gateway.yaml", file).expect("valid");
/// let pool = &loaded.configuration.pools["llama"];
/// assert_eq!(pool.endpoints.len(), 2);
///
/// let problems = config::read("gateway.yaml", "pols: []").expect_err("an unknown field");
/// let message = "gateway.yaml:1:1: unknown field \"pols\"; did you mean \"pools\"?";
/// assert_eq!(problems[0].to_string(), message);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Configuration {
    /// Which pool serves a request. Each pool of it is in `pools`, too.
    pub routing: RoutingConfig,
    /// The pools by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// API keys, quotas and rate limits; `None` lets all requests pass.
    pub gates: Option<GatesConfig>,
    /// The engines' metrics by the name of their signal, for [`Balancing::metrics`].
    pub signals: Signals,
    /// The clusters that export pools, and when they count as lost. Its list of pools is empty.
    pub clusters: ClustersConfig,
}

/// The engines' metrics by the name of their signal. Engines of different versions may have
/// different names for one signal; the first one that a page has counts.
pub type Signals = BTreeMap<String, Vec<String>>;

/// A pool: its scheduler, its endpoints, and the clusters that export it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The configuration of its scheduler.
    pub scheduler: Config,
    /// Its first endpoints; discovery may add others.
    pub endpoints: Vec<Endpoint>,
    /// What counts as load where requests are balanced over the clusters that export the pool. Its
    /// limit of requests in flight is that of the endpoints without one, too.
    pub balancing: Balancing,
    /// The clusters that export the pool; none if only this gateway serves it.
    pub exports: Vec<Export>,
    /// The time-out of its requests; `None` leaves it to the host.
    pub timeout: Option<Seconds>,
    /// How the host probes its endpoints; `None` probes none.
    pub health_check: Option<HealthCheckConfig>,
}

impl Configuration {
    /// The pool of this name, which is added if there is none.
    pub fn pool(&mut self, name: &str) -> &mut PoolConfig {
        if !self.pools.contains_key(name) {
            self.routing.pool(name);
        }
        self.pools.entry(name.to_owned()).or_default()
    }

    /// What [`Clusters`](crate::clusters::Clusters) take: the pools that clusters export, or only
    /// the one of this name. Signals name the reports of metrics that name none.
    pub fn clusters_config(&self, only: Option<&str>) -> ClustersConfig {
        let mut config = self.clusters.clone();
        let exported = self.pools.iter().filter(|(_, pool)| !pool.exports.is_empty());
        let exported = exported.filter(|(name, _)| only.is_none_or(|only| only == &***name));
        config.pools = exported.map(|(name, pool)| self.imported(name, pool)).collect();
        config
    }

    fn imported(&self, name: &str, pool: &PoolConfig) -> ImportedPool {
        let PoolConfig { timeout, balancing, exports, .. } = pool.clone();
        let mut imported = ImportedPool { name: name.to_owned(), timeout, balancing, exports };
        let of_exports = imported.exports.iter_mut().map(|export| &mut export.balancing);
        for balancing in of_exports.chain([&mut imported.balancing]) {
            for metric in &mut balancing.metrics {
                let names =
                    self.signals.get(&metric.name).filter(|_| metric.reported_as.is_empty());
                metric.reported_as.extend(names.into_iter().flatten().cloned());
            }
        }
        imported
    }

    /// Applies limits of pools to those of their endpoints that have none.
    pub(super) fn apply_limits(&mut self) {
        for pool in self.pools.values_mut() {
            let limit = pool.balancing.max_in_flight_per_endpoint.and_then(NonZeroU32::new);
            for endpoint in &mut pool.endpoints {
                endpoint.max_in_flight = endpoint.max_in_flight.or(limit);
            }
        }
    }

    /// The first invalid field of each part; paths are those of the own file.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(error) = Routing::new(self.routing.clone()) {
            problems.push(of_field(error));
        }
        for (at, routed) in self.routing.pools.iter().enumerate() {
            let Some(pool) = self.pools.get(&routed.name) else { continue };
            let imported = self.imported(&routed.name, pool);
            let clusters = check::check_pool(&imported, &self.clusters.members).err();
            let found = clusters.map(of_field).or_else(|| check_pool(pool));
            let found = found.map(|problem| problem.in_item(at).in_field("pools"));
            problems.extend(found);
        }
        if let Err(error) = check::check_settings(&self.clusters) {
            problems.push(of_field(error).in_field("clusters"));
        }
        if let Some(Err(error)) = self.gates.clone().map(Gates::new) {
            problems.push(of_field(error).in_field("gates"));
        }
        problems
    }
}

impl PoolConfig {
    /// The pool of this name in a configuration as [text](Configuration::to_yaml), for hosts of
    /// other languages.
    ///
    /// # Errors
    ///
    /// The first problem of the text, or the known pools if there is none of this name.
    pub fn of_text(text: &str, pool: &str) -> Result<Self, Problem> {
        let first = |problems: Vec<Problem>| problems.into_iter().next().unwrap_or_default();
        let mut pools = super::read("configuration", text).map_err(first)?.configuration.pools;
        pools.remove(pool).ok_or_else(|| {
            let error = UnknownName::new(pool, pools.keys().map(|name| &**name));
            Problem::new(error.to_string()).in_field("pools")
        })
    }

    /// The first invalid field.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        check_pool(self).map_or(Ok(()), Err)
    }
}

fn of_field(error: InvalidField) -> Problem {
    Problem::new(error.expected).in_field(&error.field)
}

fn check_pool(pool: &PoolConfig) -> Option<Problem> {
    if let Some(Err(error)) = pool.health_check.as_ref().map(HealthCheckConfig::check) {
        return Some(of_field(error).in_field("health_check"));
    }
    let mut scheduler = match Scheduler::new(pool.scheduler.clone()) {
        Ok(scheduler) => scheduler,
        Err(error) => {
            let problem = Problem::new(error.expected).in_field(error.field);
            return Some(problem.in_field("scheduler"));
        }
    };
    let mut endpoints = pool.endpoints.iter().enumerate();
    endpoints.find_map(|(at, endpoint)| {
        let added = scheduler.add_endpoint(slotwise::Instant::ORIGIN, endpoint.clone());
        let error = added.err()?;
        Some(Problem::new(error.to_string()).in_item(at).in_field("endpoints"))
    })
}
