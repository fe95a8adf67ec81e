//! `GCPBackendPolicy`: how a pool is balanced over its clusters, and its time-out.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;
use slotwise::Seconds;

use super::object::{Document, Object, PoolRef};
use crate::clusters::{Balancing, BalancingMetric};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;

/// `GCPBackendPolicySpec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    target_ref: PoolRef,
    #[serde(default)]
    default: Policy,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    balancing_mode: Option<BalancingMode>,
    custom_metrics: Vec<Metric>,
    #[serde(alias = "maxInFlightRequestsPerEndpoint")]
    max_in_flight_per_endpoint: Option<u32>,
    traffic_duration: IgnoredAny,
    backend_preference: IgnoredAny,
    capacity_scaler_percent: IgnoredAny,
    connection_draining: IgnoredAny,
    iap: IgnoredAny,
    logging: IgnoredAny,
    max_rate_per_endpoint: IgnoredAny,
    scopes: IgnoredAny,
    security_policy: IgnoredAny,
    session_affinity: IgnoredAny,
    timeout_sec: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum BalancingMode {
    CustomMetrics,
    InFlight,
    Rate,
    Utilization,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metric {
    name: String,
    #[serde(default = "sixty", alias = "maxUtilization")]
    max_utilization_percent: u32,
    #[serde(default)]
    dry_run: bool,
}

/// The target of a metric without one.
const fn sixty() -> u32 {
    60
}

/// The prefix of metrics that an `AutoscalingMetric` exports.
const NAMED: &str = "gke.named_metrics.";

/// Fields that the host applies.
const OF_THE_HOST: [&str; 10] = [
    "trafficDuration",
    "backendPreference",
    "capacityScalerPercent",
    "connectionDraining",
    "iap",
    "logging",
    "maxRatePerEndpoint",
    "scopes",
    "securityPolicy",
    "sessionAffinity",
];

pub(super) fn read(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let Object { spec, .. } = document.object::<Spec>()?;
    let pool = spec
        .target_ref
        .resolve(&super::pools(configuration))
        .map_err(|problem| problem.in_field("targetRef").in_field("spec"))?;
    let timeout = spec.default.timeout_sec;
    let balancing =
        balancing(spec.default).map_err(|problem| problem.in_field("default").in_field("spec"))?;
    for field in OF_THE_HOST {
        let path = format!("spec.default.{field}");
        document.ignore(&path, "has no effect; it configures Google's load balancer");
    }
    let pool = configuration.pool(&pool);
    pool.timeout = timeout.map(|seconds| Seconds::new(seconds.into())).or(pool.timeout);
    let Some(balancing) = balancing else {
        document.ignore("spec.default.balancingMode", "has no effect; it needs a load balancer");
        return Ok(());
    };
    if pool.balancing != Balancing::default() {
        let message = "is the second policy of this pool; merge them into one";
        return Err(Problem::new(message).in_field("targetRef").in_field("spec"));
    }
    pool.balancing = balancing;
    Ok(())
}

/// The balancing of a policy; `None` if it has none that a gateway can do.
fn balancing(policy: Policy) -> Result<Option<Balancing>, Problem> {
    let has_metrics = policy.custom_metrics.iter().any(|metric| !metric.dry_run);
    let limit = policy.max_in_flight_per_endpoint;
    if has_metrics && limit.is_some() {
        return Err(Problem::new(
            "must have customMetrics or maxInFlightPerEndpoint, which exclude each other; \
             remove one, or set dryRun of the metrics",
        ));
    }
    let lacks = |field: &str| Problem::new(format!("lacks the field {field:?} of its mode"));
    match policy.balancing_mode {
        Some(BalancingMode::InFlight) if has_metrics => {
            let message = "must be CUSTOM_METRICS, as the policy has customMetrics";
            return Err(Problem::new(message).in_field("balancingMode"));
        }
        Some(BalancingMode::CustomMetrics) if limit.is_some() => {
            let message = "must be IN_FLIGHT, as the policy has maxInFlightPerEndpoint";
            return Err(Problem::new(message).in_field("balancingMode"));
        }
        Some(BalancingMode::CustomMetrics) if !has_metrics => return Err(lacks("customMetrics")),
        Some(BalancingMode::InFlight) if limit.is_none() => {
            return Err(lacks("maxInFlightPerEndpoint"));
        }
        _ if policy.custom_metrics.is_empty() && limit.is_none() => return Ok(None),
        _ => {}
    }
    let mut metrics = Vec::new();
    for (at, metric) in policy.custom_metrics.into_iter().enumerate() {
        let percent = metric.max_utilization_percent;
        if !(1..=100).contains(&percent) {
            let message = format!("must lie in [1, 100], got {percent}");
            let problem = Problem::new(message).in_field("maxUtilizationPercent");
            return Err(problem.in_item(at).in_field("customMetrics"));
        }
        let name = metric.name.strip_prefix(NAMED).unwrap_or(&metric.name);
        let mut read = BalancingMetric::new(name, f64::from(percent) / 100.0);
        read.dry_run = metric.dry_run;
        metrics.push(read);
    }
    Ok(Some(Balancing { metrics, max_in_flight_per_endpoint: limit }))
}
