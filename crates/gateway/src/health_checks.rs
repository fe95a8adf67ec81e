//! Active health checks: which endpoint the host probes next, and what its results mean.
//!
//! The host has the timers and the sockets, as everywhere. A [`HealthChecks`] returns probes that
//! are due, takes their results, and returns what to report by
//! [`Scheduler::handle_probe`](slotwise::Scheduler::handle_probe). Thresholds keep a single lost
//! packet from taking an endpoint out. Failed requests reset the count of passed probes, so an
//! endpoint that fails requests returns only after as many new probes as the threshold asks for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::num::NonZeroU32;
use core::time::Duration;

use slotwise::{EndpointId, Instant, Rng};

use crate::InvalidField;

/// How endpoints are probed. The defaults are those of Google Cloud's health checks, with the path
/// of vLLM.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// The path of the `GET` request. A 200 passes.
    pub path: String,
    /// The port, if it is not that of the endpoint.
    pub port: Option<u16>,
    /// Time between two probes of an endpoint.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub interval: Duration,
    /// Time after which a probe without a result has failed; at most the interval.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub timeout: Duration,
    /// Passed probes in a row that make an endpoint healthy.
    pub healthy_threshold: NonZeroU32,
    /// Failed probes in a row that make it unhealthy.
    pub unhealthy_threshold: NonZeroU32,
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        let two = NonZeroU32::MIN.saturating_add(1);
        Self {
            path: "/health".into(),
            port: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            healthy_threshold: two,
            unhealthy_threshold: two,
        }
    }
}

impl HealthCheckConfig {
    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// The first invalid field, and the values that it accepts.
    pub fn check(&self) -> Result<(), InvalidField> {
        let invalid = |field: &str, expected: &str| Err(InvalidField::new(field, expected));
        if !self.path.starts_with('/') {
            return invalid("path", "must begin with a slash");
        }
        if self.port == Some(0) {
            return invalid("port", "must not be 0");
        }
        if self.interval < SHORTEST {
            return invalid("interval", "must be at least 0.001 s");
        }
        if self.timeout.is_zero() || self.timeout > self.interval {
            return invalid("timeout", "must lie between 0 and the interval");
        }
        Ok(())
    }
}

/// The shortest interval, so that a poll returns.
const SHORTEST: Duration = Duration::from_millis(1);

/// What the host does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HealthCheckStep {
    /// Send a probe, and report its end by [`HealthChecks::handle_result`].
    Probe {
        /// The endpoint.
        endpoint_id: EndpointId,
        /// The number of the probe.
        probe: u64,
        /// When it has failed without a result.
        deadline: Instant,
    },
    /// Call [`Scheduler::handle_probe`](slotwise::Scheduler::handle_probe).
    Report {
        /// The endpoint.
        endpoint_id: EndpointId,
        /// Whether it is healthy.
        passed: bool,
    },
}

/// The probes of a pool's endpoints. At most one probe of an endpoint is open.
///
/// ```
/// use slotwise::{EndpointId, Instant};
/// use slotwise_gateway::health_checks::{HealthCheckConfig, HealthCheckStep, HealthChecks};
///
/// let mut checks = HealthChecks::new(HealthCheckConfig::default(), 7)?;
/// let endpoint = EndpointId::from_u64(0);
/// checks.watch(Instant::ORIGIN, endpoint);
/// for failed in 1..=2 {
///     let now = checks.next_timeout().expect("a probe is due");
///     let Some(HealthCheckStep::Probe { probe, .. }) = checks.poll(now) else { panic!() };
///     checks.handle_result(endpoint, probe, false);
///     let report = HealthCheckStep::Report { endpoint_id: endpoint, passed: false };
///     assert_eq!(checks.poll(now), (failed == 2).then_some(report));
/// }
/// # Ok::<(), slotwise_gateway::InvalidField>(())
/// ```
#[derive(Debug)]
pub struct HealthChecks {
    config: HealthCheckConfig,
    rng: Rng,
    endpoints: BTreeMap<EndpointId, Check>,
    /// When something is due for an endpoint: the deadline of its open probe, or its next probe.
    due: BTreeSet<(Instant, EndpointId)>,
    /// Endpoints whose results the host has to report.
    reports: BTreeMap<EndpointId, bool>,
    probes: u64,
}

/// The state of one endpoint.
#[derive(Debug)]
struct Check {
    /// The number of the open probe.
    open: Option<u64>,
    next_probe: Instant,
    due: Instant,
    /// Equal results in a row.
    passed: u32,
    failed: u32,
}

