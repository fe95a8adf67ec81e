//! Which cluster serves a request to a pool that several clusters export.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Clusters`]: from an [`Inquiry`] to a [`Choice`], and what changes the answer |
//! | `config` | what a host configures: clusters, pools, exports |
//! | `balancing` | what counts as the load of an export, and its target |
//! | `check` | the checks of a configuration |
//! | `error` | why no cluster is chosen, and why a call is invalid |
//! | `answer` | what a host asks, and what it gets |
//! | `candidates` | the candidates of a request, from the state of the exports |
//! | `choice` | which of the candidates serves a request, and why |
//! | `scorers` | the choice by weighted scores, as the reference has it |
//! | `export` | one export: its health, and how it comes back or leaves |
//! | `report` | what a cluster reports, and the load that it means now |
//! | `wait` | the predicted wait of a new request, between reports |
//! | `ramp` | the share of an export that comes back |
//! | `sessions` | the last cluster of each session |
//! | `durations` | the 99th percentile of requests' durations |
//!
//! One gateway holds the routing: it chooses a cluster, books the request on it, and forwards the
//! request to that cluster's gateway. Each cluster's own scheduler chooses the endpoint.

mod answer;
mod balancing;
mod candidates;
pub(crate) mod check;
mod choice;
mod config;
mod durations;
mod error;
mod export;
mod ramp;
mod report;
mod scorers;
mod sessions;
mod wait;

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Instant, Seconds};

pub use answer::{Choice, Drained, DryRun, Explanation, Inquiry, TimeoutHint};
pub use balancing::{Balancing, BalancingMetric};
pub use choice::{Candidate, Reason, Standing};
pub use config::{Cluster, ClustersConfig, Export, ImportedPool};
pub use error::{ExportError, NoCluster};
pub use report::Report;
pub use scorers::ClusterScorers;

use self::durations::Durations;
use self::export::{ExportState, Health};
use self::report::Steering;
use self::sessions::Sessions;
use crate::InvalidField;
use crate::names::UnknownName;

/// The clusters behind one router.
///
/// `now` never goes back: an older one counts as the latest that was passed.
///
/// ```
/// use slotwise::{Instant, Seconds};
/// use slotwise_gateway::clusters::{Balancing, Clusters, ClustersConfig, Inquiry, Reason, Report};
///
/// let now = Instant::ORIGIN;
/// let mut config = ClustersConfig::default();
/// let pool = config.pool("llama");
/// pool.export("near", Seconds::new(0.001)).export("far", Seconds::new(0.040));
/// pool.balancing = Balancing::in_flight(1);
/// let mut clusters = Clusters::new(config)?;
/// for cluster in ["near", "far"] {
///     clusters.report(now, "llama", cluster, &Report::default())?;
/// }
///
/// let inquiry = Inquiry { pool: "llama", ..Inquiry::default() };
/// assert_eq!(clusters.choose(now, &inquiry)?.reason, Reason::Nearest);
/// let spilled = clusters.choose(now, &inquiry)?; // `near` has its one request
/// assert_eq!((&*spilled.cluster, spilled.reason), ("far", Reason::Spill));
/// clusters.complete(now, "llama", "near", None)?;
/// assert_eq!(clusters.choose(now, &inquiry)?.cluster, "near");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clusters {
    config: ClustersConfig,
    pools: Vec<Pool>,
    sessions: Sessions,
    drained: VecDeque<Drained>,
    next_id: u64,
    now: Instant,
}

#[derive(Clone, Debug)]
struct Pool {
    name: String,
    timeout: Option<Seconds>,
    balancing: Balancing,
    exports: Vec<ExportState>,
    durations: Durations,
    /// Whether the configuration has it. Otherwise it gets nothing new, and is removed with its
    /// last export.
    is_imported: bool,
}

impl Clusters {
    /// Prepares a configuration. Every export is silent until its first report.
    ///
    /// # Errors
    ///
    /// When a name is missing or given twice, a number is out of its range, or an export balances
    /// both by metrics and by requests in flight. The error has the path of the field.
    pub fn new(mut config: ClustersConfig) -> Result<Self, InvalidField> {
        check::check(&config)?;
        let pools = core::mem::take(&mut config.pools);
        let (sessions, drained) = (Sessions::default(), VecDeque::new());
        let mut clusters =
            Self { config, pools: Vec::new(), sessions, drained, next_id: 0, now: Instant::ORIGIN };
        for pool in pools {
            let at = clusters.import(pool.name);
            clusters.pools[at].timeout = pool.timeout;
            clusters.pools[at].balancing = pool.balancing;
            for export in pool.exports {
                clusters.add_export(at, export, false);
            }
        }
        Ok(clusters)
    }

