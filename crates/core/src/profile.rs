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
//! [`CostWeights`].

use crate::time::Seconds;

/// The prices of the default profile.
///
/// The defaults were chosen on halves of recorded traces and confirmed on the other halves; `docs/` has the ablations.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct CostWeights {
    /// Price of a second of waiting for my turn.
    pub queue: f64,
    /// Price of a second of waiting for room in a full KV cache.
    pub room: f64,
    /// Price of a second of my own prefill. Above 1, because that second is taken from the fleet too: at half load,
    /// `1 / (1 - 0.5)`. 2 to 3 do equally well.
    pub prefill: f64,
    /// Price of a second that others must spend on recomputing what I evict. 3 to 5 do equally well.
    pub eviction: f64,
    /// Share of the cache that the warm working set may fill before an eviction is thought to hit it, below 1.
    pub eviction_onset: f64,
    /// Price of the whole KV cache; a request pays for the share that is in use with it.
    pub kv: Seconds,
    /// Price of delaying one running answer by a second.
    pub decode: f64,
    /// Longest prefill that the decode term counts: without a cap, long prompts would flee from running answers into
    /// long queues.
    pub decode_cap: Seconds,
    /// Price of a second of loading adapters.
    pub adapter: f64,
}

impl Default for CostWeights {
    fn default() -> Self {
        Self {
            queue: 1.0,
            room: 1.0,
            prefill: 2.0,
            eviction: 4.0,
            eviction_onset: 0.7,
            kv: Seconds::new(4.0),
            decode: 0.03,
            decode_cap: Seconds::new(2.0),
            adapter: 1.0,
        }
    }
}

/// What is known about sending one request to one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Booked prefill before its turn.
    pub(crate) wait: Seconds,
    /// Waiting for room in the KV cache.
    pub(crate) room: Seconds,
    /// Its own prefill there.
    pub(crate) work: Seconds,
    /// What as many tokens as it brings cost to compute elsewhere, on an average endpoint.
    pub(crate) recompute: Seconds,
    /// Probability that a cached token is wanted again.
    pub(crate) reuse: f64,
    /// Tokens that it brings into the cache.
    pub(crate) miss: f64,
    /// Tokens of its prompt.
    pub(crate) tokens: f64,
    /// Tokens in the cache that were used lately.
    pub(crate) warm: f64,
    /// Tokens of requests in flight.
    pub(crate) kv_tokens: f64,
    /// Tokens that fit into the cache.
    pub(crate) capacity: f64,
    /// Answers that are being written.
    pub(crate) running: f64,
    /// Loading its adapter, and loading back what that displaces.
    pub(crate) adapter: Seconds,
    /// Until it is trusted again.
    pub(crate) held_off: Seconds,
}

/// What a cached block is worth that is not in the accelerator's memory: the share of its prefill that need not be spent, 1 if loading it
/// costs nothing, 0 if it might as well be computed.
///
/// The defaults are those of llm-d's tier-aware scorer for the host's memory, and a guess for disks. They depend on the bus and on the model:
/// loading costs its KV bytes, computing its FLOPs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct TierWeights {
    /// In the host's memory.
    pub cpu: f64,
    /// On disk, or in storage over the network.
    pub disk: f64,
}

impl Default for TierWeights {
    fn default() -> Self {
        Self { cpu: 0.8, disk: 0.5 }
    }
}

impl TierWeights {
    /// The name of the first weight that is not one, if any.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let weights = [("tiers.cpu", self.cpu), ("tiers.disk", self.disk)];
        weights.into_iter().find(|(_, weight)| !(0.0..=1.0).contains(weight)).map(|(name, _)| name)
    }
}

/// The cost of one endpoint for one request, term by term, with the prices already on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Terms {
    /// Booked prefill before my turn.
    pub queue: Seconds,
    /// Waiting for room in the KV cache.
    pub room: Seconds,
    /// My own prefill.
    pub prefill: Seconds,
    /// What others must compute again because of me.
    pub eviction: Seconds,
    /// The share of the KV cache that is in use with me.
    pub kv: Seconds,
    /// Running answers that stand still while I prefill.
    pub decode: Seconds,
    /// Loading adapters.
    pub adapter: Seconds,
    /// Time until an endpoint that failed is trusted again.
    pub recovery: Seconds,
}

impl Terms {
    /// The cost: the sum of the terms.
    pub fn total(&self) -> Seconds {
        let Self { queue, room, prefill, eviction, kv, decode, adapter, recovery } = self;
        // One look for a NaN at the end, not one a term.
        let terms = [queue, room, prefill, eviction, kv, decode, adapter, recovery];
        Seconds::new(terms.into_iter().map(|term| term.get()).sum())
    }
}