impl HealthChecks {
    /// Checks without endpoints. The seed spreads the first probes over an interval.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn new(config: HealthCheckConfig, seed: u64) -> Result<Self, InvalidField> {
        config.check()?;
        Ok(Self {
            config,
            rng: Rng::new(seed),
            endpoints: BTreeMap::new(),
            due: BTreeSet::new(),
            reports: BTreeMap::new(),
            probes: 0,
        })
    }

    /// The configuration: the path and the port of probes.
    pub const fn config(&self) -> &HealthCheckConfig {
        &self.config
    }

    /// Probes the endpoint from now on; the first time at a random point of the next interval. It
    /// counts as healthy until probes fail. A watched endpoint keeps its state. Computes in **O(log
    /// endpoints)**.
    pub fn watch(&mut self, now: Instant, endpoint: EndpointId) {
        if self.endpoints.contains_key(&endpoint) {
            return;
        }
        let micros = u64::try_from(self.config.interval.as_micros()).unwrap_or(u64::MAX);
        let first = now + Duration::from_micros(self.rng.below(micros));
        let check = Check { open: None, next_probe: first, due: first, passed: 0, failed: 0 };
        self.endpoints.insert(endpoint, check);
        self.due.insert((first, endpoint));
    }

    /// Ends the probes of an endpoint that has left. Computes in **O(log endpoints)**.
    pub fn unwatch(&mut self, endpoint: EndpointId) {
        if let Some(check) = self.endpoints.remove(&endpoint) {
            self.due.remove(&(check.due, endpoint));
            self.reports.remove(&endpoint);
        }
    }

    /// When [`poll`](Self::poll) has something to return by the clock alone.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What to do next; poll until there is nothing, after each input and each
    /// [`next_timeout`](Self::next_timeout). Computes in **O(log endpoints)**.
    pub fn poll(&mut self, now: Instant) -> Option<HealthCheckStep> {
        loop {
            if let Some((endpoint_id, passed)) = self.reports.pop_first() {
                return Some(HealthCheckStep::Report { endpoint_id, passed });
            }
            let (at, endpoint_id) = *self.due.first().filter(|(at, _)| *at <= now)?;
            self.due.remove(&(at, endpoint_id));
            let Some(check) = self.endpoints.get_mut(&endpoint_id) else { continue };
            if check.open.take().is_some() {
                (check.due, check.passed) = (check.next_probe, 0);
                check.failed = check.failed.saturating_add(1);
                self.due.insert((check.due, endpoint_id));
                self.conclude(endpoint_id);
                continue;
            }
            self.probes += 1;
            let deadline = now + self.config.timeout;
            check.open = Some(self.probes);
            (check.next_probe, check.due) = (now + self.config.interval, deadline);
            self.due.insert((deadline, endpoint_id));
            return Some(HealthCheckStep::Probe { endpoint_id, probe: self.probes, deadline });
        }
    }

    /// Takes the result of a probe. A result after the deadline, or of a probe that is not open,
    /// has no effect.
    pub fn handle_result(&mut self, endpoint: EndpointId, probe: u64, passed: bool) {
        let open = self.endpoints.get_mut(&endpoint).filter(|check| check.open == Some(probe));
        let Some(check) = open else { return };
        check.open = None;
        self.due.remove(&(check.due, endpoint));
        check.due = check.next_probe;
        self.due.insert((check.due, endpoint));
        (check.passed, check.failed) = match passed {
            true => (check.passed.saturating_add(1), 0),
            false => (0, check.failed.saturating_add(1)),
        };
        self.conclude(endpoint);
    }

    /// A request failed on the endpoint: the passed probes before it are no evidence any more.
    pub fn handle_failure(&mut self, endpoint: EndpointId) {
        if let Some(check) = self.endpoints.get_mut(&endpoint) {
            check.passed = 0;
            if self.reports.get(&endpoint) == Some(&true) {
                self.reports.remove(&endpoint);
            }
        }
    }

    /// Reports the endpoint if its last results reach a threshold.
    fn conclude(&mut self, endpoint: EndpointId) {
        let Some(check) = self.endpoints.get(&endpoint) else { return };
        if check.failed >= self.config.unhealthy_threshold.get() {
            self.reports.insert(endpoint, false);
        } else if check.passed >= self.config.healthy_threshold.get() {
            self.reports.insert(endpoint, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(config: HealthCheckConfig) -> (HealthChecks, EndpointId) {
        let (mut checks, endpoint) =
            (HealthChecks::new(config, 7).expect("valid"), EndpointId::from_u64(3));
        checks.watch(Instant::ORIGIN, endpoint);
        (checks, endpoint)
    }

    /// The next probe, answered at once; and what is reported.
    fn probe(checks: &mut HealthChecks, passed: bool) -> Option<bool> {
        let now = checks.next_timeout().expect("watched");
        let Some(HealthCheckStep::Probe { endpoint_id, probe, .. }) = checks.poll(now) else {
            panic!("a probe was due");
        };
        checks.handle_result(endpoint_id, probe, passed);
        match checks.poll(now)? {
            HealthCheckStep::Report { passed, .. } => Some(passed),
            step => panic!("{step:?} is too early"),
        }
    }

    #[test]
    fn thresholds_count_results_in_a_row() {
        let (mut checks, endpoint) = checks(HealthCheckConfig::default());
        let reports =
            [false, true, false, false, false, true, true].map(|it| probe(&mut checks, it));
        assert_eq!(reports, [None, None, None, Some(false), Some(false), None, Some(true)]);
        checks.handle_failure(endpoint);
        assert_eq!([true, true].map(|it| probe(&mut checks, it)), [None, Some(true)]);
    }

    #[test]
    fn a_probe_without_a_result_has_failed_and_its_result_comes_too_late() {
        let config = HealthCheckConfig {
            unhealthy_threshold: NonZeroU32::MIN,
            timeout: Duration::from_secs(1),
            ..HealthCheckConfig::default()
        };
        let (mut checks, endpoint) = checks(config);
        let now = checks.next_timeout().expect("watched");
        let step = checks.poll(now);
        let Some(HealthCheckStep::Probe { probe, deadline, .. }) = step else { panic!("{step:?}") };
        assert_eq!((checks.poll(now), checks.next_timeout()), (None, Some(deadline)));
        let failed = HealthCheckStep::Report { endpoint_id: endpoint, passed: false };
        assert_eq!(checks.poll(deadline), Some(failed));
        checks.handle_result(endpoint, probe, true);
        assert_eq!(checks.poll(deadline), None);
        assert_eq!(checks.next_timeout(), Some(now + Duration::from_secs(5)));
        checks.unwatch(endpoint);
        assert_eq!(checks.next_timeout(), None);
    }
}

/// The examples of the manual's page are tested, too.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/health.md")]
struct HealthPage;
