//! `flowControl` and `saturationDetector`: limits, order and saturation of the queue.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;
use slotwise::{
    BandLimits, Fairness, FlowConfig, QueueOrder, SaturationPolicy, UsageLimitPolicy,
    UtilizationDetector,
};

use super::duration::GoDuration;
use super::object::Document;
use super::plugins::{PluginRef, Plugins};
use super::quantity::Quantity;
use crate::config::problem::Problem;

/// `FlowControlConfig`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FlowControl {
    max_bytes: Quantity,
    max_requests: Quantity,
    #[serde(rename = "defaultRequestTTL")]
    default_request_ttl: Option<GoDuration>,
    #[serde(rename = "noEndpointRequestTTL")]
    no_endpoint_request_ttl: Option<GoDuration>,
    default_priority_band: Option<Band>,
    default_negative_priority_band: Option<Band>,
    priority_bands: Vec<Band>,
    usage_limit_policy_plugin_ref: String,
    saturation_detector: Option<PluginRef>,
    enable_eviction: bool,
}

/// `PriorityBandConfig`.
#[derive(Clone, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Band {
    priority: i32,
    max_bytes: Quantity,
    max_requests: Quantity,
    fairness_policy_ref: String,
    ordering_policy_ref: String,
}

/// What a band says, with its references resolved.
#[derive(Clone, Copy, PartialEq)]
struct Policies {
    limits: BandLimits,
    fairness: Fairness,
    order: QueueOrder,
}

/// A time to live that no request reaches.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

const FAIRNESS: &str = "global-strict-fairness-policy";
const ORDER: &str = "fcfs-ordering-policy";

/// Fields that have an effect only with the feature gate `flowControl`.
const GATED: [&str; 9] = [
    "maxBytes",
    "maxRequests",
    "defaultRequestTTL",
    "noEndpointRequestTTL",
    "defaultPriorityBand",
    "defaultNegativePriorityBand",
    "priorityBands",
    "usageLimitPolicyPluginRef",
    "enableEviction",
];

/// Sets the queue of a scheduler. `deprecated` is the `saturationDetector` at the top level.
pub(super) fn apply(
    control: Option<FlowControl>,
    deprecated: Option<PluginRef>,
    is_enabled: bool,
    plugins: &Plugins,
    document: &mut Document<'_>,
    flow: &mut FlowConfig,
) -> Result<(), Problem> {
    let control = control.unwrap_or_default();
    match (&control.saturation_detector, &deprecated) {
        (Some(reference), other) => {
            if other.is_some() {
                let reason = "has no effect; flowControl.saturationDetector replaces it";
                document.ignore("saturationDetector", reason);
            }
            flow.saturation = saturation(reference, plugins)
                .map_err(|problem| problem.in_field("flowControl"))?;
        }
        (None, Some(reference)) => flow.saturation = saturation(reference, plugins)?,
        (None, None) => flow.saturation = default_saturation(plugins)?,
    }
    if !is_enabled {
        for field in GATED {
            let reason = "has no effect without the feature gate flowControl";
            document.ignore(&format!("flowControl.{field}"), reason);
        }
        return Ok(());
    }
    if control.enable_eviction {
        let reason = "has no effect; the host ends a request in flight";
        document.ignore("flowControl.enableEviction", reason);
    }
    of_control(&control, plugins, document, flow).map_err(|problem| problem.in_field("flowControl"))
}

fn of_control(
    control: &FlowControl,
    plugins: &Plugins,
    document: &mut Document<'_>,
    flow: &mut FlowConfig,
) -> Result<(), Problem> {
    let limit = |quantity: Quantity| (quantity.0 > 0).then_some(quantity.0);
    flow.max_bytes = limit(control.max_bytes);
    let requests = limit(control.max_requests);
    flow.max_requests = requests.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if let Some(ttl) = control.default_request_ttl {
        flow.ttl = or_never(ttl);
        flow.no_endpoint_ttl = or_never(ttl);
    }
    if let Some(ttl) = control.no_endpoint_request_ttl {
        flow.no_endpoint_ttl = or_never(ttl);
    }
    if !control.usage_limit_policy_plugin_ref.is_empty() {
        flow.usage_limit = usage_limit(&control.usage_limit_policy_plugin_ref, plugins)
            .map_err(|problem| problem.in_field("usageLimitPolicyPluginRef"))?;
    }
    let bands = bands(control, plugins)?;
    // The queue has one limit and one order for all bands.
    let Some((_, chosen)) = bands.first() else {
        flow.fairness = Fairness::GlobalStrict;
        return Ok(());
    };
    flow.band = chosen.limits;
    (flow.fairness, flow.order) = (chosen.fairness, chosen.order);
    for (path, policies) in &bands {
        if policies != chosen {
            let reason = format!("has no effect; all bands have the policies of {}", bands[0].0);
            document.ignore(&format!("flowControl.{path}"), &reason);
        }
    }
    Ok(())
}

