//! The pools of a configuration, which changes while they serve.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use slotwise::{Endpoint, EndpointId, Instant, Scheduler};

use crate::config::{Configuration, PoolConfig, Problem};
use crate::gateway::Gateway;

/// Named pools, each a [`Gateway`], as a [`Configuration`] describes them.
///
/// [`apply`](Self::apply) changes them while requests wait and run. What left the configuration
/// leaves once it is idle: see [`remove_idle`](Self::remove_idle). Endpoints that discovery added
/// beside the configuration are not touched.
///
/// ```
/// use slotwise::{Instant, Request};
/// use slotwise_gateway::{Pools, config};
///
/// let now = Instant::ORIGIN;
/// let read = |text| config::read("gateway.yaml", text).expect("valid").configuration;
/// let mut pools = Pools::default();
/// let first = "pools: [{name: llama, endpoints: [http://a:8000, http://b:8000]}]";
/// pools.apply(now, &read(first)).expect("accepted");
/// let scheduler = pools.get_mut("llama").expect("configured").scheduler_mut();
/// let request = scheduler.pick(now, &Request::new("m").text("Hello"))?.request_id;
///
/// let second = "pools: [{name: mistral, endpoints: [http://c:8000]}]";
/// pools.apply(now, &read(second)).expect("accepted");
/// assert!(pools.remove_idle(now).is_empty(), "the request is still running");
/// pools.get_mut("llama").expect("leaving").scheduler_mut().cancel(now, request);
/// assert_eq!(pools.remove_idle(now)[0].name, "llama");
/// assert_eq!(pools.names().collect::<Vec<_>>(), ["mistral"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Pools(BTreeMap<String, Pool>);

#[derive(Debug)]
struct Pool {
    gateway: Gateway,
    /// What the configuration says of it.
    config: PoolConfig,
    /// The endpoints of the configuration.
    configured: BTreeSet<EndpointId>,
    /// Endpoints that left the configuration and drain.
    leaving_endpoints: BTreeSet<EndpointId>,
    /// The pool left the configuration.
    is_leaving: bool,
}

/// A pool that left the configuration and has become idle.
#[derive(Debug)]
#[non_exhaustive]
pub struct LeftPool {
    /// The name.
    pub name: String,
    /// The gateway, whose last statistics may be read.
    pub gateway: Gateway,
}

impl Pools {
    /// Changes the pools to those of the configuration.
    ///
    /// - New pools and endpoints are added, and accept requests at once.
    /// - Changed endpoints are [updated](Scheduler::update_endpoint), and changed schedulers
    ///   [reconfigured](Scheduler::reconfigure): their queues, reservations and indexes stay.
    /// - Endpoints that left the configuration drain. Pools that left it serve what they have
    ///   queued; the host's [`Routing`](crate::routing::Routing) sends them no more.
    /// - What comes back before it was removed stays.
    ///
    /// Computes in **O(configuration + requests in flight · log requests in flight)**.
    ///
    /// # Errors
    ///
    /// All problems that were found: of the configuration, and of fields that cannot change while a
    /// scheduler runs. Nothing changes then.
    pub fn apply(
        &mut self,
        now: Instant,
        configuration: &Configuration,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = configuration.check();
        for (name, config) in &configuration.pools {
            let found = self.0.get(name).and_then(|pool| pool.check(config));
            problems.extend(found.map(|problem| problem.in_field(name).in_field("pools")));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (name, config) in &configuration.pools {
            let applied = match self.0.get_mut(name) {
                Some(pool) => pool.apply(now, config),
                None => Pool::new(now, config).map(|pool| {
                    self.0.insert(name.clone(), pool);
                }),
            };
            debug_assert!(applied.is_ok(), "invariant: {name} was checked: {applied:?}");
        }
        for (name, pool) in &mut self.0 {
            pool.is_leaving = !configuration.pools.contains_key(name);
        }
        Ok(())
    }

    /// Removes what has left the configuration and is idle: endpoints without requests in flight,
    /// and pools in which no request is queued, in flight or undelivered. Returns the pools. Call
    /// it after the ends of requests. Computes in **O(pools + endpoints)**.
    pub fn remove_idle(&mut self, now: Instant) -> Vec<LeftPool> {
        self.0.values_mut().for_each(|pool| pool.remove_idle_endpoints(now));
        let idle = |(name, pool): (&String, &Pool)| pool.is_idle().then(|| name.clone());
        let names: Vec<String> = self.0.iter().filter_map(idle).collect();
        let left = |name: String| {
            let Pool { gateway, .. } = self.0.remove(&name)?;
            Some(LeftPool { name, gateway })
        };
        names.into_iter().filter_map(left).collect()
    }

    /// The pool of this name, also while it is leaving.
    pub fn get(&self, name: &str) -> Option<&Gateway> {
        self.0.get(name).map(|pool| &pool.gateway)
    }

    /// The pool of this name, for inputs, also while it is leaving.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Gateway> {
        self.0.get_mut(name).map(|pool| &mut pool.gateway)
    }

