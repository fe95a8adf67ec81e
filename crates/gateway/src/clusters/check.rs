//! The checks of a configuration. Each error has the path of its field.

use alloc::collections::BTreeSet;
use alloc::format;

use slotwise::Seconds;

use super::balancing::{Balancing, BalancingMetric};
use super::config::{Cluster, ClustersConfig, Export, ImportedPool};
use super::scorers::ClusterScorers;
use crate::InvalidField;
use crate::names::UnknownName;

type Checked = Result<(), InvalidField>;

/// The most pools.
pub(super) const MAX_POOLS: usize = 1_024;
/// The most exports of a pool.
pub(super) const MAX_EXPORTS: usize = 256;
/// The most clusters that are members.
const MAX_MEMBERS: usize = 1_024;
/// The most metrics of an export, and the most names of one.
const MAX_METRICS: usize = 16;
/// The most endpoints that an export lists.
const MAX_ENDPOINTS: usize = 65_536;

/// The first invalid field of the configuration.
pub(crate) fn check(config: &ClustersConfig) -> Checked {
    check_settings(config)?;
    if config.pools.len() > MAX_POOLS {
        return Err(too_many("pools", MAX_POOLS));
    }
    let mut names = BTreeSet::new();
    for (at, pool) in config.pools.iter().enumerate() {
        let outer = format!("pools[{at}]");
        check_pool(pool, &config.members).map_err(|error| error.within(&outer))?;
        unique(&mut names, "name", &pool.name).map_err(|error| error.within(&outer))?;
    }
    Ok(())
}

/// The first invalid field outside the pools.
pub(crate) fn check_settings(config: &ClustersConfig) -> Checked {
    check_times(config)?;
    let headroom = config.prefix_headroom;
    if !(headroom.is_finite() && headroom >= 1.0) {
        return Err(InvalidField::new("prefix_headroom", "must be at least 1"));
    }
    if config.failures == 0 {
        return Err(InvalidField::new("failures", "must be at least 1"));
    }
    if let Some(field) = config.scorers.as_ref().and_then(ClusterScorers::invalid) {
        let error = InvalidField::new(field, "must be finite and at least 0");
        return Err(error.within("scorers"));
    }
    if config.members.len() > MAX_MEMBERS {
        return Err(too_many("members", MAX_MEMBERS));
    }
    let mut names = BTreeSet::new();
    for (at, Cluster { name, network_time, .. }) in config.members.iter().enumerate() {
        let outer = format!("members[{at}]");
        let checked = check_time("network_time", *network_time);
        checked.map_err(|error| error.within(&outer))?;
        unique(&mut names, "name", name).map_err(|error| error.within(&outer))?;
    }
    let routing = config.routing.as_deref();
    routing.map_or(Ok(()), |name| check_member("routing", name, &config.members))
}

fn check_times(config: &ClustersConfig) -> Checked {
    let positive = [("silent_after", config.silent_after), ("backoff", config.backoff)];
    for (field, time) in positive {
        check_time(field, time)?;
        if time == Seconds::ZERO {
            return Err(InvalidField::new(field, "must be above 0 seconds"));
        }
    }
    check_time("ramp", config.ramp)?;
    check_time("max_wait", config.max_wait)?;
    check_time("prefix_lifetime", config.prefix_lifetime)
}

/// The first invalid field of a pool.
pub(crate) fn check_pool(pool: &ImportedPool, members: &[Cluster]) -> Checked {
    pool.timeout.map_or(Ok(()), |timeout| check_time("timeout", timeout))?;
    check_balancing(&pool.balancing)?;
    if pool.exports.len() > MAX_EXPORTS {
        return Err(too_many("exports", MAX_EXPORTS));
    }
    let mut clusters = BTreeSet::new();
    for (at, export) in pool.exports.iter().enumerate() {
        let outer = format!("exports[{at}]");
        check_export(export).map_err(|error| error.within(&outer))?;
        if !members.is_empty() {
            let member = check_member("cluster", &export.cluster, members);
            member.map_err(|error| error.within(&outer))?;
        }
        let cluster = unique(&mut clusters, "cluster", &export.cluster);
        cluster.map_err(|error| error.within(&outer))?;
    }
    Ok(())
}

