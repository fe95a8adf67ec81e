//! The reference's scorers, one a file.

mod kv_cache_utilization;
mod queue;

pub use kv_cache_utilization::KvCacheUtilizationScorer;
pub use queue::QueueScorer;

use super::registry::plugin_family;
use super::scorer::Scorer;

plugin_family! {
    /// A scorer by its name in the reference, with its parameters.
    ScorerPlugin: Scorer {
        "queue-scorer" => Queue(QueueScorer),
        "kv-cache-utilization-scorer" => KvCacheUtilization(KvCacheUtilizationScorer),
    }
}