    /// The names of all pools, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All pools in the order of their names, for polling.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Gateway)> {
        self.0.iter_mut().map(|(name, pool)| (name.as_str(), &mut pool.gateway))
    }
}

impl Pool {
    fn new(now: Instant, config: &PoolConfig) -> Result<Self, String> {
        let scheduler =
            Scheduler::new(config.scheduler.clone()).map_err(|error| error.to_string())?;
        let mut pool = Self {
            gateway: Gateway::new(scheduler),
            config: PoolConfig { scheduler: config.scheduler.clone(), ..PoolConfig::default() },
            configured: BTreeSet::new(),
            leaving_endpoints: BTreeSet::new(),
            is_leaving: false,
        };
        pool.apply(now, config)?;
        Ok(pool)
    }

    /// Why the running pool cannot change to this configuration, which is valid by itself.
    fn check(&self, config: &PoolConfig) -> Option<Problem> {
        let scheduler = self.gateway.scheduler();
        if let Err(error) = scheduler.check_reconfigure(&config.scheduler) {
            let problem = Problem::new(error.expected).in_field(error.field);
            return Some(problem.in_field("scheduler"));
        }
        let is_new = |endpoint: &&Endpoint| scheduler.endpoint_named(&endpoint.name).is_none();
        let endpoints = scheduler.stats().endpoints.len();
        let (new, limit) =
            (config.endpoints.iter().filter(is_new).count(), config.scheduler.max_endpoints);
        (endpoints + new > limit).then(|| {
            let message =
                "must leave room in `max_endpoints` for endpoints that drain or were discovered";
            Problem::new(message.to_owned()).in_field("endpoints")
        })
    }

    /// Changes the pool to this configuration, which was checked.
    fn apply(&mut self, now: Instant, config: &PoolConfig) -> Result<(), String> {
        if self.config.scheduler != config.scheduler {
            let scheduler = self.gateway.scheduler_mut();
            scheduler
                .reconfigure(now, config.scheduler.clone())
                .map_err(|error| error.to_string())?;
        }
        let mut configured = BTreeSet::new();
        for endpoint in &config.endpoints {
            let id = self.apply_endpoint(now, endpoint)?;
            self.leaving_endpoints.remove(&id);
            configured.insert(id);
        }
        for id in core::mem::replace(&mut self.configured, configured) {
            // An endpoint that the host has removed is unknown.
            let left = !self.configured.contains(&id);
            if left && self.gateway.scheduler_mut().drain_endpoint(now, id).is_ok() {
                self.leaving_endpoints.insert(id);
            }
        }
        self.config = config.clone();
        Ok(())
    }

    /// Adds the endpoint, or updates the one of its name; the endpoint's id.
    fn apply_endpoint(&mut self, now: Instant, endpoint: &Endpoint) -> Result<EndpointId, String> {
        let scheduler = self.gateway.scheduler_mut();
        let Some(id) = scheduler.endpoint_named(&endpoint.name) else {
            let added = scheduler.add_endpoint(now, endpoint.clone());
            return added.map_err(|error| error.to_string());
        };
        if scheduler.endpoint(id) != Some(endpoint) {
            let updated = scheduler.update_endpoint(now, id, endpoint.clone());
            updated.map_err(|error| error.to_string())?;
        }
        // Only what drains because it had left: a host may drain others.
        if self.leaving_endpoints.contains(&id) {
            let resumed = scheduler.resume_endpoint(now, id);
            resumed.map_err(|error| error.to_string())?;
        }
        Ok(id)
    }

    fn remove_idle_endpoints(&mut self, now: Instant) {
        let gateway = &mut self.gateway;
        self.leaving_endpoints.retain(|id| {
            let in_flight = gateway.scheduler().in_flight_on(*id);
            if in_flight == Ok(0) {
                // The endpoint is in the pool.
                let _ = gateway.remove_endpoint(now, *id);
            }
            in_flight.is_ok_and(|requests| requests > 0)
        });
    }

    /// Whether the pool has left the configuration and has nothing to do.
    fn is_idle(&self) -> bool {
        self.is_leaving && {
            let stats = self.gateway.scheduler().stats();
            stats.in_flight == 0 && stats.queued == 0 && stats.undelivered == 0
        }
    }
}
