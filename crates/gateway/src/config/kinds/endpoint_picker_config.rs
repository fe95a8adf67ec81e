//! `EndpointPickerConfig`: the schedulers of all pools of a file.
//!
//! An Endpoint Picker serves one pool, so its configuration names none. Here it applies to every
//! pool whose scheduler an own document leaves at its defaults.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;
use slotwise::Config;
use slotwise::plugins::ProfileConfig;

use super::flow_control::{self, FlowControl};
use super::object::Document;
use super::plugins::{Plugin, PluginRef, PluginSpec, Plugins};
use super::scheduling::{self, Profile};
use crate::clusters::ClusterScorers;
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;
use crate::tree::unknown;

/// A document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the version and the kind were read before")]
struct File {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    #[serde(default)]
    feature_gates: Vec<String>,
    #[serde(default)]
    plugins: Vec<PluginSpec>,
    #[serde(default)]
    scheduling_profiles: Vec<Profile>,
    #[serde(default)]
    data_layer: Option<DataLayer>,
    #[serde(default)]
    flow_control: Option<FlowControl>,
    #[serde(default)]
    request_handler: Option<RequestHandler>,
    #[serde(default)]
    saturation_detector: Option<PluginRef>,
    #[serde(default)]
    parser: Option<PluginRef>,
}

/// `DataLayerConfig`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct DataLayer {
    inject_defaults: Option<bool>,
    sources: Vec<Source>,
    discovery: Option<PluginRef>,
    peer_discovery: Option<PluginRef>,
    cross_replica_syncer_plugin_ref: String,
    cross_replica_sync_interval: Option<super::duration::GoDuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    plugin_ref: String,
    #[serde(default)]
    extractors: Vec<PluginRef>,
}

/// `RequestHandlerConfig`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestHandler {
    parsers: Vec<PluginRef>,
}

/// The feature gates, each with its default.
const GATES: [(&str, bool); 2] = [("flowControl", false), ("haPopulateNonLeaderDatastore", true)];

pub(super) fn read(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let file: File = document.read()?;
    let has_flow = has_flow_control(&file.feature_gates)?;
    let is_empty = file.plugins.is_empty() && file.scheduling_profiles.is_empty();
    let plugins = Plugins::read(file.plugins, document)?;
    let mut scheduler = Config::default();
    if is_empty {
        scheduler.profile = Some(scheduling::default_profile());
    } else {
        scheduling::apply(&file.scheduling_profiles, &plugins, document, &mut scheduler)?;
    }
    let scorers = scheduling::cluster_scorers(&file.scheduling_profiles, &plugins);
    if scorers.is_some() && scheduler.profile == Some(ProfileConfig::default()) {
        // The file chooses between clusters, and does not say how they choose an endpoint.
        scheduler.profile = None;
    }
    set_scorers(scorers, &plugins, document, configuration);
    let detector = file.saturation_detector;
    let flow = &mut scheduler.flow;
    flow_control::apply(file.flow_control, detector, has_flow, &plugins, document, flow)?;
    if let Some(layer) = &file.data_layer {
        check_layer(layer, &plugins).map_err(|problem| problem.in_field("dataLayer"))?;
        document.ignore("dataLayer", "has no effect; the host polls engines");
    }
    let parsers = file.request_handler.as_ref().map_or(&[][..], |handler| &handler.parsers);
    for (at, parser) in parsers.iter().enumerate() {
        check_ref(&parser.plugin_ref, &plugins)
            .map_err(|problem| problem.in_field("pluginRef").in_item(at).in_field("parsers"))
            .map_err(|problem| problem.in_field("requestHandler"))?;
    }
    if let Some(parser) = &file.parser {
        check_ref(&parser.plugin_ref, &plugins)
            .map_err(|problem| problem.in_field("pluginRef").in_field("parser"))?;
    }
    for field in ["requestHandler", "parser"] {
        document.ignore(field, "has no effect; the gateway reads every API that it knows");
    }
    for pool in configuration.pools.values_mut() {
        if pool.scheduler == Config::default() {
            pool.scheduler = scheduler.clone();
        }
    }
    Ok(())
}

/// Sets what chooses between clusters; without clusters, its plugins are reported.
fn set_scorers(
    scorers: Option<ClusterScorers>,
    plugins: &Plugins,
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) {
    if configuration.pools.values().any(|pool| !pool.exports.is_empty()) {
        if scorers.is_some() {
            configuration.clusters.scorers = scorers;
        }
        return;
    }
    let of_clusters = |plugin: &&Plugin| plugin.cluster_weight().is_some();
    for plugin in plugins.iter().filter(of_clusters) {
        let reason = format!("{} has no effect; no cluster exports a pool", plugin.name);
        document.ignore(&format!("plugins[{}]", plugin.at), &reason);
    }
}

/// Whether the gate `flowControl` is open.
fn has_flow_control(gates: &[String]) -> Result<bool, Problem> {
    let mut is_open = GATES[0].1;
    for (at, gate) in gates.iter().enumerate() {
        let in_gate = |message: String| Problem::new(message).in_item(at).in_field("featureGates");
        let (name, value) = gate.split_once('=').unwrap_or((gate, "true"));
        if !GATES.iter().any(|(known, _)| *known == name) {
            let known = GATES.map(|(name, _)| name);
            return Err(in_gate(unknown("feature gate", name, &known)));
        }
        let value = match &*value.trim().to_ascii_lowercase() {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => return Err(in_gate(format!("must be true or false, got {value:?}"))),
        };
        if name == GATES[0].0 {
            is_open = value;
        }
    }
    Ok(is_open)
}

fn check_layer(layer: &DataLayer, plugins: &Plugins) -> Result<(), Problem> {
    for (at, source) in layer.sources.iter().enumerate() {
        let in_source = |problem: Problem| problem.in_item(at).in_field("sources");
        check_ref(&source.plugin_ref, plugins)
            .map_err(|problem| in_source(problem.in_field("pluginRef")))?;
        for (at, extractor) in source.extractors.iter().enumerate() {
            check_ref(&extractor.plugin_ref, plugins).map_err(|problem| {
                in_source(problem.in_field("pluginRef").in_item(at).in_field("extractors"))
            })?;
        }
    }
    for (name, found) in [("discovery", &layer.discovery), ("peerDiscovery", &layer.peer_discovery)]
    {
        if let Some(found) = found {
            check_ref(&found.plugin_ref, plugins)
                .map_err(|problem| problem.in_field("pluginRef").in_field(name))?;
        }
    }
    let syncer = &layer.cross_replica_syncer_plugin_ref;
    if syncer.is_empty() {
        return Ok(());
    }
    check_ref(syncer, plugins).map_err(|problem| problem.in_field("crossReplicaSyncerPluginRef"))
}

fn check_ref(reference: &str, plugins: &Plugins) -> Result<(), Problem> {
    plugins.get_or_type(reference).map(|_| ())
}
