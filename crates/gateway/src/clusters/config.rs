//! What a host configures: clusters, pools, and which cluster exports which pool.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::Seconds;

use super::balancing::Balancing;
use super::scorers::ClusterScorers;

/// The configuration of [`Clusters`](super::Clusters).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ClustersConfig {
    /// The clusters. With at least one, each export is of a cluster that is listed.
    pub members: Vec<Cluster>,
    /// The cluster that holds the routing; the others' network times are measured from there.
    pub routing: Option<String>,
    /// The imported pools.
    pub pools: Vec<ImportedPool>,
    /// Weights by which the reference's scorers choose. `None` chooses by distance, target and
    /// cost.
    pub scorers: Option<ClusterScorers>,
    /// Seconds after its last report at which an export counts as silent; 10 by default.
    pub silent_after: Seconds,
    /// Consecutive failures after which an export gets no requests; 3 by default.
    pub failures: u32,
    /// Seconds for which a failing export gets no requests; 10 by default.
    pub backoff: Seconds,
    /// Seconds in which the share of a returning export grows from 0 to 1; 60 by default, 0 returns
    /// it at once.
    pub ramp: Seconds,
    /// Seconds of predicted wait at which an export counts as full, whatever its load; 0.25 by
    /// default.
    pub max_wait: Seconds,
    /// The load, in relation to the target, up to which a request stays where its prefix is; 1.25
    /// by default.
    pub prefix_headroom: f64,
    /// Seconds for which the last cluster of a session counts as holding its prefix; 300 by
    /// default.
    pub prefix_lifetime: Seconds,
    /// The most sessions whose last cluster is kept; 65,536 by default.
    pub max_sessions: usize,
}

impl Default for ClustersConfig {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            routing: None,
            pools: Vec::new(),
            scorers: None,
            silent_after: Seconds::new(10.0),
            failures: 3,
            backoff: Seconds::new(10.0),
            ramp: Seconds::new(60.0),
            max_wait: Seconds::new(0.25),
            prefix_headroom: 1.25,
            prefix_lifetime: Seconds::new(300.0),
            max_sessions: 65_536,
        }
    }
}

impl ClustersConfig {
    /// Adds a pool, and returns it to be described.
    pub fn pool(&mut self, name: &str) -> &mut ImportedPool {
        self.pools.push(ImportedPool { name: name.to_owned(), ..ImportedPool::default() });
        self.pools.last_mut().expect("one was added")
    }
}

/// A cluster, as the one that holds the routing sees it.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Cluster {
    /// The name, unique among clusters.
    pub name: String,
    /// Its region, for reports.
    pub region: String,
    /// The network round trip to the cluster.
    pub network_time: Seconds,
}

impl Cluster {
    /// A cluster at a network round trip from here.
    pub fn new(name: &str, network_time: Seconds) -> Self {
        Self { name: name.to_owned(), region: String::new(), network_time }
    }
}

/// An `InferencePoolImport`: a pool that clusters export.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ImportedPool {
    /// The name, unique among pools.
    pub name: String,
    /// The time-out of its requests, which [`Clusters::timeout_hint`] checks.
    ///
    /// [`Clusters::timeout_hint`]: super::Clusters::timeout_hint
    pub timeout: Option<Seconds>,
    /// What counts as load in exports that do not state it.
    pub balancing: Balancing,
    /// The clusters that export it.
    pub exports: Vec<Export>,
}

impl ImportedPool {
    /// Adds an export at a network round trip from here.
    pub fn export(&mut self, cluster: &str, network_time: Seconds) -> &mut Self {
        self.exports.push(Export::new(cluster, network_time));
        self
    }
}

/// A pool's endpoints in one cluster.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Export {
    /// The name of the cluster, unique within the pool.
    pub cluster: String,
    /// The region of the cluster, for reports; that of the member by default.
    pub region: Option<String>,
    /// The network round trip from here to the cluster; that of the member by default.
    pub network_time: Option<Seconds>,
    /// Prompt tokens that one of its endpoints computes in a second; 10,000 by default.
    pub prefill_rate: f64,
    /// What counts as load, and the target; that of the pool by default.
    pub balancing: Balancing,
    /// Where the host sends the cluster's requests: its gateway or its endpoints. Their number is
    /// that of the ready endpoints in reports without one.
    pub endpoints: Vec<String>,
}

impl Export {
    /// An export at a network round trip from here, balanced as its pool.
    pub fn new(cluster: &str, network_time: Seconds) -> Self {
        let network_time = Some(network_time);
        Self { cluster: cluster.to_owned(), network_time, ..Self::default() }
    }

    /// The time in which one of its endpoints computes so many tokens.
    pub(super) fn prefill(&self, tokens: u64) -> Seconds {
        Seconds::new(tokens as f64 / self.prefill_rate)
    }

    /// This export of a pool, with what the cluster and the pool state. Nothing is absent.
    pub(super) fn resolved(mut self, members: &[Cluster], of_pool: &Balancing) -> Self {
        let member = members.iter().find(|member| member.name == self.cluster);
        self.region = self.region.or_else(|| Some(member?.region.clone()));
        self.network_time = self.network_time.or_else(|| Some(member?.network_time));
        self.balancing = self.balancing.resolved(of_pool);
        self
    }
}

impl Default for Export {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            region: None,
            network_time: None,
            prefill_rate: 10_000.0,
            balancing: Balancing::default(),
            endpoints: Vec::new(),
        }
    }
}
