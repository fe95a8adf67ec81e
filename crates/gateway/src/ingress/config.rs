//! What a host configures: routing and gates.

use crate::gates::GatesConfig;
use crate::routing::RoutingConfig;

/// The configuration of an [`Ingress`](super::Ingress).
///
/// With the feature `config`, a [`Configuration`](crate::config::Configuration) of a file converts
/// into it.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct IngressConfig {
    /// Which pool serves a request.
    pub routing: RoutingConfig,
    /// API keys, quotas and rate limits; `None` lets all requests pass and reads no keys.
    pub gates: Option<GatesConfig>,
}

impl IngressConfig {
    /// The configuration without gates.
    pub fn new(routing: RoutingConfig) -> Self {
        Self { routing, gates: None }
    }

    /// The same with these gates.
    pub fn gates(self, gates: GatesConfig) -> Self {
        Self { gates: Some(gates), ..self }
    }
}

#[cfg(feature = "config")]
impl From<&crate::config::Configuration> for IngressConfig {
    fn from(configuration: &crate::config::Configuration) -> Self {
        Self { routing: configuration.routing.clone(), gates: configuration.gates.clone() }
    }
}
