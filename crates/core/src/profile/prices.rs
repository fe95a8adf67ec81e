//! The prices of the default profile.

use crate::time::Seconds;

/// The prices of the default profile.
///
/// The defaults were chosen on halves of recorded traces and confirmed on the other halves; `docs/`
/// has the ablations.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct CostPrices {
    /// Price of a second of queue time.
    pub queue: f64,
    /// Price of a second of waiting for room in a full KV cache.
    pub kv_admission_wait: f64,
    /// Price of a second of the request's own prefill. Above 1, because the fleet loses that second
    /// too: at half load, `1 / (1 - 0.5)`. 2 to 3 perform equally well.
    pub prefill: f64,
    /// Price of a second of recomputing evicted blocks. 3 to 5 perform equally well.
    pub cache_eviction: f64,
    /// Share of the cache that the warm working set may fill before evictions are expected to hit
    /// it; below 1.
    pub cache_eviction_onset: f64,
    /// Price of the whole KV cache; a request pays for the share in use, its own tokens included.
    /// If its model answers in fewer than 171 tokens on average, it pays in proportion to that
    /// length.
    pub kv: Seconds,
    /// Price of delaying one running answer by a second, if its model answers in 171 tokens or
    /// more on average. Where answers have `n` tokens, fewer than 86, the price is `343 / n` times
    /// this one, up to 20 times. Between these lengths it follows a line. A second is `1 / n`
    /// seconds per token of an answer of `n` tokens.
    pub decode: f64,
    /// Longest prefill that the decode term counts. Without a cap, long prompts would prefer long
    /// queues to running answers.
    pub decode_cap: Seconds,
    /// Price of a second of loading adapters.
    pub adapter: f64,
}

impl Default for CostPrices {
    fn default() -> Self {
        Self {
            queue: 1.0,
            kv_admission_wait: 1.0,
            prefill: 2.0,
            cache_eviction: 4.0,
            cache_eviction_onset: 0.7,
            kv: Seconds::new(4.0),
            decode: 0.03,
            decode_cap: Seconds::new(2.0),
            adapter: 2.0,
        }
    }
}

impl CostPrices {
    /// The name of the first invalid price, if any.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let prices = [
            ("prices.queue", self.queue),
            ("prices.kv_admission_wait", self.kv_admission_wait),
            ("prices.prefill", self.prefill),
            ("prices.cache_eviction", self.cache_eviction),
            ("prices.kv", self.kv.get()),
            ("prices.decode", self.decode),
            ("prices.decode_cap", self.decode_cap.get()),
            ("prices.adapter", self.adapter),
        ];
        let bad = prices.into_iter().find(|(_, price)| !(price.is_finite() && *price >= 0.0));
        let onset = (0.0..1.0).contains(&self.cache_eviction_onset);
        bad.map(|(name, _)| name).or_else(|| (!onset).then_some("prices.cache_eviction_onset"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_prices_are_named() {
        let bad = |change: fn(&mut CostPrices)| {
            let mut prices = CostPrices::default();
            change(&mut prices);
            prices.invalid()
        };
        assert_eq!(bad(|_| {}), None);
        assert_eq!(bad(|w| w.cache_eviction = f64::NAN), Some("prices.cache_eviction"));
        assert_eq!(bad(|w| w.kv = Seconds::new(-1.0)), Some("prices.kv"));
        assert_eq!(bad(|w| w.cache_eviction_onset = 1.0), Some("prices.cache_eviction_onset"));
    }
}
