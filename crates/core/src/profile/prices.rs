//! The prices of the default profile.

use core::time::Duration;

use crate::time::Seconds;

/// The prices of the default profile.
///
/// The defaults were chosen on halves of recorded traces and confirmed on the other halves; `docs/`
/// has the ablations. They are the prices of 2 s to the first token and 0.1 s per output token.
/// [`for_service_level`](Self::for_service_level) returns those of another service level.
///
/// A configuration file may give the service level, and any price that shall not follow from it:
/// `prices: {service_level: {ttft: 5, tpot: 0.05}, prefill: 3}`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "PriceFile")
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
    /// Price of delaying one running answer by a second of the prefill beyond `decode_cap`, for a
    /// queued request while none of lower priority is queued. Such a request can wait, so long
    /// prompts gather on the endpoints with the fewest running answers. It counts answers as
    /// `decode` does.
    pub decode_beyond_cap: f64,
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
            decode_beyond_cap: 0.06,
            adapter: 2.0,
        }
    }
}

/// The least time that a service level can have.
const SHORTEST: Duration = Duration::from_micros(1);

impl CostPrices {
    /// Times of the service level for which the defaults were chosen.
    const TTFT: Duration = Duration::from_secs(2);
    const TPOT: Duration = Duration::from_millis(100);

    /// The prices that follow from a service level: `ttft` to the first token, and `tpot` per
    /// output token after it. A shorter time counts as a microsecond. 2 s and 100 ms give the
    /// defaults, bit for bit. Computes in **O(1)**.
    ///
    /// The unit of all prices is a second of TTFT. A second uses `1 / ttft` of one time of the
    /// level, and a second per token `1 / tpot` of the other, so time per token is worth
    /// `ttft / tpot` times as much. `kv`, `decode` and `decode_beyond_cap`, which price time per
    /// token, are in proportion to that ratio. `decode_cap` is `ttft`. All other prices are of TTFT
    /// alone.
    ///
    /// ```
    /// use core::time::Duration;
    /// use slotwise::CostPrices;
    ///
    /// // Voice: the first token soon, and then no faster than speech.
    /// let voice = CostPrices::for_service_level(
    ///     Duration::from_millis(500),
    ///     Duration::from_millis(200),
    /// );
    /// let usual = CostPrices::default();
    /// assert!((voice.decode - usual.decode / 8.0).abs() < 1e-12);
    /// assert!((voice.decode_cap.get() - 0.5).abs() < 1e-12);
    /// assert!((voice.prefill - usual.prefill).abs() < 1e-12);
    /// ```
    pub fn for_service_level(ttft: Duration, tpot: Duration) -> Self {
        let times = |length: Duration, usual: Duration| {
            length.max(SHORTEST).as_secs_f64() / usual.as_secs_f64()
        };
        let ratio = times(ttft, Self::TTFT) / times(tpot, Self::TPOT);
        let usual = Self::default();
        Self {
            kv: usual.kv * ratio,
            decode: usual.decode * ratio,
            decode_cap: usual.decode_cap * times(ttft, Self::TTFT),
            decode_beyond_cap: usual.decode_beyond_cap * ratio,
            ..usual
        }
    }

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
            ("prices.decode_beyond_cap", self.decode_beyond_cap),
            ("prices.adapter", self.adapter),
        ];
        let bad = prices.into_iter().find(|(_, price)| !(price.is_finite() && *price >= 0.0));
        let onset = (0.0..1.0).contains(&self.cache_eviction_onset);
        bad.map(|(name, _)| name).or_else(|| (!onset).then_some("prices.cache_eviction_onset"))
    }
}

/// The prices of a configuration file; those that are missing follow from the service level.
#[cfg(feature = "serde")]
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PriceFile {
    service_level: ServiceLevel,
    queue: Option<f64>,
    kv_admission_wait: Option<f64>,
    prefill: Option<f64>,
    cache_eviction: Option<f64>,
    cache_eviction_onset: Option<f64>,
    kv: Option<Seconds>,
    decode: Option<f64>,
    decode_cap: Option<Seconds>,
    decode_beyond_cap: Option<f64>,
    adapter: Option<f64>,
}

/// The service level of a file, in seconds.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServiceLevel {
    #[serde(with = "crate::time::as_seconds")]
    ttft: Duration,
    #[serde(with = "crate::time::as_seconds")]
    tpot: Duration,
}

#[cfg(feature = "serde")]
impl Default for ServiceLevel {
    fn default() -> Self {
        Self { ttft: CostPrices::TTFT, tpot: CostPrices::TPOT }
    }
}

#[cfg(feature = "serde")]
impl From<PriceFile> for CostPrices {
    fn from(file: PriceFile) -> Self {
        let ServiceLevel { ttft, tpot } = file.service_level;
        let level = Self::for_service_level(ttft, tpot);
        Self {
            queue: file.queue.unwrap_or(level.queue),
            kv_admission_wait: file.kv_admission_wait.unwrap_or(level.kv_admission_wait),
            prefill: file.prefill.unwrap_or(level.prefill),
            cache_eviction: file.cache_eviction.unwrap_or(level.cache_eviction),
            cache_eviction_onset: file.cache_eviction_onset.unwrap_or(level.cache_eviction_onset),
            kv: file.kv.unwrap_or(level.kv),
            decode: file.decode.unwrap_or(level.decode),
            decode_cap: file.decode_cap.unwrap_or(level.decode_cap),
            decode_beyond_cap: file.decode_beyond_cap.unwrap_or(level.decode_beyond_cap),
            adapter: file.adapter.unwrap_or(level.adapter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_service_level_has_the_default_prices() {
        let usual = CostPrices::for_service_level(CostPrices::TTFT, CostPrices::TPOT);
        assert_eq!(usual, CostPrices::default());
    }

    #[test]
    fn every_service_level_has_valid_prices() {
        let times = [Duration::ZERO, SHORTEST, CostPrices::TTFT, Duration::MAX];
        for (ttft, tpot) in times.into_iter().flat_map(|ttft| times.map(|tpot| (ttft, tpot))) {
            assert_eq!(CostPrices::for_service_level(ttft, tpot).invalid(), None);
        }
    }

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
