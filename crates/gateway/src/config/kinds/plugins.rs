//! The plugins of an `EndpointPickerConfig`: named instances of types.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use slotwise::plugins::{FilterPlugin, HandlerPlugin, PickerPlugin, ScorerPlugin};
use slotwise::{ConcurrencyDetector, UtilizationDetector};
use slotwise::{Decider, Fairness, QueueOrder, SaturationPolicy, UsageLimitPolicy};

use super::object::Document;
use crate::clusters::ClusterScorers;
use crate::config::problem::Problem;
use crate::tree::{self, Entry, Node, ReadError, Reader, Value, unknown};

/// `PluginSpec`; its parameters are read by type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parameters are read from the node")]
pub(super) struct PluginSpec {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: IgnoredAny,
}

/// A reference to a plugin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PluginRef {
    #[serde(default)]
    pub(super) plugin_ref: String,
}

/// Types of plugins that act on a queue.
const ORDERS: [(&str, QueueOrder); 3] = [
    ("fcfs-ordering-policy", QueueOrder::Fcfs),
    ("edf-ordering-policy", QueueOrder::Edf),
    ("slo-deadline-ordering-policy", QueueOrder::SloDeadline),
];
const FAIRNESS: [(&str, Fairness); 3] = [
    ("global-strict-fairness-policy", Fairness::GlobalStrict),
    ("round-robin-fairness-policy", Fairness::RoundRobin),
    ("program-aware-fairness", Fairness::LeastAttainedService),
];
const USAGE_LIMITS: [&str; 3] =
    ["static-usage-limit-policy", "priority-holdback-policy", "soft-reflective-ceiling-policy"];
const DETECTORS: [&str; 2] = ["utilization-detector", "concurrency-detector"];

/// Scorers of clusters, and where their weights belong.
const CLUSTER_SCORERS: [(&str, ClusterWeight); 3] = [
    ("multicluster-queue-scorer", |scorers| &mut scorers.queue),
    ("multicluster-kv-cache-utilization-scorer", |scorers| &mut scorers.kv_cache),
    ("multicluster-prefix-cache-scorer", |scorers| &mut scorers.prefix_cache),
];

/// The weight of one scorer of clusters.
pub(super) type ClusterWeight = fn(&mut ClusterScorers) -> &mut f64;

/// Types of plugins without an effect here, and why.
const WITHOUT_EFFECT: [(&str, &[&str]); 7] = [
    (
        "has no effect; the scheduler has the state that it produces",
        &[
            "approx-prefix-cache-producer",
            "precise-prefix-cache-producer",
            "burst-prefix-cache-producer",
            "multicluster-approx-prefix-cache-producer",
            "inflight-load-producer",
            "predicted-latency-producer",
            "token-producer",
            "tokenizer",
            "mm-embeddings-cache-producer",
            "session-id-producer",
            "p2p-source-producer",
        ],
    ),
    (
        "has no effect; the host polls engines and passes their pages",
        &[
            "metrics-data-source",
            "core-metrics-extractor",
            "models-data-source",
            "models-data-extractor",
            "dcgm-data-source",
            "dcgm-extractor",
            "topology-extractor",
            "k8s-notification-source",
            "endpoint-notification-source",
            "multicluster-metrics-data-source",
            "multicluster-metrics-extractor",
            "disaggregatedset-rollout-pod-extractor",
            "local-syncer",
        ],
    ),
    (
        "has no effect; the gateway reads every API that it knows",
        &[
            "openai-parser",
            "anthropic-parser",
            "vllmhttp-parser",
            "sglanghttp-parser",
            "vllmgrpc-parser",
            "vertexai-parser",
            "passthrough-parser",
        ],
    ),
    (
        "has no effect; list the endpoints in an own document",
        &["file-discovery", "multicluster-file-discovery"],
    ),
    (
        "has no effect; `shed_above` of the scheduler sheds by predicted wait",
        &["latency-slo-admitter", "probabilistic-admitter"],
    ),
    (
        "has no effect; the host ends a request in flight",
        &["sheddable-eviction-filter", "priority-then-time-eviction-order-policy"],
    ),
    (
        "has no effect; the host reads and writes headers",
        &[
            "agent-identity",
            "destination-endpoint-served-verifier",
            "disagg-headers-handler",
            "disaggregatedset-rollout-screener",
            "prefill-header-handler",
            "request-attribute-reporter",
        ],
    ),
];

/// A named plugin with its parameters.
pub(super) struct Plugin {
    pub(super) name: String,
    kind: String,
    parameters: Node,
    /// The place in the list.
    pub(super) at: usize,
}

