//! The checks of a configuration. Each error has the path of its field.

use alloc::collections::BTreeSet;
use alloc::format;

use slotwise::Seconds;

use super::config::{Balance, BalanceMetric, ClustersConfig, Export, ImportedPool};
use crate::InvalidField;

type Checked = Result<(), InvalidField>;

/// The most pools.
pub(super) const MAX_POOLS: usize = 1_024;
/// The most exports of a pool.
pub(super) const MAX_EXPORTS: usize = 256;
/// The most metrics of an export.
const MAX_METRICS: usize = 16;

/// The first invalid field of the configuration.
pub(super) fn check(config: &ClustersConfig) -> Checked {
    check_times(config)?;
    let headroom = config.prefix_headroom;
    if !(headroom.is_finite() && headroom >= 1.0) {
        return Err(InvalidField::new("prefix_headroom", "must be at least 1"));
    }
    if config.failures == 0 {
        return Err(InvalidField::new("failures", "must be at least 1"));
    }
    if config.pools.len() > MAX_POOLS {
        return Err(InvalidField::new("pools", format!("must be at most {MAX_POOLS}")));
    }
    let mut names = BTreeSet::new();
    for (at, pool) in config.pools.iter().enumerate() {
        let outer = format!("pools[{at}]");
        check_pool(pool).map_err(|error| error.within(&outer))?;
        if !names.insert(&pool.name) {
            let expected = format!("must be unique, got {:?} twice", pool.name);
            return Err(InvalidField::new("name", expected).within(&outer));
        }
    }
    Ok(())
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
    check_time("prefix_lifetime", config.prefix_lifetime)
}

fn check_pool(pool: &ImportedPool) -> Checked {
    if pool.name.is_empty() {
        return Err(InvalidField::new("name", "must not be empty"));
    }
    pool.timeout.map_or(Ok(()), |timeout| check_time("timeout", timeout))?;
    if pool.exports.len() > MAX_EXPORTS {
        return Err(InvalidField::new("exports", format!("must be at most {MAX_EXPORTS}")));
    }
    let mut clusters = BTreeSet::new();
    for (at, export) in pool.exports.iter().enumerate() {
        let outer = format!("exports[{at}]");
        check_export(export).map_err(|error| error.within(&outer))?;
        if !clusters.insert(&export.cluster) {
            let expected = format!("must be unique, got {:?} twice", export.cluster);
            return Err(InvalidField::new("cluster", expected).within(&outer));
        }
    }
    Ok(())
}

pub(super) fn check_export(export: &Export) -> Checked {
    if export.cluster.is_empty() {
        return Err(InvalidField::new("cluster", "must not be empty"));
    }
    check_time("network_time", export.network_time)?;
    if !(export.prefill_rate.is_finite() && export.prefill_rate > 0.0) {
        return Err(InvalidField::new("prefill_rate", "must be a number above 0"));
    }
    check_balance(&export.balance)
}

fn check_balance(balance: &Balance) -> Checked {
    let mut steering = balance.metrics.iter().filter(|metric| !metric.dry_run);
    let steers = steering.next().is_some();
    match balance.max_in_flight_per_endpoint {
        Some(_) if steers => {
            let expected = "must have either `max_in_flight_per_endpoint` or metrics that are not \
                            in dry run, not both";
            return Err(InvalidField::new("balance", expected));
        }
        Some(0) => {
            let field = "balance.max_in_flight_per_endpoint";
            return Err(InvalidField::new(field, "must be at least 1"));
        }
        None if !steers && !balance.metrics.is_empty() => {
            let expected = "must have a metric that is not in dry run, or \
                            `max_in_flight_per_endpoint`";
            return Err(InvalidField::new("balance", expected));
        }
        _ => {}
    }
    if balance.metrics.len() > MAX_METRICS {
        let expected = format!("must be at most {MAX_METRICS}");
        return Err(InvalidField::new("balance.metrics", expected));
    }
    let mut names = BTreeSet::new();
    for (at, metric) in balance.metrics.iter().enumerate() {
        let outer = format!("balance.metrics[{at}]");
        check_metric(metric).map_err(|error| error.within(&outer))?;
        if !names.insert(&metric.name) {
            let expected = format!("must be unique, got {:?} twice", metric.name);
            return Err(InvalidField::new("name", expected).within(&outer));
        }
    }
    Ok(())
}

fn check_metric(metric: &BalanceMetric) -> Checked {
    if metric.name.is_empty() {
        return Err(InvalidField::new("name", "must not be empty"));
    }
    if metric.reported_as.is_empty() || metric.reported_as.len() > MAX_METRICS {
        let expected = format!("must have between 1 and {MAX_METRICS} names");
        return Err(InvalidField::new("reported_as", expected));
    }
    if !(metric.max_utilization > 0.0 && metric.max_utilization <= 1.0) {
        let expected = format!("must lie in (0, 1], got {}", metric.max_utilization);
        return Err(InvalidField::new("max_utilization", expected));
    }
    Ok(())
}

fn check_time(field: &str, time: Seconds) -> Checked {
    if (0.0..=LONGEST).contains(&time.get()) {
        return Ok(());
    }
    Err(InvalidField::new(field, format!("must lie between 0 and {LONGEST} seconds")))
}

/// A year in seconds.
const LONGEST: f64 = 31_536_000.0;