pub(super) fn check_export(export: &Export) -> Checked {
    if export.cluster.is_empty() {
        return Err(InvalidField::new("cluster", "must not be empty"));
    }
    export.network_time.map_or(Ok(()), |time| check_time("network_time", time))?;
    if !(export.prefill_rate.is_finite() && export.prefill_rate > 0.0) {
        return Err(InvalidField::new("prefill_rate", "must be a number above 0"));
    }
    if export.endpoints.len() > MAX_ENDPOINTS {
        return Err(too_many("endpoints", MAX_ENDPOINTS));
    }
    check_balancing(&export.balancing)
}

fn check_balancing(balancing: &Balancing) -> Checked {
    let invalid = |field: &str, expected: &str| Err(InvalidField::new(field, expected));
    let steers = balancing.metrics.iter().any(|metric| !metric.dry_run);
    match balancing.max_in_flight_per_endpoint {
        Some(_) if steers => return invalid("balancing", EXCLUSIVE),
        Some(0) => return invalid("balancing.max_in_flight_per_endpoint", "must be at least 1"),
        None if !steers && !balancing.metrics.is_empty() => {
            return invalid("balancing", NOTHING_STEERS);
        }
        _ => {}
    }
    if balancing.metrics.len() > MAX_METRICS {
        return Err(too_many("balancing.metrics", MAX_METRICS));
    }
    let mut names = BTreeSet::new();
    for (at, metric) in balancing.metrics.iter().enumerate() {
        let outer = format!("balancing.metrics[{at}]");
        check_metric(metric).map_err(|error| error.within(&outer))?;
        unique(&mut names, "name", &metric.name).map_err(|error| error.within(&outer))?;
    }
    Ok(())
}

/// Of balancing by metrics and by requests in flight, one must be chosen.
const EXCLUSIVE: &str = "must have `metrics` or `max_in_flight_per_endpoint`, which exclude each \
                         other; remove one, or set `dry_run` of the metrics";
const NOTHING_STEERS: &str =
    "must have a metric that is not in dry run, or `max_in_flight_per_endpoint`";

fn check_metric(metric: &BalancingMetric) -> Checked {
    if metric.name.is_empty() {
        return Err(InvalidField::new("name", "must not be empty"));
    }
    if metric.reported_as.len() > MAX_METRICS {
        return Err(too_many("reported_as", MAX_METRICS));
    }
    if !(metric.max_utilization > 0.0 && metric.max_utilization <= 1.0) {
        let expected = format!("must lie in (0, 1], got {}", metric.max_utilization);
        return Err(InvalidField::new("max_utilization", expected));
    }
    Ok(())
}

fn check_member(field: &str, name: &str, members: &[Cluster]) -> Checked {
    let names = members.iter().map(|member| &*member.name);
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    Err(InvalidField::new(field, format!("{}", UnknownName::new(name, names))))
}

/// Adds a name that must not be empty, nor known.
fn unique<'n>(known: &mut BTreeSet<&'n str>, field: &str, name: &'n str) -> Checked {
    if name.is_empty() {
        return Err(InvalidField::new(field, "must not be empty"));
    }
    if !known.insert(name) {
        return Err(InvalidField::new(field, format!("must be unique, got {name:?} twice")));
    }
    Ok(())
}

pub(super) fn too_many(field: &str, most: usize) -> InvalidField {
    InvalidField::new(field, format!("must be at most {most}"))
}

fn check_time(field: &str, time: Seconds) -> Checked {
    if (0.0..=LONGEST).contains(&time.get()) {
        return Ok(());
    }
    Err(InvalidField::new(field, format!("must lie between 0 and {LONGEST} seconds")))
}

/// A year in seconds.
const LONGEST: f64 = 31_536_000.0;
