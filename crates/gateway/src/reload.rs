//! The configuration of one pool, changed while it serves.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use slotwise::{Config, Endpoint, EndpointError, EndpointId, Instant};

use crate::config::{PoolConfig, Problem};
use crate::gateway::Gateway;

/// What the configuration says of a pool's endpoints.
#[derive(Debug, Default)]
pub(crate) struct Reload {
    /// The endpoints of the configuration.
    configured: BTreeSet<EndpointId>,
    /// Endpoints that left the configuration and drain.
    leaving: BTreeSet<EndpointId>,
}

impl Gateway {
    /// Changes the running pool to this configuration. Returns the ids of its endpoints, in the
    /// configuration's order.
    ///
    /// - New endpoints are added, and accept requests at once.
    /// - Changed endpoints are [updated](slotwise::Scheduler::update_endpoint), and a changed
    ///   scheduler is [reconfigured](slotwise::Scheduler::reconfigure): its queue, reservations and
    ///   index stay. A seed of 0 leaves the running one.
    /// - Endpoints that left the configuration drain, until
    ///   [`remove_idle`](Self::remove_idle) removes them. Those that come back before stay.
    /// - Endpoints that the host added beside the configuration are not touched.
    ///
    /// Computes in **O(configuration + requests in flight · log requests in flight)**.
    ///
    /// ```
    /// use slotwise::{Instant, Request, Scheduler};
    /// use slotwise_gateway::Gateway;
    /// use slotwise_gateway::config::PoolConfig;
    ///
    /// let now = Instant::ORIGIN;
    /// let mut gateway = Gateway::new(Scheduler::default());
    /// let pool = |text| PoolConfig::of_text(text, "default");
    /// let ids = gateway.apply(now, &pool("endpoints: [http://a, http://b]")?)?;
    /// let request = Request::new("m").text("Hi").exclude(&ids[1..]);
    /// let running = gateway.scheduler_mut().pick(now, &request)?.request_id;
    ///
    /// gateway.apply(now, &pool("endpoints: [http://b]")?)?;
    /// assert_eq!(gateway.remove_idle(now), [], "a request is still running");
    /// assert!(gateway.scheduler_mut().cancel(now, running));
    /// assert_eq!(gateway.remove_idle(now), ids[..1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first problem that was found: an invalid field, one that cannot change while the
    /// scheduler runs, or too little room for the endpoints. Nothing changes then.
    pub fn apply(&mut self, now: Instant, config: &PoolConfig) -> Result<Vec<EndpointId>, Problem> {
        config.check()?;
        self.check_apply(config)?;
        Ok(self.change(now, config))
    }

    /// Removes the endpoints that left the configuration and have no request in flight. Returns
    /// them. Call it after the ends of requests. Computes in **O(leaving endpoints)**.
    pub fn remove_idle(&mut self, now: Instant) -> Vec<EndpointId> {
        let mut removed = Vec::new();
        let leaving = core::mem::take(&mut self.reload.leaving);
        for endpoint in leaving {
            match self.scheduler().in_flight_on(endpoint) {
                Ok(0) => {
                    // The endpoint is in the pool.
                    _ = self.remove_endpoint(now, endpoint);
                    removed.push(endpoint);
                }
                Ok(_) => _ = self.reload.leaving.insert(endpoint),
                // The host has removed it.
                Err(_) => {}
            }
        }
        removed
    }

    /// Why the running pool cannot change to this configuration, which is valid by itself.
    pub(crate) fn check_apply(&self, config: &PoolConfig) -> Result<(), Problem> {
        let scheduler = self.scheduler();
        let wanted = self.with_seed(&config.scheduler);
        scheduler.check_reconfigure(&wanted).map_err(|error| {
            Problem::new(error.expected).in_field(error.field).in_field("scheduler")
        })?;
        let is_new = |endpoint: &&Endpoint| scheduler.endpoint_named(&endpoint.name).is_none();
        let new = config.endpoints.iter().filter(is_new).count();
        if scheduler.stats().endpoints.len() + new <= wanted.max_endpoints {
            return Ok(());
        }
        let message =
            "must leave room in `max_endpoints` for endpoints that drain or were discovered";
        Err(Problem::new(message).in_field("endpoints"))
    }

    /// Changes the pool to this configuration, which was checked.
    pub(crate) fn change(&mut self, now: Instant, config: &PoolConfig) -> Vec<EndpointId> {
        let wanted = self.with_seed(&config.scheduler);
        if *self.scheduler().config() != wanted {
            let changed = self.scheduler_mut().reconfigure(now, wanted);
            debug_assert!(changed.is_ok(), "invariant: it was checked: {changed:?}");
        }
        let mut ids = Vec::new();
        for endpoint in &config.endpoints {
            let applied = self.change_endpoint(now, endpoint);
            debug_assert!(applied.is_ok(), "invariant: it was checked: {applied:?}");
            ids.extend(applied);
        }
        let before = core::mem::replace(&mut self.reload.configured, ids.iter().copied().collect());
        for id in before {
            // An endpoint that the host has removed is unknown.
            let left = !self.reload.configured.contains(&id);
            if left && self.scheduler_mut().drain_endpoint(now, id).is_ok() {
                self.reload.leaving.insert(id);
            }
        }
        ids
    }

    /// Adds the endpoint, or updates the one of its name; the endpoint's id.
    fn change_endpoint(
        &mut self,
        now: Instant,
        endpoint: &Endpoint,
    ) -> Result<EndpointId, EndpointError> {
        let Some(id) = self.scheduler().endpoint_named(&endpoint.name) else {
            return self.scheduler_mut().add_endpoint(now, endpoint.clone());
        };
        if self.scheduler().endpoint(id) != Some(endpoint) {
            self.scheduler_mut().update_endpoint(now, id, endpoint.clone())?;
        }
        // Only what drains because it had left: a host may drain others.
        if self.reload.leaving.remove(&id) {
            self.scheduler_mut().resume_endpoint(now, id)?;
        }
        Ok(id)
    }

    /// The configuration with the running seed if it has none of its own.
    fn with_seed(&self, config: &Config) -> Config {
        let mut config = config.clone();
        if config.seed == 0 {
            config.seed = self.scheduler().config().seed;
        }
        config
    }
}
