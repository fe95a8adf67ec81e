//! `AutoscalingMetric`: the engines' metrics under the names of signals.
//!
//! Several metrics under one `exportName` are names of engine versions for one signal.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::object::{Document, Object};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;

/// `AutoscalingMetricSpec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only Kubernetes selects pods")]
struct Spec {
    #[serde(default)]
    selector: IgnoredAny,
    endpoints: Vec<Page>,
}

/// A page of metrics.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "hosts know where their engines have metrics")]
struct Page {
    #[serde(default)]
    port: IgnoredAny,
    #[serde(default)]
    path: IgnoredAny,
    #[serde(default)]
    scheme: IgnoredAny,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metric {
    name: String,
    #[serde(default)]
    export_name: Option<String>,
}

pub(super) fn read(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let Object { spec, .. } = document.object::<Spec>()?;
    document.ignore("spec.selector", "has no effect; signals are those of all pools");
    for (at, page) in spec.endpoints.iter().enumerate() {
        for field in ["port", "path", "scheme"] {
            let path = alloc::format!("spec.endpoints[{at}].{field}");
            document.ignore(&path, "has no effect; the host polls the engines");
        }
        for metric in &page.metrics {
            let signal = metric.export_name.as_ref().unwrap_or(&metric.name);
            let names = configuration.signals.entry(signal.clone()).or_default();
            if !names.contains(&metric.name) {
                names.push(metric.name.clone());
            }
        }
    }
    Ok(())
}
