//! `HealthCheckPolicy`: how the endpoints of a pool are probed.

use alloc::format;
use alloc::string::String;
use core::num::NonZeroU32;
use core::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::object::{Document, Object, PoolRef};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;
use crate::health_checks::HealthCheckConfig;

/// `HealthCheckPolicySpec`.
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
    check_interval_sec: Option<u32>,
    timeout_sec: Option<u32>,
    healthy_threshold: Option<NonZeroU32>,
    unhealthy_threshold: Option<NonZeroU32>,
    config: Check,
    log_config: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Check {
    r#type: Protocol,
    http_health_check: HttpCheck,
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Protocol {
    #[default]
    Http,
    Https,
    Http2,
    Tcp,
    Grpc,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct HttpCheck {
    request_path: Option<String>,
    port: Option<u16>,
    port_specification: IgnoredAny,
    port_name: IgnoredAny,
    host: IgnoredAny,
    response: IgnoredAny,
    proxy_header: IgnoredAny,
}

/// Fields of `spec.default` that have no effect, and the reason.
const IGNORED: [(&str, &str); 6] = [
    ("logConfig", "has no effect; hosts log probes themselves"),
    ("config.httpHealthCheck.portSpecification", "has no effect; give a port or none"),
    ("config.httpHealthCheck.portName", "has no effect; ports have no names"),
    ("config.httpHealthCheck.host", "has no effect; the host sends its own header"),
    ("config.httpHealthCheck.response", "has no effect; the status decides"),
    ("config.httpHealthCheck.proxyHeader", "has no effect; probes use no proxy protocol"),
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
    let check =
        check(&spec.default).map_err(|problem| problem.in_field("default").in_field("spec"))?;
    for (field, reason) in IGNORED {
        document.ignore(&format!("spec.default.{field}"), reason);
    }
    let pool = configuration.pool(&pool);
    if pool.health_check.is_some() {
        let message = "is the second policy of this pool; merge them into one";
        return Err(Problem::new(message).in_field("targetRef").in_field("spec"));
    }
    pool.health_check = Some(check);
    Ok(())
}

/// The check of a policy. Its own defaults are `/` and an interval of 5 seconds.
fn check(policy: &Policy) -> Result<HealthCheckConfig, Problem> {
    if policy.config.r#type != Protocol::Http {
        let message = "must be HTTP; other protocols are probed by a load balancer";
        return Err(Problem::new(message).in_field("type").in_field("config"));
    }
    let http = &policy.config.http_health_check;
    let seconds = |seconds: Option<u32>, default| {
        seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()))
    };
    let default = HealthCheckConfig::default();
    let interval = seconds(policy.check_interval_sec, default.interval);
    let check = HealthCheckConfig {
        path: http.request_path.clone().unwrap_or_else(|| "/".into()),
        port: http.port,
        interval,
        timeout: seconds(policy.timeout_sec, default.timeout.min(interval)),
        healthy_threshold: policy.healthy_threshold.unwrap_or(default.healthy_threshold),
        unhealthy_threshold: policy.unhealthy_threshold.unwrap_or(default.unhealthy_threshold),
    };
    check.check().map_err(|error| Problem::new(error.expected).in_field(named(&error.field)))?;
    Ok(check)
}

/// The policy's name for a field of the check.
fn named(field: &str) -> &str {
    match field {
        "interval" => "checkIntervalSec",
        "timeout" => "timeoutSec",
        "path" => "config.httpHealthCheck.requestPath",
        "port" => "config.httpHealthCheck.port",
        other => other,
    }
}