/// All plugins of a document, in order.
pub(super) struct Plugins(Vec<Plugin>);

impl Plugins {
    /// Reads each plugin's parameters; those without an effect are reported.
    pub(super) fn read(
        specs: Vec<PluginSpec>,
        document: &mut Document<'_>,
    ) -> Result<Self, Problem> {
        let mut plugins = Self(Vec::new());
        for (at, PluginSpec { name, kind, .. }) in specs.into_iter().enumerate() {
            let name = if name.is_empty() { kind.clone() } else { name };
            let path = format!("plugins[{at}]");
            if plugins.find(&name).is_some() {
                return Err(Problem::new(format!("must be unique, got {name:?} twice"))
                    .in_field("name")
                    .in_field(&path));
            }
            let place = document.find(&path).map(|node| node.place).unwrap_or_default();
            let parameters = document.find(&format!("{path}.parameters")).cloned();
            let parameters = parameters.unwrap_or(Node { value: Value::Null, place });
            let plugin = Plugin { name, kind, parameters, at };
            plugin.check(document)?;
            plugins.0.push(plugin);
        }
        Ok(plugins)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Plugin> {
        self.0.iter()
    }

    /// The plugin that a reference names.
    pub(super) fn get(&self, reference: &str) -> Result<&Plugin, Problem> {
        self.find(reference).ok_or_else(|| {
            let known: Vec<_> = self.0.iter().map(|plugin| &*plugin.name).collect();
            Problem::new(unknown("plugin", reference, &known))
        })
    }

    fn find(&self, name: &str) -> Option<&Plugin> {
        self.0.iter().find(|plugin| plugin.name == name)
    }

    /// The plugin of a reference, or the type of this name with its defaults.
    pub(super) fn get_or_type(&self, reference: &str) -> Result<Plugin, Problem> {
        match self.get(reference) {
            Ok(plugin) => Ok(Plugin {
                name: plugin.name.clone(),
                kind: plugin.kind.clone(),
                parameters: plugin.parameters.clone(),
                at: plugin.at,
            }),
            Err(_) if known_types().any(|known| known == reference) => Ok(Plugin {
                name: reference.into(),
                kind: reference.into(),
                parameters: Node { value: Value::Null, place: Default::default() },
                at: self.0.len(),
            }),
            Err(problem) => Err(problem),
        }
    }
}

/// All types that are known.
fn known_types() -> impl Iterator<Item = &'static str> {
    let families = [FilterPlugin::NAMES, ScorerPlugin::NAMES, PickerPlugin::NAMES];
    families
        .into_iter()
        .flatten()
        .chain(HandlerPlugin::NAMES)
        .copied()
        .chain(Decider::NAMES)
        .chain(ORDERS.map(|(name, _)| name))
        .chain(FAIRNESS.map(|(name, _)| name))
        .chain(USAGE_LIMITS)
        .chain(DETECTORS)
        .chain(CLUSTER_SCORERS.map(|(name, _)| name))
        .chain(WITHOUT_EFFECT.iter().flat_map(|(_, names)| names.iter().copied()))
}

impl Plugin {
    /// Reads the parameters, and reports the plugin if it has no effect.
    fn check(&self, document: &mut Document<'_>) -> Result<(), Problem> {
        let kind = &*self.kind;
        let path = format!("plugins[{}]", self.at);
        if let Some((reason, _)) = WITHOUT_EFFECT.iter().find(|(_, names)| names.contains(&kind)) {
            document.ignore(&path, &format!("{kind} {reason}"));
            return Ok(());
        }
        if !known_types().any(|known| known == kind) {
            let known: Vec<_> = known_types().collect();
            let message = unknown("plugin type", kind, &known);
            return Err(Problem::new(message).in_field("type").in_field(&path));
        }
        self.filter()?;
        self.scorer()?;
        self.picker()?;
        self.handler()?;
        self.decider()?;
        self.fairness()?;
        self.order()?;
        self.usage_limit()?;
        self.detector()?;
        if self.kind == "program-aware-fairness" {
            document.ignore(
                &format!("{path}.parameters"),
                "has no effect; past service halves every minute",
            );
        }
        Ok(())
    }

    fn located<T>(&self, read: Result<T, ReadError>) -> Result<T, Problem> {
        read.map_err(|error| {
            let problem = Problem::from(error).at(self.parameters.place);
            problem.in_field("parameters").in_item(self.at).in_field("plugins")
        })
    }

