//! The pools of a configuration, which changes while they serve.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::{Instant, Scheduler};

use crate::config::{Configuration, Problem};
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
    /// New pools are added, and accept requests at once. Others change by [`Gateway::apply`]. Pools
    /// that left the configuration serve what they have queued; the host's
    /// [`Routing`](crate::routing::Routing) sends them no more. Those that come back before they
    /// were removed stay.
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
            let checked = self.0.get(name).map_or(Ok(()), |pool| pool.gateway.check_apply(config));
            problems.extend(checked.err().map(|problem| problem.in_field(name).in_field("pools")));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (name, config) in &configuration.pools {
            if !self.0.contains_key(name) {
                let scheduler = Scheduler::new(config.scheduler.clone());
                debug_assert!(scheduler.is_ok(), "invariant: {name} was checked: {scheduler:?}");
                let Ok(scheduler) = scheduler else { continue };
                let pool = Pool { gateway: Gateway::new(scheduler), is_leaving: false };
                self.0.insert(name.clone(), pool);
            }
            if let Some(pool) = self.0.get_mut(name) {
                pool.gateway.change(now, config);
            }
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
        for pool in self.0.values_mut() {
            pool.gateway.remove_idle(now);
        }
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
    /// Whether the pool has left the configuration and has nothing to do.
    fn is_idle(&self) -> bool {
        self.is_leaving && {
            let stats = self.gateway.scheduler().stats();
            stats.in_flight == 0 && stats.queued == 0 && stats.undelivered == 0
        }
    }
}
