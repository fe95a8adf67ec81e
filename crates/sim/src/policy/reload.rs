//! A gateway whose configuration changes while it serves.

use std::collections::VecDeque;
use std::time::Duration;

use ::slotwise::{Config, ConfigError, Instant, Scheduler};

use super::flow::Flow;
use super::front::{Front, Fronted};
use super::slotwise::{Slotwise, Variant};
use super::{Fleet, Incoming, Verdict};

/// A new configuration, and when it takes effect.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The time since the begin of the run.
    pub at: Duration,
    /// The configuration. Its seed is replaced by the run's.
    pub config: Config,
}

/// What a gateway has taken and not given back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Booked {
    /// Requests that wait at the gateway.
    pub queued: usize,
    /// Requests that it has dispatched and that have not ended.
    pub in_flight: u64,
    /// The same, as the sum over its endpoints. A request that is booked twice counts twice here.
    pub on_endpoints: u64,
}

/// A reload that took effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reloaded {
    /// When.
    pub at: Instant,
    /// The gateway's requests before it.
    pub before: Booked,
    /// The gateway's requests after it. Requests that it lets pass leave the queue later.
    pub after: Booked,
}

impl Booked {
    pub(super) fn of(scheduler: &Scheduler) -> Self {
        let stats = scheduler.stats();
        let on = |endpoint| u64::from(scheduler.in_flight_on(endpoint).unwrap_or(0));
        Self {
            queued: stats.queued,
            in_flight: stats.in_flight,
            on_endpoints: stats.endpoints.iter().map(|endpoint| on(endpoint.id)).sum(),
        }
    }
}

/// The scheduler's flow control, with configurations that take effect later.
pub(super) struct Reloading {
    flow: Flow,
    /// In order of their times.
    due: VecDeque<Reload>,
    done: Vec<Reloaded>,
}

impl Reloading {
    /// # Errors
    ///
    /// A configuration is invalid, or changes a field that is fixed while a scheduler runs.
    pub(super) fn build(
        config: &Config,
        reloads: &[Reload],
        fleet: &Fleet,
    ) -> Result<Fronted<Self>, ConfigError> {
        let seeded = |config: &Config| {
            let mut config = config.clone();
            config.seed = fleet.seed;
            config
        };
        let scheduler = Scheduler::new(seeded(config))?;
        let mut due: Vec<Reload> = reloads
            .iter()
            .map(|reload| Reload { config: seeded(&reload.config), ..*reload })
            .collect();
        for reload in &due {
            scheduler.check_reconfigure(&reload.config)?;
        }
        due.sort_by_key(|reload| reload.at);
        let gateway = Slotwise::of(Variant::Flow, scheduler, fleet);
        let front = Self { flow: Flow::default(), due: due.into(), done: Vec::new() };
        Ok(Fronted { gateway, front })
    }

    /// Applies what is due.
    fn advance(&mut self, gateway: &mut Slotwise, now: Instant) {
        while self.due.front().is_some_and(|reload| Instant::ORIGIN + reload.at <= now) {
            let Some(Reload { config, .. }) = self.due.pop_front() else { break };
            let before = Booked::of(&gateway.scheduler);
            gateway.scheduler.reconfigure(now, config).expect("it was checked");
            let after = Booked::of(&gateway.scheduler);
            self.done.push(Reloaded { at: now, before, after });
        }
    }
}

impl Front for Reloading {
    fn submit(
        &mut self,
        gateway: &mut Slotwise,
        now: Instant,
        request: &Incoming<'_>,
    ) -> Option<Verdict> {
        self.advance(gateway, now);
        self.flow.submit(gateway, now, request)
    }

    fn poll(&mut self, gateway: &mut Slotwise, now: Instant) -> Option<(u32, Verdict)> {
        self.advance(gateway, now);
        self.flow.poll(gateway, now)
    }

    fn next_timeout(&self, gateway: &Slotwise) -> Option<Instant> {
        let reload = self.due.front().map(|reload| Instant::ORIGIN + reload.at);
        self.flow.next_timeout(gateway).into_iter().chain(reload).min()
    }

    fn reloads(&self) -> &[Reloaded] {
        &self.done
    }
}
