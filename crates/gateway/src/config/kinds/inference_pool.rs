//! `InferencePool` v1 and `InferencePoolImport`: pools of endpoints.
//!
//! A pool has a name here. Kubernetes selects its pods; an own document or discovery adds the
//! endpoints. The status of an import lists the clusters that export the pool.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::object::{Document, Object};
use crate::clusters::Export;
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;

/// `InferencePoolSpec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "fields without a use are known, and reported as ignored")]
struct Pool {
    selector: Selector,
    target_ports: Vec<TargetPort>,
    #[serde(default)]
    app_protocol: Option<AppProtocol>,
    #[serde(default)]
    endpoint_picker_ref: Option<PickerRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only Kubernetes selects pods")]
struct Selector {
    match_labels: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetPort {
    number: u16,
}

#[derive(Deserialize)]
enum AppProtocol {
    #[serde(rename = "http")]
    Http,
    #[serde(rename = "kubernetes.io/h2c")]
    H2c,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the gateway itself picks endpoints")]
struct PickerRef {
    #[serde(default)]
    group: IgnoredAny,
    #[serde(default)]
    kind: IgnoredAny,
    name: IgnoredAny,
    #[serde(default)]
    port: IgnoredAny,
    #[serde(default)]
    failure_mode: Option<FailureMode>,
}

#[derive(Deserialize)]
enum FailureMode {
    FailClose,
    FailOpen,
}

/// What Kubernetes writes about an import; its other fields may change with its versions.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ImportStatus {
    controllers: Vec<ImportController>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ImportController {
    exporting_clusters: Vec<ExportingCluster>,
}

#[derive(Deserialize)]
struct ExportingCluster {
    name: String,
}

/// The most ports of a pool: each is an endpoint of a pod.
const MAX_PORTS: usize = 8;

pub(super) fn read_pool(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let Object { metadata, spec, .. } = document.object::<Pool>()?;
    check_ports(&spec.target_ports)
        .map_err(|problem| problem.in_field("targetPorts").in_field("spec"))?;
    document.ignore("spec.selector", "has no effect; list the endpoints in an own document");
    document.ignore("spec.targetPorts", "has no effect; an endpoint's URL has its port");
    document.ignore("spec.appProtocol", "has no effect; the host chooses the protocol");
    document.ignore("spec.endpointPickerRef", "has no effect; the gateway picks endpoints itself");
    configuration.pool(&metadata.name);
    Ok(())
}

pub(super) fn read_import(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "Kubernetes imports pools; its status lists their clusters")]
    struct Import {
        metadata: super::object::Metadata,
        api_version: IgnoredAny,
        kind: IgnoredAny,
        #[serde(default)]
        spec: IgnoredAny,
        #[serde(default)]
        status: ImportStatus,
    }
    let Import { metadata, status, .. } = document.read()?;
    document.ignore("metadata.namespace", "has no effect; names count without namespaces");
    document.ignore("spec", "has no effect; Kubernetes imports pools");
    let pool = configuration.pool(&metadata.name);
    let controllers = status.controllers.into_iter();
    for ExportingCluster { name } in controllers.flat_map(|it| it.exporting_clusters) {
        if !pool.exports.iter().any(|export| export.cluster == name) {
            pool.exports.push(Export { cluster: name, ..Export::default() });
        }
    }
    Ok(())
}

fn check_ports(ports: &[TargetPort]) -> Result<(), Problem> {
    if !(1..=MAX_PORTS).contains(&ports.len()) {
        let message = format!("must have 1 to {MAX_PORTS} ports, got {}", ports.len());
        return Err(Problem::new(message));
    }
    let mut known = BTreeSet::new();
    let repeated = ports.iter().position(|port| port.number == 0 || !known.insert(port.number));
    repeated.map_or(Ok(()), |at| {
        let message = "must be from 1 to 65535, and unique";
        Err(Problem::new(message).in_field("number").in_item(at))
    })
}
