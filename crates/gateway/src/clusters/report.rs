//! What a cluster reports about an export, and the load that it means now.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::{Instant, Seconds};

use super::balancing::{Balancing, BalancingMetric, KV_CACHE};
use super::config::Export;

/// A report about the endpoints of an export.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it by functional update")]
pub struct Report {
    /// Whether the cluster's health checks pass.
    pub healthy: bool,
    /// The number of endpoints that accept requests. Without it, all that the export lists count,
    /// or 1 if it lists none.
    pub ready_endpoints: Option<u32>,
    /// Requests in flight from all routers; without it, those of this one count.
    pub in_flight: Option<u32>,
    /// Mean utilisation of the ready endpoints by the metric's name, as a share. Metrics that no
    /// balancing names are dropped.
    pub utilization: BTreeMap<String, f64>,
    /// Requests that wait at an endpoint, on average; for scorers.
    pub queue: Option<f64>,
    /// The predicted wait of a new request in the cluster's queues, such as the mean of its
    /// endpoints' queued prefill.
    pub wait: Seconds,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            healthy: true,
            ready_endpoints: None,
            in_flight: None,
            utilization: BTreeMap::new(),
            queue: None,
            wait: Seconds::ZERO,
        }
    }
}

/// Which metrics are the load.
#[derive(Clone, Copy, Debug)]
pub(super) enum Steering<'a> {
    /// Those that the balancing configures.
    Configured,
    /// The one of this name, although it is in dry run. An export without it keeps its own.
    DryRun(&'a str),
}

/// The last report, reduced to what balances.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) at: Instant,
    pub(super) ready: bool,
    /// What scorers read.
    pub(super) queue: Option<f64>,
    pub(super) kv_cache: Option<f64>,
    pub(super) ready_endpoints: u32,
    in_flight: u64,
    /// This router's requests in flight when the report came.
    own_in_flight: u64,
    /// In the order of the balancing's metrics.
    utilization: Vec<Option<f64>>,
    /// What one request adds to each.
    per_request: Vec<f64>,
}

impl Measured {
    /// Reduces a report. A request's part of the utilisation is the mean over those in flight, and
    /// without any that of the report before.
    pub(super) fn new(
        at: Instant,
        report: &Report,
        export: &Export,
        own_in_flight: u64,
        before: Option<&Self>,
    ) -> Self {
        let listed = u32::try_from(export.endpoints.len().max(1)).unwrap_or(u32::MAX);
        let ready_endpoints = report.ready_endpoints.unwrap_or(listed);
        let in_flight = report.in_flight.map_or(own_in_flight, u64::from);
        let metrics = &export.balancing.metrics;
        let utilization: Vec<_> = metrics.iter().map(|metric| reported(metric, report)).collect();
        let per_request = utilization.iter().enumerate().map(|(at, utilization)| {
            let kept = before.and_then(|before| before.per_request.get(at)).copied();
            match utilization {
                Some(utilization) if in_flight > 0 => utilization / in_flight as f64,
                _ => kept.unwrap_or(0.0),
            }
        });
        Self {
            at,
            ready: report.healthy && ready_endpoints > 0,
            queue: report.queue.filter(|queue| queue.is_finite() && *queue >= 0.0),
            kv_cache: first_of(&KV_CACHE, report),
            ready_endpoints,
            in_flight,
            own_in_flight,
            per_request: per_request.collect(),
            utilization,
        }
    }

    /// The load in relation to the target: 1 is at the target. Requests that this router began or
    /// ended since the report are added or subtracted.
    pub(super) fn load(&self, balancing: &Balancing, own: u64, steering: Steering<'_>) -> f64 {
        if let Steering::DryRun(name) = steering {
            let metrics = balancing.metrics.iter();
            if let Some(at) = metrics.clone().position(|it| it.dry_run && it.name == name) {
                return self.of_metric(balancing, at, own).unwrap_or(AT_TARGET);
            }
        }
        if let Some(limit) = balancing.max_in_flight_per_endpoint {
            let target = f64::from(limit) * f64::from(self.ready_endpoints.max(1));
            return self.in_flight(own) / target;
        }
        let steers = (0..balancing.metrics.len()).filter(|at| !balancing.metrics[*at].dry_run);
        let loads = steers.filter_map(|at| self.of_metric(balancing, at, own));
        loads.reduce(f64::max).unwrap_or(AT_TARGET)
    }

    /// Requests in flight now, from all routers.
    pub(super) fn in_flight(&self, own: u64) -> f64 {
        (self.in_flight as f64 + self.own_since(own)).max(0.0)
    }

    fn of_metric(&self, balancing: &Balancing, at: usize, own: u64) -> Option<f64> {
        let reported = (*self.utilization.get(at)?)?;
        let now = reported + self.own_since(own) * self.per_request.get(at)?;
        Some(now.max(0.0) / balancing.metrics[at].max_utilization)
    }

    fn own_since(&self, own: u64) -> f64 {
        own as f64 - self.own_in_flight as f64
    }
}

/// The first of the metric's names that the report has. A value that is no number is absent.
fn reported(metric: &BalancingMetric, report: &Report) -> Option<f64> {
    first_of(&metric.reported_as, report)
}

fn first_of(names: &[impl AsRef<str>], report: &Report) -> Option<f64> {
    let values = names.iter().filter_map(|name| report.utilization.get(name.as_ref()));
    values.copied().find(|value| value.is_finite() && *value >= 0.0)
}

/// The load of an export whose report has none of its metrics: it gets requests after those with
/// room.
const AT_TARGET: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(values: &[(&str, f64)], in_flight: Option<u32>, export: &Export) -> Measured {
        let utilization = values.iter().map(|(name, value)| ((*name).into(), *value)).collect();
        let report = Report { utilization, in_flight, ..Report::default() };
        Measured::new(Instant::ORIGIN, &report, export, 10, None)
    }

    fn kv_export() -> Export {
        Export::new("a", Seconds::ZERO).resolved(&[], &Balancing::default())
    }

    #[test]
    fn a_signal_has_several_names() {
        let export = kv_export();
        for name in ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] {
            let load = |own| {
                let measured = measured(&[(name, 0.3)], Some(20), &export);
                measured.load(&export.balancing, own, Steering::Configured)
            };
            assert!((load(10) - 0.5).abs() < 1e-9);
            assert!((load(30) - 1.0).abs() < 1e-9, "20 more requests double it");
            assert!((load(0) - 0.25).abs() < 1e-9);
        }
    }

    #[test]
    fn an_export_without_its_metric_is_at_its_target() {
        let export = kv_export();
        for value in [f64::NAN, -1.0, f64::INFINITY] {
            let measured = measured(&[("vllm:kv_cache_usage_perc", value)], None, &export);
            let load = measured.load(&export.balancing, 50, Steering::Configured);
            assert!((load - 1.0).abs() < f64::EPSILON);
        }
    }
}