    /// Changes the configuration while requests are in flight. Sessions, requests in flight and the
    /// health of exports that stay are kept. Exports that are missing are withdrawn, and new ones
    /// get a growing share of the requests. Computes in **O(pools × exports × names)**.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when there would be too many pools or exports with those that
    /// still have requests in flight. Nothing is changed then.
    pub fn set_config(
        &mut self,
        now: Instant,
        mut config: ClustersConfig,
    ) -> Result<(), InvalidField> {
        check::check(&config)?;
        self.check_room(&config.pools)?;
        let now = self.at(now);
        let pools = core::mem::take(&mut config.pools);
        self.config = config;
        for pool in &mut self.pools {
            let wanted = pools.iter().find(|wanted| wanted.name == pool.name);
            pool.is_imported = wanted.is_some();
            for state in &mut pool.exports {
                let names = |wanted: &Export| wanted.cluster == state.export.cluster;
                state.withdrawn |= !wanted.is_some_and(|pool| pool.exports.iter().any(names));
            }
        }
        for pool in pools {
            let known = self.pools.iter().position(|known| known.name == pool.name);
            let at = known.unwrap_or_else(|| self.import(pool.name));
            self.pools[at].timeout = pool.timeout;
            self.pools[at].balancing = pool.balancing;
            for export in pool.exports {
                self.set_export(now, at, export);
            }
        }
        self.remove_all_drained();
        Ok(())
    }

    /// Records a cluster's report. Computes in **O(exports + metrics)**.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool.
    pub fn report(
        &mut self,
        now: Instant,
        pool: &str,
        cluster: &str,
        report: &Report,
    ) -> Result<(), ExportError> {
        let now = self.at(now);
        let (pool, export) = self.find(pool, cluster)?;
        let exports = &mut self.pools[pool].exports;
        let is_healthy = |it: &ExportState| it.health(now, &self.config) == Health::Healthy;
        let alone = !exports.iter().enumerate().any(|(at, it)| at != export && is_healthy(it));
        exports[export].handle_report(now, report, &self.config, alone);
        Ok(())
    }

    /// Chooses a cluster, and books the request on it until [`complete`](Self::complete),
    /// [`fail`](Self::fail) or [`cancel`](Self::cancel). Computes in **O(exports × log exports)**,
    /// and as much again for each metric in dry run.
    ///
    /// # Errors
    ///
    /// When the pool is unknown, or none of its clusters may get the request.
    pub fn choose(&mut self, now: Instant, inquiry: &Inquiry<'_>) -> Result<Choice, NoCluster> {
        let now = self.at(now);
        let at = self.imported(inquiry.pool).map_err(NoCluster::UnknownPool)?;
        let dry_run = self.dry_run(now, at, inquiry);
        let mut candidates = self.candidates(now, at, inquiry, Steering::Configured);
        let exports = &mut self.pools[at].exports;
        let admit = |it: &Candidate| exports[it.at].ramp.admit(it.share);
        let (chosen, reason) = choice::choose(&mut candidates, &self.config, admit)
            .ok_or_else(|| NoCluster::Unavailable { pool: inquiry.pool.to_owned() })?;
        let chosen = candidates.swap_remove(chosen);
        let export = &mut exports[chosen.at];
        export.in_flight += 1;
        export.add_to_wait(now, inquiry.prompt_tokens - chosen.cached_tokens);
        if let Some(session) = inquiry.session {
            let place = (export.id, inquiry.prompt_tokens, now);
            let key = sessions::key(inquiry.pool, session);
            self.sessions.record(key, place, self.config.max_sessions);
        }
        Ok(chosen.chosen(reason, dry_run))
    }

    /// Books a request on a cluster that the host selected itself.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool.
    pub fn begin(&mut self, now: Instant, pool: &str, cluster: &str) -> Result<(), ExportError> {
        self.at(now);
        let (pool, export) = self.find(pool, cluster)?;
        self.pools[pool].exports[export].in_flight += 1;
        Ok(())
    }

    /// A request ended well, after `duration` if the host measured it.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool, or it has no request in flight.
    pub fn complete(
        &mut self,
        now: Instant,
        pool: &str,
        cluster: &str,
        duration: Option<Duration>,
    ) -> Result<(), ExportError> {
        self.end(now, pool, cluster, |export, _, _| export.handle_success())?;
        if let (Some(duration), Ok(at)) = (duration, self.pool(pool)) {
            self.pools[at].durations.observe(duration);
        }
        Ok(())
    }

