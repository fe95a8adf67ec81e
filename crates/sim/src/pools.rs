//! Pools of replicas that prefill and decode, and the network between them.

use std::time::Duration;

use slotwise::{Instant, KvTransferCost};

/// The roles of the replicas: the first ones prefill, the next ones decode, the others do both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pools {
    /// Replicas that only prefill for others.
    pub prefill: usize,
    /// Replicas that do not prefill for others.
    pub decode: usize,
    /// The cost of moving a prompt's KV cache between replicas.
    pub transfer: KvTransferCost,
}

/// The network ports of the replicas, each of which moves one prompt at a time.
#[derive(Debug)]
pub(crate) struct Network {
    cost: KvTransferCost,
    free_at: Vec<Instant>,
}

impl Network {
    pub(crate) fn new(cost: KvTransferCost, replicas: usize) -> Self {
        Self { cost, free_at: vec![Instant::ORIGIN; replicas] }
    }

    /// Moves this many tokens as soon as both ports are free; returns the time of arrival.
    pub(crate) fn move_tokens(
        &mut self,
        now: Instant,
        from: usize,
        to: usize,
        tokens: u32,
    ) -> Instant {
        let start = now.max(self.free_at[from]).max(self.free_at[to]);
        let end = start + Duration::from_secs_f64(self.cost.seconds(tokens).get());
        (self.free_at[from], self.free_at[to]) = (end, end);
        end
    }
}
