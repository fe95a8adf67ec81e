//! The reference's scorers, one a file.

mod active_request;
mod context_length_aware;
mod endpoint_attribute;
mod header_label_affinity;
mod headroom;
mod kv_cache_utilization;
mod latency;
mod load_aware;
mod lora_affinity;
mod mm_embeddings_cache;
mod no_hit_lru;
mod precise_prefix_cache;
mod prefix_cache;
mod queue;
mod relative;
mod running_requests;
mod session_affinity;
mod token_load;
mod topology_affinity;

pub use active_request::ActiveRequestScorer;
pub use context_length_aware::ContextLengthAware;
pub use endpoint_attribute::{
    AttributeAlgorithm, EndpointAttributeScorer, LinearAlgorithm, Normalization,
};
pub use header_label_affinity::HeaderLabelAffinityScorer;
pub use headroom::HeadroomStrategy;
pub use kv_cache_utilization::KvCacheUtilizationScorer;
pub use latency::LatencyScorer;
pub use load_aware::LoadAwareScorer;
pub use lora_affinity::LoraAffinityScorer;
pub use mm_embeddings_cache::MmEmbeddingsCacheScorer;
pub use no_hit_lru::NoHitLruScorer;
pub use precise_prefix_cache::{PrecisePrefixCacheScorer, TierWeight, TierWeights};
pub use prefix_cache::PrefixCacheScorer;
pub use queue::QueueScorer;
pub use running_requests::RunningRequestsSizeScorer;
pub use token_load::TokenLoadScorer;
pub use topology_affinity::TopologyAffinityScorer;

use super::registry::plugin_family;
use super::scorer::Scorer;
use super::session_affinity::SessionAffinity;

plugin_family! {
    /// A scorer by its name in the reference, with its parameters.
    ScorerPlugin: Scorer {
        "queue-scorer" => Queue(QueueScorer),
        "running-requests-size-scorer" => RunningRequestsSize(RunningRequestsSizeScorer),
        "kv-cache-utilization-scorer" => KvCacheUtilization(KvCacheUtilizationScorer),
        "prefix-cache-scorer" => PrefixCache(PrefixCacheScorer),
        "precise-prefix-cache-scorer" => PrecisePrefixCache(PrecisePrefixCacheScorer),
        "lora-affinity-scorer" => LoraAffinity(LoraAffinityScorer),
        "load-aware-scorer" => LoadAware(LoadAwareScorer),
        "active-request-scorer" => ActiveRequest(ActiveRequestScorer),
        "token-load-scorer" => TokenLoad(TokenLoadScorer),
        "context-length-aware" => ContextLengthAware(ContextLengthAware),
        "no-hit-lru-scorer" => NoHitLru(NoHitLruScorer),
        "session-affinity-scorer" => SessionAffinity(SessionAffinity),
        "header-label-affinity-scorer" => HeaderLabelAffinity(HeaderLabelAffinityScorer),
        "endpoint-attribute-scorer" => EndpointAttribute(EndpointAttributeScorer),
        "topology-affinity-scorer" => TopologyAffinity(TopologyAffinityScorer),
        "latency-scorer" => Latency(LatencyScorer),
        "mm-embeddings-cache-scorer" => MmEmbeddingsCache(MmEmbeddingsCacheScorer),
    }
}

/// Runs the examples of the manual.
#[cfg(doctest)]
#[doc = include_str!("../../../../../docs/src/scorers.md")]
mod manual {}
