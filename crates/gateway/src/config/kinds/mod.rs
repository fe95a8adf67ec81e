//! Documents of Kubernetes kinds, each in the API that its users know.
//!
//! | file | kind |
//! |---|---|
//! | `endpoint_picker_config` | `EndpointPickerConfig`: the schedulers of all pools |
//! | `plugins`, `scheduling`, `flow_control` | its three parts |
//! | `inference_pool` | `InferencePool`, `InferencePoolImport` |
//! | `inference_objective` | `InferenceObjective` |
//! | `inference_model_rewrite` | `InferenceModelRewrite` |
//! | `http_route` | `HTTPRoute` |
//! | `backend_policy` | `GCPBackendPolicy` |
//! | `health_check_policy` | `HealthCheckPolicy` |
//! | `autoscaling_metric` | `AutoscalingMetric` |
//! | `object` | what all objects have |
//! | `quantity`, `timestamp`, `duration` | values as Kubernetes writes them |
//!
//! A kind that configures Kubernetes itself, such as `Gateway`, is reported as ignored. So are
//! fields that only Kubernetes has a use for.

mod autoscaling_metric;
mod backend_policy;
mod duration;
mod endpoint_picker_config;
mod flow_control;
mod health_check_policy;
mod http_route;
mod inference_model_rewrite;
mod inference_objective;
mod inference_pool;
mod object;
mod plugins;
mod quantity;
mod scheduling;
mod timestamp;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use self::object::Document;
use super::configuration::Configuration;
use super::problem::{Problem, listed};
use crate::tree::{Node, Value, unknown};

/// What reads documents of one kind into a configuration.
type Read = fn(&mut Document<'_>, &mut Configuration) -> Result<(), Problem>;

/// A kind: its name, its API versions, and its reader.
struct Kind {
    name: &'static str,
    versions: &'static [&'static str],
    read: Read,
}

/// Kinds that add pools, before others refer to them.
const POOLS: [Kind; 3] = [
    Kind {
        name: "InferencePool",
        versions: &["inference.networking.k8s.io/v1"],
        read: inference_pool::read_pool,
    },
    Kind {
        name: "InferencePoolImport",
        versions: &["inference.networking.x-k8s.io/v1alpha1"],
        read: inference_pool::read_import,
    },
    Kind {
        name: "GCPInferencePoolImport",
        versions: &["networking.gke.io/v1"],
        read: inference_pool::read_import,
    },
];

const OTHERS: [Kind; 7] = [
    Kind {
        name: "EndpointPickerConfig",
        versions: &["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"],
        read: endpoint_picker_config::read,
    },
    Kind {
        name: "InferenceObjective",
        versions: &["llm-d.ai/v1alpha2", "inference.networking.x-k8s.io/v1alpha2"],
        read: inference_objective::read,
    },
    Kind {
        name: "InferenceModelRewrite",
        versions: &["llm-d.ai/v1alpha2", "inference.networking.x-k8s.io/v1alpha2"],
        read: inference_model_rewrite::read,
    },
    Kind {
        name: "HTTPRoute",
        versions: &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
        read: http_route::read,
    },
    Kind {
        name: "GCPBackendPolicy",
        versions: &["networking.gke.io/v1"],
        read: backend_policy::read,
    },
    Kind {
        name: "HealthCheckPolicy",
        versions: &["networking.gke.io/v1"],
        read: health_check_policy::read,
    },
    Kind {
        name: "AutoscalingMetric",
        versions: &["autoscaling.gke.io/v1beta1", "autoscaling.gke.io/v1"],
        read: autoscaling_metric::read,
    },
];

/// Kinds that often stand in the same file, and configure Kubernetes alone.
const OF_KUBERNETES: [&str; 23] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "DestinationRule",
    "GCPGatewayPolicy",
    "Gateway",
    "GatewayClass",
    "HorizontalPodAutoscaler",
    "LeaderWorkerSet",
    "Namespace",
    "PersistentVolumeClaim",
    "PodMonitoring",
    "ReferenceGrant",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "StatefulSet",
];

/// Whether a document is of a Kubernetes kind, and not an own file.
pub(super) fn is_object(node: &Node) -> bool {
    node.get("apiVersion").is_some() || node.get("kind").is_some()
}

/// Whether the kind of a document adds a pool.
pub(super) fn adds_pool(node: &Node) -> bool {
    let kind = node.get("kind").map(|kind| &kind.value);
    POOLS.iter().any(|pool| kind == Some(&Value::Text(pool.name.into())))
}

/// Adds a document to a configuration, and returns what of it is ignored.
pub(super) fn read(
    node: &Node,
    configuration: &mut Configuration,
) -> Result<Vec<Problem>, Problem> {
    let name = text(node, "kind")?;
    let version = text(node, "apiVersion")?;
    let mut document = Document::new(node);
    let mut kinds = POOLS.iter().chain(&OTHERS);
    let Some(kind) = kinds.find(|kind| kind.name == name) else {
        if OF_KUBERNETES.contains(&&*name) {
            document.ignore("kind", &format!("{name} has no effect; it configures Kubernetes"));
            return Ok(document.ignored);
        }
        let known: Vec<_> = POOLS.iter().chain(&OTHERS).map(|kind| kind.name).collect();
        return Err(Problem::new(unknown("kind", &name, &known)).in_field("kind"));
    };
    if !kind.versions.contains(&&*version) {
        let message = format!("must be {}, got {version:?}", listed(kind.versions, " or "));
        return Err(Problem::new(message).in_field("apiVersion"));
    }
    (kind.read)(&mut document, configuration)?;
    Ok(document.ignored)
}

fn text(node: &Node, field: &'static str) -> Result<String, Problem> {
    match node.get(field).map(|node| &node.value) {
        Some(Value::Text(text)) => Ok(text.clone()),
        Some(_) => Err(Problem::new("must be text").in_field(field)),
        None => Err(Problem::new(format!("lacks the field {field:?}"))),
    }
}

/// The names of the pools.
fn pools(configuration: &Configuration) -> Vec<String> {
    configuration.routing.pools.iter().map(|pool| pool.name.clone()).collect()
}
