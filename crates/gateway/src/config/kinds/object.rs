//! What all Kubernetes objects have: metadata, `spec`, and references to pools.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::timestamp::Timestamp;
use crate::config::problem::Problem;
use crate::tree::{self, Node, Value, unknown};

/// An object of a kind with this specification.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "fields without a use are known, and reported as ignored")]
pub(super) struct Object<S> {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: S,
    #[serde(default)]
    status: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the other fields describe the object to Kubernetes")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    generation: IgnoredAny,
    #[serde(default)]
    resource_version: IgnoredAny,
    #[serde(default)]
    uid: IgnoredAny,
    #[serde(default)]
    managed_fields: IgnoredAny,
    #[serde(default)]
    owner_references: IgnoredAny,
    #[serde(default)]
    finalizers: IgnoredAny,
}

impl Metadata {
    /// When the object was created, in seconds since 1970.
    pub(super) fn created(&self) -> Option<u64> {
        self.creation_timestamp.map(|time| time.0)
    }
}

/// A reference to a pool: `poolRef`, `targetRef` or `backendRefs`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a pool has one name in a file, whatever its group")]
pub(super) struct PoolRef {
    #[serde(default)]
    group: Option<String>,
    #[serde(default = "PoolRef::default_kind")]
    kind: String,
    pub(super) name: String,
}

impl PoolRef {
    /// The kinds of pools.
    const KINDS: [&'static str; 3] =
        ["InferencePool", "InferencePoolImport", "GCPInferencePoolImport"];

    fn default_kind() -> String {
        Self::KINDS[0].into()
    }

    /// The name of the pool, which must be one of `pools`.
    pub(super) fn resolve(&self, pools: &[String]) -> Result<String, Problem> {
        resolve(&self.kind, &self.name, pools)
    }
}

/// The name of a pool that a reference has, if there is such a pool.
pub(super) fn resolve(kind: &str, name: &str, pools: &[String]) -> Result<String, Problem> {
    if !PoolRef::KINDS.contains(&kind) {
        let message = format!("must be InferencePool or InferencePoolImport, got {kind:?}");
        return Err(Problem::new(message).in_field("kind"));
    }
    if pools.iter().any(|pool| pool == name) {
        return Ok(name.into());
    }
    let known: Vec<&str> = pools.iter().map(|pool| &**pool).collect();
    Err(Problem::new(unknown("pool", name, &known)).in_field("name"))
}

/// A document of a kind, and what of it is ignored.
pub(super) struct Document<'n> {
    node: &'n Node,
    pub(super) ignored: Vec<Problem>,
}

impl<'n> Document<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self { node, ignored: Vec::new() }
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Ok(tree::read(self.node)?)
    }

    /// The object, without its namespace and status.
    pub(super) fn object<S: DeserializeOwned>(&mut self) -> Result<Object<S>, Problem> {
        let object = self.read()?;
        self.ignore("metadata.namespace", "has no effect; names count without namespaces");
        self.ignore("status", "has no effect; Kubernetes writes it");
        Ok(object)
    }

    pub(super) fn find(&self, path: &str) -> Option<&'n Node> {
        self.node.find(path)
    }

    /// Reports a field as ignored if the document has it.
    pub(super) fn ignore(&mut self, path: &str, reason: &str) {
        let Some(node) = self.find(path) else { return };
        if node.value != Value::Null {
            self.ignored.push(Problem::new(reason).in_field(path).at(node.place));
        }
    }
}
