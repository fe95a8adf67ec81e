//! What can be told of an endpoint's cost without looking closely: never more than it is.
//!
//! Weighing an endpoint takes dozens of figures from all over its state. Most endpoints of a large pool are out of the question
//! at a glance: their queues are long, their caches full. So the few figures that a lower bound needs lie side by side, and are
//! brought up to date whenever the endpoint's account changes.
//!
//! Rounded sums and products of positive numbers never fall when one of them rises. So a bound that is made of the same
//! operations in the same order as the cost, with smaller numbers, is no larger than the cost to the last bit; and where the bound
//! *is* the cost, as on idle endpoints, ties are still ties.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::slot::Slot;
use crate::prefill::PrefillCost;
use crate::time::Seconds;

/// The figures of all endpoints, by slot: one column a figure, so that a loop over endpoints is a loop over numbers.
#[derive(Debug, Default)]
pub(crate) struct Outlines {
    /// The least that a new request waits for its turn, whenever that is asked; infinite in empty slots.
    pub(crate) least_wait: Vec<f64>,
    /// Tokens of our requests in the KV cache.
    pub(crate) kv_tokens: Vec<f64>,
    pub(crate) capacity: Vec<f64>,
    pub(crate) ties: Vec<Tie>,
}

/// What decides between endpoints of the same cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie {
    /// Stands for the endpoint's name.
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

impl Outlines {
    /// Room for one slot more, empty.
    pub(super) fn push(&mut self) {
        self.least_wait.push(f64::INFINITY);
        self.kv_tokens.push(0.0);
        self.capacity.push(1.0);
        self.ties.push(Tie { key: 0, in_flight: 0, block_size: NonZeroU32::MIN });
    }

    /// The slot is empty now.
    pub(super) fn clear(&mut self, slot: u32) {
        self.least_wait[slot as usize] = f64::INFINITY;
    }

    /// The endpoint is as it is.
    pub(super) fn draw(&mut self, slot: &Slot) {
        let at = slot.id.slot as usize;
        self.least_wait[at] = slot.book.least_wait().get();
        self.kv_tokens[at] = slot.book.kv_tokens() as f64;
        self.capacity[at] = f64::from(slot.kv_capacity);
        let (in_flight, block_size) = (slot.book.in_flight(), slot.endpoint.block_size);
        self.ties[at] = Tie { key: slot.key, in_flight, block_size };
    }

    /// The number of slots, used or not.
    pub(crate) fn len(&self) -> usize {
        self.ties.len()
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
