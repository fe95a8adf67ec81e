//! The cost of an endpoint, term by term.

use crate::time::Seconds;

/// The cost of one endpoint for one request, term by term, with the prices already on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CostTerms {
    /// Booked prefill before my turn.
    pub queue: Seconds,
    /// Waiting for room in the KV cache.
    pub kv_admission_wait: Seconds,
    /// My own prefill.
    pub prefill: Seconds,
    /// What others must compute again because of me.
    pub cache_eviction: Seconds,
    /// The share of the KV cache that is in use with me.
    pub kv: Seconds,
    /// Running answers that stand still while I prefill.
    pub decode: Seconds,
    /// Loading adapters.
    pub adapter: Seconds,
    /// Time until an endpoint that failed is trusted again.
    pub failure_backoff: Seconds,
}

impl CostTerms {
    /// The cost: the sum of the terms.
    pub fn total(&self) -> Seconds {
        let Self {
            queue,
            kv_admission_wait,
            prefill,
            cache_eviction,
            kv,
            decode,
            adapter,
            failure_backoff,
        } = self;
        // One look for a NaN at the end, not one a term.
        let terms = [
            queue,
            kv_admission_wait,
            prefill,
            cache_eviction,
            kv,
            decode,
            adapter,
            failure_backoff,
        ];
        Seconds::new(terms.into_iter().map(|term| term.get()).sum())
    }
}
