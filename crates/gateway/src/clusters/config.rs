//! What a host configures: pools, the clusters that export them, and what balances the load.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise::Seconds;

/// The configuration of [`Clusters`](super::Clusters).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ClustersConfig {
    /// The imported pools.
    pub pools: Vec<ImportedPool>,
    /// Seconds after its last report at which an export counts as silent; 10 by default.
    pub silent_after: Seconds,
    /// Consecutive failures after which an export gets no requests; 3 by default.
    pub failures: u32,
    /// Seconds for which a failing export gets no requests; 10 by default.
    pub backoff: Seconds,
    /// Seconds in which the share of a returning export grows from 0 to 1; 60 by default, 0 returns
    /// it at once.
    pub ramp: Seconds,
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
            pools: Vec::new(),
            silent_after: Seconds::new(10.0),
            failures: 3,
            backoff: Seconds::new(10.0),
            ramp: Seconds::new(60.0),
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
    /// The region of the cluster, for reports.
    pub region: String,
    /// The network round trip from here to the cluster.
    pub network_time: Seconds,
    /// Prompt tokens that one of its endpoints computes in a second; 10,000 by default.
    pub prefill_rate: f64,
    /// What counts as load, and the target.
    pub balance: Balance,
}

impl Export {
    /// An export at a network round trip from here, with a target of 60 % of its KV cache.
    pub fn new(cluster: &str, network_time: Seconds) -> Self {
        Self { cluster: cluster.to_owned(), network_time, ..Self::default() }
    }
}

impl Default for Export {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            region: String::new(),
            network_time: Seconds::ZERO,
            prefill_rate: 10_000.0,
            balance: Balance::default(),
        }
    }
}

/// What counts as load: utilisation by metrics, or requests in flight. The two exclude each other.
///
/// Empty, the KV cache counts, with a target of 60 %.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Balance {
    /// The metrics. Of several that are not in dry run, the largest in relation to its target is
    /// the load.
    pub metrics: Vec<BalanceMetric>,
    /// The target of requests in flight for each ready endpoint.
    pub max_in_flight_per_endpoint: Option<u32>,
}

impl Balance {
    /// Balances by requests in flight.
    pub fn in_flight(per_endpoint: u32) -> Self {
        Self { metrics: Vec::new(), max_in_flight_per_endpoint: Some(per_endpoint) }
    }

    /// The same balance, with the default metric if it names none.
    pub(super) fn resolved(mut self) -> Self {
        if self.metrics.is_empty() && self.max_in_flight_per_endpoint.is_none() {
            self.metrics.push(BalanceMetric::default());
        }
        self
    }
}

/// A utilisation that is reported, and its target.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct BalanceMetric {
    /// The name of the signal; `kv_cache` by default.
    pub name: String,
    /// The metrics' names, which differ by engine and version. The first one that a report has
    /// counts.
    pub reported_as: Vec<String>,
    /// The target, as a share in (0, 1]; 0.6 by default.
    pub max_utilization: f64,
    /// Whether the metric only reports what it would have decided.
    pub dry_run: bool,
}

impl Default for BalanceMetric {
    fn default() -> Self {
        Self {
            name: "kv_cache".to_owned(),
            reported_as: KV_CACHE.map(ToOwned::to_owned).into(),
            max_utilization: 0.6,
            dry_run: false,
        }
    }
}

/// The KV utilisation of vLLM, of its older versions, of SGLang, and of the reference's pools.
const KV_CACHE: [&str; 4] = [
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "llm_d_epp_average_kv_cache_utilization",
];
