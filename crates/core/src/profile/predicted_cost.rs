//! The default profile: which endpoint costs the least, all in seconds.
//!
//! ```text
//! cost = queue + room + prefill + eviction + kv + decode + adapter + recovery
//!
//! queue     Q                       booked prefill before my turn
//! room      M / V                   waiting for room in the KV cache: what is missing, over what leaves a second
//! prefill   2 · w                   my own prefill here, at a price that counts what it takes from everyone
//! eviction  4 · H · φ · recompute   what other sessions must compute again because I push them out
//! kv        4 s · (K + in) / cap    a full cache decodes slowly and makes me wait for blocks
//! decode    0.03 · B · min(w, 2 s)  each running answer stands still while I prefill
//! adapter   1 · L                   loading my adapter, and loading back the one that it displaces
//! recovery  R                       time until an endpoint that failed is trusted again
//! ```
//!
//! One unit means no weights to tune to a workload: the factors are prices, not votes. Each is explained at its field in
//! [`CostPrices`].

use super::cost_inputs::{CostInputs, LeastFacts};
use super::cost_terms::CostTerms;
use super::prices::CostPrices;
use super::{CostBound, Profile};
use crate::endpoint::EndpointId;
use crate::time::Seconds;

/// The default profile, at these prices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PredictedCost<'a>(pub(crate) &'a CostPrices);

impl Profile for PredictedCost<'_> {
    type Bound = CostPrices;

    #[inline]
    fn terms(&self, facts: &CostInputs) -> CostTerms {
        self.0.terms(facts)
    }

    #[inline]
    fn cost(&self, _: EndpointId, terms: &CostTerms) -> Seconds {
        terms.total()
    }

    #[inline]
    fn bound(&self) -> Option<&CostPrices> {
        Some(self.0)
    }
}

impl CostBound for CostPrices {
    /// The terms that are never below zero are left out, and the others are no larger than in
    /// [`terms`](Self::terms).
    #[inline(always)]
    fn at_least(&self, least: &LeastFacts) -> f64 {
        let LeastFacts { wait, work, tokens, kv_tokens, capacity, running } = *least;
        let prefill = (work * self.prefill).get();
        let decode = (work.min(self.decode_cap) * (self.decode * running)).get();
        wait * self.queue + prefill + self.kv.get() * ((kv_tokens + tokens) / capacity) + decode
    }
}

impl CostPrices {
    /// Prices the facts.
    pub(crate) fn terms(&self, facts: &CostInputs) -> CostTerms {
        CostTerms {
            queue: facts.wait * self.queue,
            kv_admission_wait: facts.room * self.kv_admission_wait,
            prefill: facts.work * self.prefill,
            cache_eviction: facts.recompute
                * (self.cache_eviction * facts.reuse * self.eviction_risk(facts)),
            kv: self.kv * ((facts.kv_tokens + facts.tokens) / facts.capacity),
            decode: facts.work.min(self.decode_cap) * (self.decode * facts.running),
            adapter: facts.adapter * self.adapter,
            failure_backoff: facts.backoff_remaining,
        }
    }

    /// How likely a block that the request pushes out is still warm: 0 while the warm working set and the new tokens stay
    /// below the onset, 1 once they fill the cache.
    fn eviction_risk(&self, facts: &CostInputs) -> f64 {
        let onset = self.cache_eviction_onset * facts.capacity;
        ((facts.warm + facts.miss - onset) / (facts.capacity - onset)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> CostInputs {
        CostInputs { capacity: 100_000.0, tokens: 1_000.0, miss: 1_000.0, ..CostInputs::default() }
    }

    #[test]
    fn an_eviction_costs_nothing_until_the_warm_set_nears_the_capacity() {
        let weights = CostPrices::default();
        let eviction = |warm: f64, reuse: f64| {
            let facts = CostInputs { warm, reuse, recompute: Seconds::new(1.0), ..facts() };
            weights.terms(&facts).cache_eviction.get()
        };
        assert!(eviction(69_000.0, 1.0).abs() < 1e-9);
        assert!((eviction(84_000.0, 0.5) - 4.0 * 0.5 * 0.5).abs() < 1e-9);
        assert!((eviction(500_000.0, 1.0) - 4.0).abs() < 1e-9);
        assert!(eviction(500_000.0, 0.0).abs() < 1e-9, "nobody wants it back");
    }

    #[test]
    fn long_prompts_do_not_flee_from_running_answers() {
        let weights = CostPrices::default();
        let decode = |work: f64| {
            let facts = CostInputs { work: Seconds::new(work), running: 10.0, ..facts() };
            weights.terms(&facts).decode.get()
        };
        assert!((decode(1.0) - 0.3).abs() < 1e-9);
        assert!((decode(2.0) - decode(60.0)).abs() < 1e-9);
    }
}