    /// Reads the plugin if its type is one of the family.
    fn of_family<'p, T>(
        &'p self,
        names: &[&str],
        read: impl FnOnce(&str, Reader<'p>) -> Result<T, ReadError>,
    ) -> Result<Option<T>, Problem> {
        if !names.contains(&&*self.kind) {
            return Ok(None);
        }
        self.located(read(&self.kind, Reader::new(&self.parameters))).map(Some)
    }

    pub(super) fn filter(&self) -> Result<Option<FilterPlugin>, Problem> {
        self.of_family(FilterPlugin::NAMES, FilterPlugin::from_name)
    }

    pub(super) fn scorer(&self) -> Result<Option<ScorerPlugin>, Problem> {
        self.of_family(ScorerPlugin::NAMES, ScorerPlugin::from_name)
    }

    /// The weight that a scorer of clusters sets.
    pub(super) fn cluster_weight(&self) -> Option<ClusterWeight> {
        let found = CLUSTER_SCORERS.iter().find(|(name, _)| *name == self.kind);
        found.map(|(_, weight)| *weight)
    }

    pub(super) fn picker(&self) -> Result<Option<PickerPlugin>, Problem> {
        self.of_family(PickerPlugin::NAMES, PickerPlugin::from_name)
    }

    pub(super) fn handler(&self) -> Result<Option<HandlerPlugin>, Problem> {
        self.of_family(HandlerPlugin::NAMES, HandlerPlugin::from_name)
    }

    pub(super) fn decider(&self) -> Result<Option<Decider>, Problem> {
        self.of_family(&Decider::NAMES, Decider::from_name)
    }

    pub(super) fn order(&self) -> Result<Option<QueueOrder>, Problem> {
        let found = ORDERS.iter().find(|(name, _)| *name == self.kind);
        let Some((_, order)) = found else { return Ok(None) };
        self.parameters::<NoParameters>().map(|_| Some(*order))
    }

    pub(super) fn fairness(&self) -> Result<Option<Fairness>, Problem> {
        let found = FAIRNESS.iter().find(|(name, _)| *name == self.kind);
        let Some((_, fairness)) = found else { return Ok(None) };
        if self.kind == "program-aware-fairness" {
            self.parameters::<ProgramAware>()?;
        } else {
            self.parameters::<NoParameters>()?;
        }
        Ok(Some(*fairness))
    }

    pub(super) fn usage_limit(&self) -> Result<Option<UsageLimitPolicy>, Problem> {
        if !USAGE_LIMITS.contains(&&*self.kind) {
            return Ok(None);
        }
        let Node { value, place } = &self.parameters;
        let kind = Node { value: Value::Text(self.kind.clone()), place: *place };
        let mut entries = Vec::from([Entry { key: "type".into(), place: *place, value: kind }]);
        match value {
            Value::Null => {}
            Value::Map(parameters) => {
                let linear = Value::Text("linear".into());
                let counts = |entry: &&Entry| entry.key != "shape" || entry.value.value != linear;
                entries.extend(parameters.iter().filter(counts).cloned());
            }
            _ => return self.parameters::<NoParameters>().map(|_| None),
        }
        let tagged = Node { value: Value::Map(entries), place: *place };
        self.located(tree::read(&tagged)).map(Some)
    }

    /// The detector as a measure of the pool's saturation.
    pub(super) fn detector(&self) -> Result<Option<SaturationPolicy>, Problem> {
        let small = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
        Ok(match self.filter()? {
            Some(FilterPlugin::UtilizationDetector(filter)) => {
                let mut detector = UtilizationDetector::default();
                detector.queue_depth_threshold = small(filter.queue_depth_threshold);
                detector.kv_cache_util_threshold = filter.kv_cache_util_threshold;
                detector.metrics_staleness_threshold = filter.metrics_staleness_threshold;
                detector.headroom = filter.headroom;
                Some(SaturationPolicy::UtilizationDetector(detector))
            }
            Some(FilterPlugin::ConcurrencyDetector(filter)) => {
                let mut detector = ConcurrencyDetector::default();
                detector.concurrency_mode = filter.concurrency_mode;
                detector.max_concurrency = small(filter.max_concurrency);
                detector.max_token_concurrency = filter.max_token_concurrency;
                detector.headroom = filter.headroom;
                Some(SaturationPolicy::ConcurrencyDetector(detector))
            }
            _ => None,
        })
    }

    fn parameters<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        self.located(tree::read(&self.parameters))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

/// The parameters of `program-aware-fairness`, which has one strategy.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ProgramAware {
    strategy: Option<Strategy>,
    eviction_ttl_seconds: f64,
    eviction_sweep_seconds: f64,
    las_weight_service: f64,
    las_weight_head_wait: f64,
    las_half_life_seconds: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    Las,
}
