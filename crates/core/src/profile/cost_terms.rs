//! The cost of an endpoint, term by term.

use crate::time::Seconds;

/// The cost of one endpoint for one request, term by term, in seconds. Prices are included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CostTerms {
    /// Booked prefill before the request's turn.
    pub queue: Seconds,
    /// Waiting for room in the KV cache.
    pub kv_admission_wait: Seconds,
    /// The request's own prefill, or the transfer of its KV cache if another endpoint prefills.
    pub prefill: Seconds,
    /// Recomputation by other sessions whose blocks the request evicts.
    pub cache_eviction: Seconds,
    /// The share of the KV cache in use with the request.
    pub kv: Seconds,
    /// Delay of running answers during the prefill.
    pub decode: Seconds,
    /// Time to load adapters.
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
        // One check for NaN at the end instead of one per term.
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
