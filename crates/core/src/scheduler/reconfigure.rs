//! A new configuration for a running scheduler.

use alloc::vec::Vec;

use super::Scheduler;
use crate::config::{Config, ConfigError};
use crate::fleet::cache;
use crate::placement::SchedulingCycle;
use crate::pool::{Reservation, Slot};
use crate::prefix::keyed_state::KeyedState;
use crate::sorting::sort_rarely;
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Changes the configuration. Queued requests, reservations, the prefix index, sessions and
    /// learned values stay.
    ///
    /// - Queued requests keep their places, and are attempted again under the new limits. Requests
    ///   above a lowered limit stay queued; arrivals meet a full queue.
    /// - Requests in flight above a lowered limit continue.
    /// - Default values such as [`kv_cache_tokens`](Config::kv_cache_tokens) and
    ///   [`prefill`](Config::prefill) apply to all endpoints whose descriptions omit them, except
    ///   [`adapter_slots`](Config::adapter_slots), which applies to endpoints added later.
    /// - A profile of the host's own plugins stays unless `config` names a profile.
    /// - TTLs of queued requests stay as they were set on arrival.
    ///
    /// Computes in **O(endpoints + requests in flight · log requests in flight)**, and attempts
    /// every queued request again in the next [`poll_decision`](Self::poll_decision).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that is invalid or cannot change while the scheduler
    /// runs: `seed`, `max_endpoints`, `max_models`, `max_adapters`, `max_threads`, `index`,
    /// `flow.fairness`, `flow.order` and `flow.session_admission`. Nothing changes then.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let request = scheduler.pick(now, &Request::new("m").text("Hello"))?.request_id;
    ///
    /// let mut config = scheduler.config().clone();
    /// config.max_in_flight = 1;
    /// scheduler.reconfigure(now, config.clone())?;
    /// assert!(scheduler.pick(now, &Request::new("m").text("Hello")).is_err());
    /// assert!(scheduler.endpoint_of(request).is_some());
    ///
    /// config.seed += 1;
    /// let error = scheduler.reconfigure(now, config).unwrap_err();
    /// assert_eq!(error.to_string(), "seed must not change while the scheduler runs");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reconfigure(&mut self, now: Instant, config: Config) -> Result<(), ConfigError> {
        self.config().fixed_fields_equal(&config)?;
        let profiles = Self::profiles_of(&config)?;
        let config = Self::checked(config, profiles.as_ref())?;
        self.advance(now);

        let had_profile = self.workspace.cycle.is_some();
        let is_hosts = self.config().profile.is_none() && self.config().profiles.is_none();
        match (profiles, &mut self.workspace.cycle) {
            (Some(profiles), Some(cycle)) => cycle.replace(profiles),
            (Some(profiles), cycle) => {
                let hash_state = KeyedState::new(self.fleet.hasher.name("tables"));
                *cycle = Some(SchedulingCycle::new(profiles, &config.producers, hash_state));
            }
            (None, _) if is_hosts => {}
            (None, cycle) => *cycle = None,
        }
        if let Some(cycle) = &mut self.workspace.cycle {
            cycle.set_limits(&config.producers);
        }
        self.queueing.reconfigure(self.fleet.now, &config.flow);
        let closes_window = config.adapter_window == 0.0;
        let before = core::mem::replace(&mut self.fleet.config, config);
        self.fleet.reopen_adapter_window(closes_window);
        self.apply_endpoint_defaults(&before);
        if !had_profile && self.workspace.cycle.is_some() {
            self.view_requests_in_flight();
        }
        self.queueing.pool_changed(&self.fleet);
        Ok(())
    }

    /// Whether [`reconfigure`](Self::reconfigure) would accept this configuration. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`reconfigure`](Self::reconfigure).
    ///
    /// ```
    /// use slotwise::Scheduler;
    ///
    /// let scheduler = Scheduler::default();
    /// let mut config = scheduler.config().clone();
    /// config.shed_above *= 2;
    /// assert_eq!(scheduler.check_reconfigure(&config), Ok(()));
    /// config.max_endpoints -= 1;
    /// assert_eq!(scheduler.check_reconfigure(&config).unwrap_err().field, "max_endpoints");
    /// ```
    pub fn check_reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        self.config().fixed_fields_equal(config)?;
        let profiles = Self::profiles_of(config)?;
        Self::checked(config.clone(), profiles.as_ref()).map(|_| ())
    }

    /// Applies changed defaults to the endpoints whose descriptions omit the values.
    fn apply_endpoint_defaults(&mut self, before: &Config) {
        let config = &self.fleet.config;
        let equal = (before.kv_cache_tokens, before.prefill, before.adapter_load_time)
            == (config.kv_cache_tokens, config.prefill, config.adapter_load_time);
        if equal {
            return;
        }
        self.fleet.pool.update_all(|slot: &mut Slot| {
            let described = &slot.endpoint;
            slot.kv_cache_tokens =
                described.kv_cache_tokens.unwrap_or(config.kv_cache_tokens).get();
            slot.prefill = described.prefill.unwrap_or(config.prefill);
            let load_time = described.adapter_load_time.unwrap_or(config.adapter_load_time);
            slot.adapter_load_time = Seconds::from(load_time);
        });
        for slot in self.fleet.pool.iter() {
            self.fleet.prefixes.resize(slot.id.slot, cache(slot));
        }
    }

    /// Gives every endpoint the view of its engine that plugins read, with the requests that are
    /// already in flight, in the order of their dispatch.
    fn view_requests_in_flight(&mut self) {
        self.fleet.pool.keep_marks();
        self.fleet.pool.update_all(|slot| {
            slot.engine_view.get_or_insert_default();
        });
        let answers = self.requests.iter().map(|(_, request)| request).chain(self.lingering.iter());
        let stages = answers.flat_map(|answer| core::iter::once(answer).chain(answer.legs.iter()));
        let mut stages: Vec<_> = stages.map(|it| (it.dispatched, &it.reservation)).collect();
        let order = |(_, it): &(Instant, &Reservation)| (it.endpoint().slot, it.order());
        sort_rarely(&mut stages, |one, other| order(one).cmp(&order(other)));
        for (dispatched, reservation) in stages {
            self.fleet.pool.view(dispatched, reservation);
        }
    }
}