fn or_never(GoDuration(ttl): GoDuration) -> Duration {
    if ttl.is_zero() { NEVER } else { ttl }
}

/// The bands with their paths: first the template.
fn bands(control: &FlowControl, plugins: &Plugins) -> Result<Vec<(String, Policies)>, Problem> {
    let templates = [
        ("defaultPriorityBand", &control.default_priority_band),
        ("defaultNegativePriorityBand", &control.default_negative_priority_band),
    ];
    let given = |(name, band): (&str, &Option<Band>)| Some((name.into(), band.clone()?));
    let (first, last) = (given(templates[0]), given(templates[1]));
    let listed = control.priority_bands.iter().enumerate();
    let listed = listed.map(|(at, band)| (format!("priorityBands[{at}]"), band.clone()));
    let mut bands: Vec<(String, Policies)> = Vec::new();
    for (path, band) in first.into_iter().chain(listed).chain(last) {
        let policies = policies(&band, plugins).map_err(|problem| problem.in_field(&path))?;
        bands.push((path, policies));
    }
    let mut known = alloc::collections::BTreeSet::new();
    for (at, band) in control.priority_bands.iter().enumerate() {
        if !known.insert(band.priority) {
            let message = format!("must be unique, got {} twice", band.priority);
            let problem = Problem::new(message).in_field("priority");
            return Err(problem.in_item(at).in_field("priorityBands"));
        }
    }
    Ok(bands)
}

fn policies(band: &Band, plugins: &Plugins) -> Result<Policies, Problem> {
    let mut limits = BandLimits::default();
    if band.max_requests.0 > 0 {
        limits.max_requests = usize::try_from(band.max_requests.0).unwrap_or(usize::MAX);
    }
    if band.max_bytes.0 > 0 {
        limits.max_bytes = band.max_bytes.0;
    }
    let or = |name: &str, default: &str| String::from(if name.is_empty() { default } else { name });
    let fairness = or(&band.fairness_policy_ref, FAIRNESS);
    let order = or(&band.ordering_policy_ref, ORDER);
    let fairness = plugins.get_or_type(&fairness).and_then(|plugin| {
        plugin.fairness()?.ok_or_else(|| Problem::new("must be a fairness policy"))
    });
    let order = plugins.get_or_type(&order).and_then(|plugin| {
        plugin.order()?.ok_or_else(|| Problem::new("must be an ordering policy"))
    });
    Ok(Policies {
        limits,
        fairness: fairness.map_err(|problem| problem.in_field("fairnessPolicyRef"))?,
        order: order.map_err(|problem| problem.in_field("orderingPolicyRef"))?,
    })
}

fn usage_limit(reference: &str, plugins: &Plugins) -> Result<UsageLimitPolicy, Problem> {
    let policy = plugins.get_or_type(reference)?.usage_limit()?;
    policy.ok_or_else(|| Problem::new("must be a usage limit policy"))
}

fn saturation(reference: &PluginRef, plugins: &Plugins) -> Result<SaturationPolicy, Problem> {
    if reference.plugin_ref.is_empty() {
        return default_saturation(plugins);
    }
    let plugin = plugins.get_or_type(&reference.plugin_ref);
    let detector = plugin.and_then(|plugin| {
        plugin.detector()?.ok_or_else(|| Problem::new("must be a saturation detector"))
    });
    detector.map_err(|problem| problem.in_field("pluginRef").in_field("saturationDetector"))
}

/// The detector of a file without one: `utilization-detector`, with its parameters if it is listed.
fn default_saturation(plugins: &Plugins) -> Result<SaturationPolicy, Problem> {
    let listed = plugins.iter().find(|plugin| plugin.name == "utilization-detector");
    let detector = listed.map_or(Ok(None), super::plugins::Plugin::detector)?;
    let default = SaturationPolicy::UtilizationDetector(UtilizationDetector::default());
    Ok(detector.unwrap_or(default))
}
