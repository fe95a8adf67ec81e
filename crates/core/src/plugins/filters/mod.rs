//! The reference's filters, one a file.

mod by_label;
mod candidate_subset;
mod concurrency_detector;
mod context_length_aware;
mod endpoint_attribute;
mod header_based_testing;
mod label_selector;
mod prefix_cache_affinity;
mod roles;
mod session_affinity;
mod slo_headroom_tier;
#[cfg(test)]
mod tests;
mod topology_affinity;
mod utilization;
mod utilization_detector;

pub use by_label::ByLabelFilter;
pub use candidate_subset::CandidateSubsetFilter;
pub use concurrency_detector::{ConcurrencyDetectorFilter, ConcurrencyMode};
pub use endpoint_attribute::{
    EndpointAttributeFilter, FilterAlgorithm, OnMissing, Threshold, ThresholdOperator,
};
pub use header_based_testing::HeaderBasedTestingFilter;
pub use label_selector::{LabelOperator, LabelRequirement, LabelSelectorFilter};
pub use prefix_cache_affinity::{PrefixCacheAffinityFilter, TtftSource};
pub use roles::{DecodeFilter, EncodeFilter, PrefillFilter};
pub use slo_headroom_tier::SloHeadroomTierFilter;
pub use topology_affinity::TopologyAffinityFilter;
pub use utilization::{UtilizationCondition, UtilizationFilter, UtilizationMetric};
pub use utilization_detector::UtilizationDetectorFilter;

use super::filter::Filter;
use super::registry::plugin_family;
use super::scorers::ContextLengthAware;
use super::session_affinity::SessionAffinity;

plugin_family! {
    /// A filter by its name in the reference, with its parameters.
    FilterPlugin: Filter {
        "label-selector-filter" => LabelSelector(LabelSelectorFilter),
        "by-label-selector" => ByLabelSelector(LabelSelectorFilter),
        "by-label" => ByLabel(ByLabelFilter),
        "decode-filter" => Decode(DecodeFilter),
        "prefill-filter" => Prefill(PrefillFilter),
        "encode-filter" => Encode(EncodeFilter),
        "candidate-subset-filter" => CandidateSubset(CandidateSubsetFilter),
        "session-affinity-filter" => SessionAffinity(SessionAffinity),
        "multicluster-session-affinity-filter" => MulticlusterSessionAffinity(SessionAffinity),
        "endpoint-attribute-filter" => EndpointAttribute(EndpointAttributeFilter),
        "topology-affinity-filter" => TopologyAffinity(TopologyAffinityFilter),
        "utilization-filter" => Utilization(UtilizationFilter),
        "utilization-detector" => UtilizationDetector(UtilizationDetectorFilter),
        "concurrency-detector" => ConcurrencyDetector(ConcurrencyDetectorFilter),
        "prefix-cache-affinity-filter" => PrefixCacheAffinity(PrefixCacheAffinityFilter),
        "slo-headroom-tier-filter" => SloHeadroomTier(SloHeadroomTierFilter),
        "context-length-aware" => ContextLengthAware(ContextLengthAware),
        "header-based-testing-filter" => HeaderBasedTesting(HeaderBasedTestingFilter),
    }
}
