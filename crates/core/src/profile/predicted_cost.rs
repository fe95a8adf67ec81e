//! The default profile: the predicted marginal cost of each endpoint, in seconds.
//!
//! ```text
//! cost = queue + kv_admission_wait + prefill + cache_eviction + kv + decode + adapter
//!      + failure_backoff
//!
//! queue              Q                       booked prefill before the request's turn
//! kv_admission_wait  M / V                   wait for KV cache: missing tokens over drain rate
//! prefill            2 · w                   the request's own prefill, priced for the fleet
//! cache_eviction     4 · H · φ · recompute   recomputation of other sessions' evicted blocks
//! kv                 4 s · m · (K + in) / cap   slower decoding, and waits, in a full cache
//! decode             0.03 · B · min(w, 2 s)  delay of each running answer during prefill and load;
//!                    + 0.06 · B · (w - 2 s)  beyond 2 s only for a queued request
//! adapter            2 · L                   loading the adapter, reloading the displaced one
//! failure_backoff    R                       time until the backoff after failures ends
//! ```
//!
//! Where a model's answers have far fewer than 343 tokens, `B` weights them by the inverse of their
//! length, and `m` is below 1: see `cost::AnswerLengths`.
//!
//! All terms have one unit, so the factors are prices that need no tuning per workload. Each is
//! documented at its field in [`CostPrices`].

use super::cost_inputs::{CostInputs, LeastInputs};
use super::cost_terms::CostTerms;
use super::prices::CostPrices;
use super::{CostBound, Profile};
use crate::endpoint::EndpointId;
use crate::pool::FULL_CACHE;
use crate::time::Seconds;

/// The default profile, at these prices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PredictedCost(pub(crate) CostPrices);

impl Profile for PredictedCost {
    type Bound = CostPrices;

    #[inline]
    fn terms(&self, inputs: &CostInputs) -> CostTerms {
        self.0.terms(inputs)
    }

    #[inline]
    fn cost(&self, _: EndpointId, terms: &CostTerms) -> Seconds {
        terms.total()
    }

    #[inline]
    fn bound(&self) -> Option<&CostPrices> {
        Some(&self.0)
    }
}

impl CostBound for CostPrices {
    /// The terms that are never below zero are left out, and the others are no larger than in
    /// [`terms`](Self::terms).
    #[inline(always)]
    fn at_least(&self, least: &LeastInputs) -> f64 {
        let LeastInputs { wait, work, tokens, kv_tokens, capacity, running } = *least;
        let prefill = (work * self.prefill).get();
        let decode = (work.min(self.decode_cap) * (self.decode * running)).get();
        wait * self.queue + prefill + self.kv.get() * ((kv_tokens + tokens) / capacity) + decode
    }

    fn per_load(&self) -> f64 {
        self.queue.min(self.kv.get() / FULL_CACHE)
    }
}

impl CostPrices {
    /// Prices the inputs.
    pub(crate) fn terms(&self, inputs: &CostInputs) -> CostTerms {
        CostTerms {
            queue: inputs.wait * self.queue,
            kv_admission_wait: inputs.room * self.kv_admission_wait,
            prefill: inputs.work * self.prefill,
            cache_eviction: inputs.recompute
                * (self.cache_eviction * inputs.reuse * self.eviction_risk(inputs)),
            kv: self.kv * ((inputs.kv_tokens + inputs.tokens) / inputs.capacity),
            decode: self.decode_cost(inputs),
            adapter: inputs.adapter * self.adapter,
            failure_backoff: inputs.backoff_remaining,
        }
    }

    fn decode_cost(&self, inputs: &CostInputs) -> Seconds {
        let stall = inputs.work + inputs.adapter_load;
        let capped = stall.min(self.decode_cap);
        let cost = capped * (self.decode * inputs.running);
        if !inputs.yields {
            return cost;
        }
        cost + (stall - capped) * (self.decode_beyond_cap * inputs.running)
    }

    /// Probability that an evicted block is warm: 0 while the warm working set and the new tokens
    /// stay below the onset, 1 once they fill the cache.
    fn eviction_risk(&self, inputs: &CostInputs) -> f64 {
        let onset = self.cache_eviction_onset * inputs.capacity;
        ((inputs.warm + inputs.miss - onset) / (inputs.capacity - onset)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> CostInputs {
        CostInputs { capacity: 100_000.0, tokens: 1_000.0, miss: 1_000.0, ..CostInputs::default() }
    }

    #[test]
    fn an_eviction_costs_nothing_until_the_warm_set_nears_the_capacity() {
        let prices = CostPrices::default();
        let eviction = |warm: f64, reuse: f64| {
            let inputs = CostInputs { warm, reuse, recompute: Seconds::new(1.0), ..inputs() };
            prices.terms(&inputs).cache_eviction.get()
        };
        assert!(eviction(69_000.0, 1.0).abs() < 1e-9);
        assert!((eviction(84_000.0, 0.5) - 4.0 * 0.5 * 0.5).abs() < 1e-9);
        assert!((eviction(500_000.0, 1.0) - 4.0).abs() < 1e-9);
        assert!(eviction(500_000.0, 0.0).abs() < 1e-9, "no session reads it again");
    }

    #[test]
    fn long_prompts_do_not_flee_from_running_answers() {
        let prices = CostPrices::default();
        let decode = |work: f64| {
            let inputs = CostInputs { work: Seconds::new(work), running: 10.0, ..inputs() };
            prices.terms(&inputs).decode.get()
        };
        assert!((decode(1.0) - 0.3).abs() < 1e-9);
        assert!((decode(2.0) - decode(60.0)).abs() < 1e-9);
    }

    #[test]
    fn long_prompts_that_wait_prefer_endpoints_with_few_running_answers() {
        let prices = CostPrices::default();
        let decode = |work: f64, yields: bool| {
            let inputs = CostInputs { work: Seconds::new(work), running: 10.0, yields, ..inputs() };
            prices.terms(&inputs).decode.get()
        };
        assert!((decode(1.0, true) - decode(1.0, false)).abs() < 1e-9);
        assert!((decode(7.0, true) - decode(7.0, false) - 10.0 * 0.06 * 5.0).abs() < 1e-9);
    }
}
