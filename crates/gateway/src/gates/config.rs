//! What a host configures: keys, tenants and anonymous access.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::Priority;

use super::api_key::KeyDigest;
use super::limits::{Limits, Measure};
use super::safety::SafetyConfig;
use crate::InvalidField;

/// The configuration of [`Gates`](super::Gates). The default has no keys and refuses all requests.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct GatesConfig {
    /// The API keys.
    pub keys: Vec<KeyConfig>,
    /// Limits that the keys of a tenant share, by its name.
    pub tenants: BTreeMap<String, Limits>,
    /// How requests without a key are served; without it, they are refused.
    pub anonymous: Option<Access>,
    /// Anonymous clients that are counted at most.
    pub max_clients: usize,
    /// How the host checks prompts and answers; `None` if it does not.
    pub safety: Option<SafetyConfig>,
    /// Whether limits count what [peers](crate::peers) use. The host exchanges it by
    /// [`PeerLink::exchange_usage`](crate::peers::PeerLink::exchange_usage).
    pub shared: bool,
}

/// An API key and what it allows.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "FlatKey", into = "FlatKey")
)]
#[non_exhaustive]
pub struct KeyConfig {
    /// The key's name in errors, logs and accounts; unique.
    pub name: String,
    /// The digest of the key; unique.
    pub sha256: KeyDigest,
    /// What it allows. In files, its fields stand beside those of the key.
    pub access: Access,
}

/// What a key or an anonymous client may do.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Access {
    /// The tenant: the flow of the requests, and the account of shared limits.
    pub tenant: Option<String>,
    /// The priority of the requests; `None` leaves the host's.
    pub priority: Option<Priority>,
    /// The share of the tenant relative to other tenants of the same priority.
    pub weight: Option<f64>,
    /// The models that may be requested, by their names for clients; a last `*` stands for any end.
    /// `None` allows all.
    pub models: Option<Vec<String>>,
    /// The limits of the key, or of each anonymous client.
    pub limits: Limits,
}

impl Default for GatesConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            tenants: BTreeMap::new(),
            anonymous: None,
            max_clients: 65_536,
            safety: None,
            shared: false,
        }
    }
}

impl KeyConfig {
    /// Describes a key by its name and its plain text, of which only the digest is kept.
    pub fn new(name: impl Into<String>, key: &str, access: Access) -> Self {
        Self { name: name.into(), sha256: KeyDigest::of_key(key), access }
    }
}

impl GatesConfig {
    /// The first invalid field. Computes in **O(fields × log keys)**.
    pub(super) fn check(&self) -> Result<(), InvalidField> {
        let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for (at, key) in self.keys.iter().enumerate() {
            let within = |error: InvalidField| error.within(&format!("keys[{at}]"));
            if key.name.is_empty() || !names.insert(&key.name) {
                return Err(within(InvalidField::new("name", "must be unique and not empty")));
            }
            if !digests.insert(key.sha256) {
                return Err(within(InvalidField::new("sha256", "must be unique")));
            }
            key.access.check().map_err(within)?;
        }
        for (name, limits) in &self.tenants {
            limits.check().map_err(|error| error.within(&format!("tenants.{name}")))?;
        }
        let anonymous = self.anonymous.as_ref().map_or(Ok(()), Access::check);
        anonymous.map_err(|error| error.within("anonymous"))?;
        let safety = self.safety.as_ref().map_or(Ok(()), SafetyConfig::check);
        safety.map_err(|error| error.within("safety"))?;
        match self.max_clients {
            0 => Err(InvalidField::new("max_clients", "must be at least 1")),
            _ => Ok(()),
        }
    }
}

impl Access {
    fn check(&self) -> Result<(), InvalidField> {
        if self.weight.is_some_and(|weight| !(weight.is_finite() && weight > 0.0)) {
            return Err(InvalidField::new("weight", "must be a number above 0"));
        }
        if self.tenant.as_ref().is_some_and(String::is_empty) {
            return Err(InvalidField::new("tenant", "must not be empty"));
        }
        let models = self.models.iter().flatten();
        if models.clone().any(|model| model.trim_end_matches('*').contains('*')) {
            return Err(InvalidField::new("models", "must have `*` only at the end of a name"));
        }
        self.limits.check().map_err(|error| error.within("limits"))
    }

    /// Whether the model may be requested. Computes in **O(models)**.
    pub(super) fn allows(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| {
            models.iter().any(|allowed| match allowed.strip_suffix('*') {
                Some(start) => model.starts_with(start),
                None => model == allowed,
            })
        })
    }
}

impl Limits {
    fn check(&self) -> Result<(), InvalidField> {
        let mut seen = BTreeSet::new();
        for (at, quota) in self.quotas.iter().enumerate() {
            let field = |name: &str| format!("quotas[{at}].{name}");
            if quota.measure == Measure::ConcurrentRequests {
                let expected = "must be a measure of a window; use `concurrent_requests` instead";
                return Err(InvalidField::new(field("measure"), expected));
            }
            if quota.window.as_millis() < 1 || quota.window.as_secs() > LONGEST_WINDOW {
                let expected = "must be between 0.001 and 31536000 seconds";
                return Err(InvalidField::new(field("window"), expected));
            }
        }
        for quota in self.all() {
            if !seen.insert((quota.measure, quota.window)) {
                let expected = "must have one limit for each measure and window";
                return Err(InvalidField::new("quotas", expected));
            }
        }
        if seen.len() > MOST_QUOTAS {
            let expected = format!("must have at most {MOST_QUOTAS} windows");
            return Err(InvalidField::new("quotas", expected));
        }
        Ok(())
    }
}

/// A key as files have it. `flatten` would accept unknown fields.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FlatKey {
    name: String,
    sha256: KeyDigest,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    weight: Option<f64>,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default)]
    limits: Limits,
}

#[cfg(feature = "serde")]
impl From<FlatKey> for KeyConfig {
    fn from(key: FlatKey) -> Self {
        let FlatKey { name, sha256, tenant, priority, weight, models, limits } = key;
        Self { name, sha256, access: Access { tenant, priority, weight, models, limits } }
    }
}

#[cfg(feature = "serde")]
impl From<KeyConfig> for FlatKey {
    fn from(key: KeyConfig) -> Self {
        let Access { tenant, priority, weight, models, limits } = key.access;
        Self { name: key.name, sha256: key.sha256, tenant, priority, weight, models, limits }
    }
}

/// A year in seconds.
const LONGEST_WINDOW: u64 = 31_536_000;
const MOST_QUOTAS: usize = 16;
