//! The cost of a prefill on given hardware, in seconds.

use core::num::NonZeroU32;

use crate::time::Seconds;

/// The prefill time of an idle server: linear in the tokens to compute, plus attention, which grows
/// with every token before them.
///
/// `work = per_token * miss + per_pair * miss * (hit + miss / 2)`, with `hit` cached tokens and
/// `miss` tokens to compute. The speed of each endpoint relative to this is learned from its first
/// tokens. So the *shape* matters here, and the scale only for the first seconds of work.
///
/// ```
/// use slotwise::{PrefillCost, Seconds};
///
/// let cost = PrefillCost::default();
/// let cold = cost.work(8_000, 0);
/// let warm = cost.work(1_000, 7_000);
/// assert!(warm < cold * 0.25);
/// assert_eq!(cost.work(0, 8_000), Seconds::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PrefillCost {
    /// Seconds for each computed token.
    pub per_token: Seconds,
    /// Seconds for each pair of a computed token and a token that it attends to.
    pub per_pair: Seconds,
    /// Constant seconds for each step of the engine.
    pub per_step: Seconds,
    /// The least seconds of matrix work in a step: reading the weights once.
    pub min_step: Seconds,
    /// Tokens computed in a step (`max_num_batched_tokens`).
    pub chunk: NonZeroU32,
}

impl Default for PrefillCost {
    /// An 8B model on one H100.
    fn default() -> Self {
        Self::new(Seconds::new(23e-6), Seconds::new(1.33e-9))
    }
}

impl PrefillCost {
    /// The two main coefficients; the overheads of steps are those of an H100.
    pub const fn new(per_token: Seconds, per_pair: Seconds) -> Self {
        Self {
            per_token,
            per_pair,
            per_step: Seconds::new(2.5e-3),
            min_step: Seconds::new(6.4e-3),
            chunk: NonZeroU32::new(2_048).expect("2,048 is not zero"),
        }
    }

    /// Sets the overheads of the engine's steps: constant time, least matrix time, and tokens for
    /// each step.
    pub const fn steps(self, per_step: Seconds, min_step: Seconds, chunk: NonZeroU32) -> Self {
        Self { per_step, min_step, chunk, ..self }
    }

    /// Seconds to compute `miss` tokens after `hit` tokens that are cached.
    pub fn work(&self, miss: u32, hit: u32) -> Seconds {
        let (miss, hit) = (f64::from(miss), f64::from(hit));
        self.per_token * miss + self.per_pair * (miss * (hit + miss / 2.0))
    }

    /// [`work`](Self::work) with the overheads of the steps: the time to the first token on an idle
    /// server.
    ///
    /// Without the overheads, a short prompt would suggest a slow server.
    pub(crate) fn service(&self, miss: u32, hit: u32) -> Seconds {
        let steps = 1.0 + f64::from(miss / self.chunk);
        let idle = (self.min_step - self.per_token * f64::from(miss)).get().max(0.0);
        self.work(miss, hit) + self.per_step * steps + Seconds::new(idle)
    }

    /// Mean seconds to compute one token of a prompt of `tokens` tokens.
    pub(crate) fn per_token_of(&self, tokens: u32) -> Seconds {
        self.per_token + self.per_pair * (f64::from(tokens) / 2.0)
    }

    /// Whether all coefficients lie between zero and a second, with some cost a token.
    pub(crate) fn is_valid(&self) -> bool {
        let parts = [self.per_token, self.per_pair, self.per_step, self.min_step];
        parts.iter().all(|part| (0.0..=1.0).contains(&part.get())) && self.per_token > Seconds::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_cost_as_much_as_the_whole() {
        let cost = PrefillCost::default();
        let whole = cost.work(10_000, 0);
        let halves = cost.work(5_000, 0) + cost.work(5_000, 5_000);
        assert!((whole - halves).get().abs() < 1e-12);
    }

    #[test]
    fn service_never_takes_less_than_one_step() {
        let cost = PrefillCost::default();
        assert!(cost.service(1, 0) >= cost.per_step + cost.min_step);
        assert!(cost.service(u32::MAX, u32::MAX).get().is_finite());
    }
}