impl CostWeights {
    /// Prices the facts.
    pub(crate) fn terms(&self, facts: &Facts) -> Terms {
        Terms {
            queue: facts.wait * self.queue,
            room: facts.room * self.room,
            prefill: facts.work * self.prefill,
            eviction: facts.recompute * (self.eviction * facts.reuse * self.eviction_risk(facts)),
            kv: self.kv * ((facts.kv_tokens + facts.tokens) / facts.capacity),
            decode: facts.work.min(self.decode_cap) * (self.decode * facts.running),
            adapter: facts.adapter * self.adapter,
            recovery: facts.held_off,
        }
    }

    /// No more than [`terms`](Self::terms) add up to, in seconds, where the request waits at least `wait` for its turn, its own prefill
    /// takes at least `work`, the KV cache has at least `kv_tokens` tokens in it without its own `tokens`, and at least `running`
    /// answers are being written: the terms that are never below zero are left out, and the others no larger.
    #[inline]
    pub(crate) fn at_least(
        &self,
        wait: f64,
        work: Seconds,
        kv_tokens: f64,
        tokens: f64,
        capacity: f64,
        running: f64,
    ) -> f64 {
        let prefill = (work * self.prefill).get();
        let decode = (work.min(self.decode_cap) * (self.decode * running)).get();
        wait * self.queue + prefill + self.kv.get() * ((kv_tokens + tokens) / capacity) + decode
    }

    /// How likely a block that the request pushes out is still warm: 0 while the warm working set and the new tokens stay
    /// below the onset, 1 once they fill the cache.
    fn eviction_risk(&self, facts: &Facts) -> f64 {
        let onset = self.eviction_onset * facts.capacity;
        ((facts.warm + facts.miss - onset) / (facts.capacity - onset)).clamp(0.0, 1.0)
    }

    /// The name of the first price that is not one, if any.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let prices = [
            ("weights.queue", self.queue),
            ("weights.room", self.room),
            ("weights.prefill", self.prefill),
            ("weights.eviction", self.eviction),
            ("weights.kv", self.kv.get()),
            ("weights.decode", self.decode),
            ("weights.decode_cap", self.decode_cap.get()),
            ("weights.adapter", self.adapter),
        ];
        let bad = prices.into_iter().find(|(_, price)| !(price.is_finite() && *price >= 0.0));
        let onset = (0.0..1.0).contains(&self.eviction_onset);
        bad.map(|(name, _)| name).or_else(|| (!onset).then_some("weights.eviction_onset"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { capacity: 100_000.0, tokens: 1_000.0, miss: 1_000.0, ..Facts::default() }
    }

    #[test]
    fn an_eviction_costs_nothing_until_the_warm_set_nears_the_capacity() {
        let weights = CostWeights::default();
        let eviction = |warm: f64, reuse: f64| {
            let facts = Facts { warm, reuse, recompute: Seconds::new(1.0), ..facts() };
            weights.terms(&facts).eviction.get()
        };
        assert!(eviction(69_000.0, 1.0).abs() < 1e-9);
        assert!((eviction(84_000.0, 0.5) - 4.0 * 0.5 * 0.5).abs() < 1e-9);
        assert!((eviction(500_000.0, 1.0) - 4.0).abs() < 1e-9);
        assert!(eviction(500_000.0, 0.0).abs() < 1e-9, "nobody wants it back");
    }

    #[test]
    fn long_prompts_do_not_flee_from_running_answers() {
        let weights = CostWeights::default();
        let decode = |work: f64| {
            let facts = Facts { work: Seconds::new(work), running: 10.0, ..facts() };
            weights.terms(&facts).decode.get()
        };
        assert!((decode(1.0) - 0.3).abs() < 1e-9);
        assert!((decode(2.0) - decode(60.0)).abs() < 1e-9);
    }

    #[test]
    fn bad_prices_are_named() {
        let bad = |change: fn(&mut CostWeights)| {
            let mut weights = CostWeights::default();
            change(&mut weights);
            weights.invalid()
        };
        assert_eq!(bad(|_| {}), None);
        assert_eq!(bad(|w| w.eviction = f64::NAN), Some("weights.eviction"));
        assert_eq!(bad(|w| w.kv = Seconds::new(-1.0)), Some("weights.kv"));
        assert_eq!(bad(|w| w.eviction_onset = 1.0), Some("weights.eviction_onset"));
    }
}
