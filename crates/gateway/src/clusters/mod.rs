//! Which cluster serves a request to a pool that several clusters export.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Clusters`]: from an [`Inquiry`] to a [`Choice`], and what changes the answer |
//! | `config` | what a host configures: pools, exports, balancing |
//! | `check` | the checks of a configuration |
//! | `error` | why no cluster is chosen, and why a call is invalid |
//! | `answer` | what a host asks, and what it gets |
//! | `candidates` | the candidates of a request, from the state of the exports |
//! | `choice` | which of the candidates serves a request, and why |
//! | `export` | one export: its health, and how it comes back or leaves |
//! | `report` | what a cluster reports, and the load that it means now |
//! | `ramp` | the share of an export that comes back |
//! | `sessions` | the last cluster of each session |
//! | `durations` | the 99th percentile of requests' durations |
//!
//! One gateway holds the routing: it chooses a cluster, books the request on it, and forwards the
//! request to that cluster's gateway. Each cluster's own scheduler chooses the endpoint.

mod answer;
mod candidates;
mod check;
mod choice;
mod config;
mod durations;
mod error;
mod export;
mod ramp;
mod report;
mod sessions;

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Instant, Seconds};

pub use answer::{Choice, Drained, DryRun, Explanation, Inquiry, TimeoutHint};
pub use choice::{Candidate, Reason, Standing};
pub use config::{Balance, BalanceMetric, ClustersConfig, Export, ImportedPool};
pub use error::{ExportError, NoCluster};
pub use report::Report;

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
/// use slotwise_gateway::clusters::{Balance, Clusters, ClustersConfig, Inquiry, Reason, Report};
///
/// let now = Instant::ORIGIN;
/// let mut config = ClustersConfig::default();
/// let pool = config.pool("llama");
/// pool.export("near", Seconds::new(0.001)).export("far", Seconds::new(0.040));
/// pool.exports.iter_mut().for_each(|export| export.balance = Balance::in_flight(1));
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
    exports: Vec<ExportState>,
    durations: Durations,
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
        for ImportedPool { name, timeout, exports } in pools {
            let exports = exports.into_iter().map(|it| clusters.new_export(it, false)).collect();
            let durations = Durations::default();
            clusters.pools.push(Pool { name, timeout, exports, durations });
        }
        Ok(clusters)
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
        let at = self.pool(inquiry.pool).map_err(NoCluster::UnknownPool)?;
        let dry_run = self.dry_run(now, at, inquiry);
        let mut candidates = self.candidates(now, at, inquiry, Steering::Configured);
        let exports = &mut self.pools[at].exports;
        let admit = |it: &Candidate| exports[it.at].ramp.admit(it.share);
        let (chosen, reason) = choice::choose(&mut candidates, self.config.prefix_headroom, admit)
            .ok_or_else(|| NoCluster::Unavailable { pool: inquiry.pool.to_owned() })?;
        let chosen = candidates.swap_remove(chosen);
        let export = &mut exports[chosen.at];
        export.in_flight += 1;
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
        let at = match self.pools.iter().position(|known| known.name == pool) {
            Some(at) => at,
            None => self.import(pool)?,
        };
        let mut exports = self.pools[at].exports.iter_mut();
        if let Some(known) = exports.find(|known| known.export.cluster == export.cluster) {
            known.renew(now, export);
            return Ok(());
        }
        if self.pools[at].exports.len() >= check::MAX_EXPORTS {
            let expected = alloc::format!("must be at most {}", check::MAX_EXPORTS);
            return Err(InvalidField::new("exports", expected));
        }
        let export = self.new_export(export, true);
        self.pools[at].exports.push(export);
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
        let at = self.pool(inquiry.pool).map_err(NoCluster::UnknownPool)?;
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

    /// Removes the export if it is withdrawn and has nothing in flight.
    fn remove_drained(&mut self, pool: usize, export: usize) {
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

    fn import(&mut self, name: &str) -> Result<usize, InvalidField> {
        if name.is_empty() || self.pools.len() >= check::MAX_POOLS {
            let expected = alloc::format!("must have a name, and be at most {}", check::MAX_POOLS);
            return Err(InvalidField::new("pools", expected));
        }
        let (name, exports, durations) = (name.to_owned(), Vec::new(), Durations::default());
        self.pools.push(Pool { name, timeout: None, exports, durations });
        Ok(self.pools.len() - 1)
    }

    fn new_export(&mut self, export: Export, ramps: bool) -> ExportState {
        self.next_id += 1;
        ExportState::new(self.next_id, export, ramps)
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
