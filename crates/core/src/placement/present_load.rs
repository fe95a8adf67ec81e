//! The load of an endpoint at the time of a request.

use crate::fleet::Fleet;
use crate::pool::Slot;
use crate::time::{Instant, Seconds};

/// An endpoint's load as costs count it: what this gateway has in flight there, the load of its
/// peers, and the estimate of other clients' load.
#[derive(Clone, Copy, Debug)]
pub(super) struct PresentLoad {
    /// Queued prefill before a new request's turn.
    pub(super) wait: Seconds,
    /// Tokens of live requests in the KV cache.
    pub(super) kv_tokens: f64,
    /// Running answers, each with its weight.
    pub(super) running: f64,
}

impl PresentLoad {
    #[inline]
    pub(super) fn of(fleet: &Fleet, now: Instant, slot: &Slot) -> Self {
        let (capacity, lifetime) = (slot.kv_cache_tokens, fleet.config.report_lifetime);
        let external = slot.reports.external(now, fleet.pool.reports(), capacity, lifetime);
        let answers = external.running * fleet.answers.mean_weight();
        Self {
            wait: slot.wait(now, external, fleet.mean_work.get()),
            kv_tokens: slot.in_flight.kv_tokens() as f64 + external.kv_tokens,
            running: slot.in_flight.weighted_running() + answers,
        }
    }
}