    /// A request ended because of the cluster: it was unreachable, or answered with an error.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool, or it has no request in flight.
    pub fn fail(&mut self, now: Instant, pool: &str, cluster: &str) -> Result<(), ExportError> {
        self.end(now, pool, cluster, ExportState::handle_failure)
    }

    /// A request ended because of its client.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool, or it has no request in flight.
    pub fn cancel(&mut self, now: Instant, pool: &str, cluster: &str) -> Result<(), ExportError> {
        self.end(now, pool, cluster, |_, _, _| {})
    }

    /// Adds an export, changes one, or takes a withdrawal back. An unknown pool is imported. An
    /// export that is new or returns gets a growing share of the requests.
    ///
    /// # Errors
    ///
    /// When a field is invalid, or there are too many pools or exports. Nothing is changed then.
    pub fn export(&mut self, now: Instant, pool: &str, export: Export) -> Result<(), InvalidField> {
        let now = self.at(now);
        check::check_export(&export).map_err(|error| error.within("export"))?;
        let at = self.pools.iter().position(|known| known.name == pool);
        let exports = at.map_or(&[][..], |at| &self.pools[at].exports);
        let is_new = !exports.iter().any(|known| known.export.cluster == export.cluster);
        if is_new && exports.len() >= check::MAX_EXPORTS {
            return Err(check::too_many("exports", check::MAX_EXPORTS));
        }
        if at.is_none() && self.pools.len() >= check::MAX_POOLS {
            return Err(check::too_many("pools", check::MAX_POOLS));
        }
        if pool.is_empty() {
            return Err(InvalidField::new("pool", "must not be empty"));
        }
        let at = at.unwrap_or_else(|| self.import(pool.to_owned()));
        self.pools[at].is_imported = true;
        self.set_export(now, at, export);
        Ok(())
    }

    /// Withdraws an export: it gets nothing new, and [`poll_drained`](Self::poll_drained) returns
    /// it when its last request has ended. Withdrawing it again changes nothing.
    ///
    /// # Errors
    ///
    /// When no such cluster exports the pool.
    pub fn withdraw(&mut self, now: Instant, pool: &str, cluster: &str) -> Result<(), ExportError> {
        self.at(now);
        let (pool, export) = self.find(pool, cluster)?;
        self.pools[pool].exports[export].withdrawn = true;
        self.remove_drained(pool, export);
        Ok(())
    }

    /// The next withdrawn export whose last request has ended.
    pub fn poll_drained(&mut self) -> Option<Drained> {
        self.drained.pop_front()
    }

    /// What [`choose`](Self::choose) would return and why, without an effect.
    ///
    /// # Errors
    ///
    /// When the pool is unknown.
    pub fn explain(&self, now: Instant, inquiry: &Inquiry<'_>) -> Result<Explanation, NoCluster> {
        let now = now.max(self.now);
        let at = self.imported(inquiry.pool).map_err(NoCluster::UnknownPool)?;
        let mut candidates = self.candidates(now, at, inquiry, Steering::Configured);
        let chosen = self.peek(at, &mut candidates);
        let choice = chosen.map(|(chosen, reason)| {
            candidates[chosen].clone().chosen(reason, self.dry_run(now, at, inquiry))
        });
        Ok(Explanation { choice, candidates })
    }

    /// Whether the time-out of a pool is at least twice the 99th percentile of its requests'
    /// durations. `None` if the pool is unknown, or fewer than 100 durations were observed.
    pub fn timeout_hint(&self, pool: &str) -> Option<TimeoutHint> {
        let pool = &self.pools[self.pool(pool).ok()?];
        let p99 = Seconds::from(pool.durations.p99()?);
        let least = p99 * 2.0;
        let is_too_short = pool.timeout.is_some_and(|timeout| timeout < least);
        Some(TimeoutHint { timeout: pool.timeout, p99, least, is_too_short })
    }

    /// When an export's health or ramp changes next without an input.
    pub fn next_timeout(&self) -> Option<Instant> {
        let exports = self.pools.iter().flat_map(|pool| &pool.exports);
        exports.filter_map(|export| export.next_timeout(self.now, &self.config)).min()
    }

