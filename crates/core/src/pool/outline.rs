//! What can be told of an endpoint's cost without looking closely: never more than it is.
//!
//! Weighing an endpoint takes dozens of figures from all over its state. Most endpoints of a large pool are out of the question
//! at a glance: their queues are long, their caches full. So the few figures that a lower bound needs lie side by side, a cache
//! line for two endpoints, and are brought up to date whenever the endpoint's account changes.
//!
//! Rounded sums and products of positive numbers never fall when one of them rises. So a bound that is made of the same
//! operations in the same order as the cost, with smaller numbers, is no larger than the cost to the last bit; and where the bound
//! *is* the cost, as on idle endpoints, ties are still ties.

use core::num::NonZeroU32;

use super::slot::Slot;
use crate::prefill::PrefillCost;
use crate::time::Seconds;

/// The figures of one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    /// The least that a new request waits for its turn, whenever that is asked.
    pub(crate) least_wait: Seconds,
    /// Tokens of our requests in its KV cache.
    pub(crate) kv_tokens: f64,
    pub(crate) capacity: f64,
    /// Stands for its name in tie-breaks.
    pub(crate) key: u64,
    pub(crate) in_flight: u32,
    pub(crate) block_size: NonZeroU32,
}

/// The least that a prompt costs on any endpoint of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cheapest {
    per_token: Seconds,
    per_pair: Seconds,
    factor: f64,
}

impl Outline {
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            least_wait: slot.book.least_wait(),
            kv_tokens: slot.book.kv_tokens() as f64,
            capacity: f64::from(slot.kv_capacity),
            key: slot.key,
            in_flight: slot.book.in_flight(),
            block_size: slot.endpoint.block_size,
        }
    }
}

impl Cheapest {
    /// Of no endpoint at all.
    pub(super) const NONE: Self =
        Self { per_token: Seconds::new(f64::MAX), per_pair: Seconds::new(f64::MAX), factor: f64::MAX };

    /// Of one endpoint more.
    pub(super) fn with(self, slot: &Slot) -> Self {
        Self {
            per_token: self.per_token.min(slot.prefill.per_token),
            per_pair: self.per_pair.min(slot.prefill.per_pair),
            factor: self.factor.min(slot.speed.factor()),
        }
    }

    /// Seconds to compute `miss` tokens after `hit` tokens that are cached, on the fastest endpoint.
    pub(crate) fn work(&self, miss: u32, hit: u32) -> Seconds {
        PrefillCost::new(self.per_token, self.per_pair).work(miss, hit) * self.factor
    }
}