    fn at(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn end(
        &mut self,
        now: Instant,
        pool: &str,
        cluster: &str,
        outcome: impl FnOnce(&mut ExportState, Instant, &ClustersConfig),
    ) -> Result<(), ExportError> {
        let now = self.at(now);
        let (at, export) = self.find(pool, cluster)?;
        let state = &mut self.pools[at].exports[export];
        let left = state.in_flight.checked_sub(1);
        state.in_flight = left.ok_or_else(|| ExportError::NotInFlight {
            pool: pool.to_owned(),
            cluster: cluster.to_owned(),
        })?;
        outcome(state, now, &self.config);
        self.remove_drained(at, export);
        Ok(())
    }

    /// Removes the export if it is withdrawn and has nothing in flight, and its pool with the last
    /// one.
    fn remove_drained(&mut self, pool: usize, export: usize) {
        self.drain(pool, export);
        self.remove_unused(pool);
    }

    fn drain(&mut self, pool: usize, export: usize) {
        let Pool { name, exports, .. } = &mut self.pools[pool];
        if !exports[export].withdrawn || exports[export].in_flight > 0 {
            return;
        }
        let removed = exports.remove(export);
        let drained = Drained { pool: name.clone(), cluster: removed.export.cluster };
        self.drained.push_back(drained);
        // A host that never asks does not make the list grow.
        if self.drained.len() > check::MAX_POOLS {
            self.drained.pop_front();
        }
    }

    fn remove_all_drained(&mut self) {
        for pool in (0..self.pools.len()).rev() {
            for export in (0..self.pools[pool].exports.len()).rev() {
                self.drain(pool, export);
            }
            self.remove_unused(pool);
        }
    }

    fn remove_unused(&mut self, pool: usize) {
        let Pool { exports, is_imported, .. } = &self.pools[pool];
        if exports.is_empty() && !is_imported {
            self.pools.remove(pool);
        }
    }

    fn import(&mut self, name: String) -> usize {
        self.pools.push(Pool {
            name,
            timeout: None,
            balancing: Balancing::default(),
            exports: Vec::new(),
            durations: Durations::default(),
            is_imported: true,
        });
        self.pools.len() - 1
    }

    /// Adds an export, changes one, or takes a withdrawal back.
    fn set_export(&mut self, now: Instant, pool: usize, export: Export) {
        let Pool { balancing, exports, .. } = &mut self.pools[pool];
        let mut known = exports.iter_mut();
        match known.find(|known| known.export.cluster == export.cluster) {
            Some(known) => known.renew(now, export.resolved(&self.config.members, balancing)),
            None => self.add_export(pool, export, true),
        }
    }

    fn add_export(&mut self, pool: usize, export: Export, ramps: bool) {
        self.next_id += 1;
        let Pool { balancing, exports, .. } = &mut self.pools[pool];
        let export = export.resolved(&self.config.members, balancing);
        exports.push(ExportState::new(self.next_id, export, ramps));
    }

    /// Whether new pools and exports fit beside those that are known: these may have to drain.
    fn check_room(&self, pools: &[ImportedPool]) -> Result<(), InvalidField> {
        let known = |name: &str| self.pools.iter().find(|known| known.name == name);
        let new = pools.iter().filter(|pool| known(&pool.name).is_none()).count();
        if self.pools.len() + new > check::MAX_POOLS {
            return Err(check::too_many("pools", check::MAX_POOLS));
        }
        for (at, pool) in pools.iter().enumerate() {
            let states = known(&pool.name).map_or(&[][..], |known| &known.exports);
            let is_new = |it: &&Export| !states.iter().any(|of| of.export.cluster == it.cluster);
            let new = pool.exports.iter().filter(is_new).count();
            if states.len() + new > check::MAX_EXPORTS {
                let error = check::too_many("exports", check::MAX_EXPORTS);
                return Err(error.within(&alloc::format!("pools[{at}]")));
            }
        }
        Ok(())
    }

    /// The pool of this name that gets requests.
    fn imported(&self, name: &str) -> Result<usize, UnknownName> {
        let at = self.pool(name)?;
        if self.pools[at].is_imported {
            return Ok(at);
        }
        let imported = self.pools.iter().filter(|pool| pool.is_imported);
        Err(UnknownName::new(name, imported.map(|pool| &*pool.name)))
    }

    fn pool(&self, name: &str) -> Result<usize, UnknownName> {
        let names = self.pools.iter().map(|pool| &*pool.name);
        let found = names.clone().position(|known| known == name);
        found.ok_or_else(|| UnknownName::new(name, names))
    }

    fn find(&self, pool: &str, cluster: &str) -> Result<(usize, usize), ExportError> {
        let pool = self.pool(pool).map_err(ExportError::UnknownPool)?;
        let names = self.pools[pool].exports.iter().map(|state| &*state.export.cluster);
        let found = names.clone().position(|known| known == cluster);
        let unknown = || ExportError::UnknownCluster(UnknownName::new(cluster, names));
        Ok((pool, found.ok_or_else(unknown)?))
    }
}
