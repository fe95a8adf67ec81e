//! Requests that leave the queue without a dispatch.

use super::Queueing;
use super::queued_request::QueuedRequest;
use crate::decision::{EvictReason, Evicted, NO_ENDPOINTS_RETRY};
use crate::fleet::Fleet;
use crate::flow::{Eviction, Ticket};
use crate::time::Instant;

impl Queueing {
    /// The next request that was displaced or has expired.
    pub(super) fn next_evicted(&mut self, fleet: &Fleet, in_flight: usize) -> Option<Evicted> {
        let mut evicted = self.waiting.next_evicted()?;
        Some(self.evict(fleet, in_flight, &mut evicted.what, evicted.reason.into()))
    }

    pub(crate) fn evict(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        queued: &mut QueuedRequest,
        reason: EvictReason,
    ) -> Evicted {
        let now = fleet.now;
        self.tickets.remove(queued.id.0);
        self.loads.remove(queued);
        let empty = fleet.pool.len() == 0;
        let reason = match reason {
            EvictReason::TtlExpired if empty => EvictReason::NoEndpoints,
            EvictReason::TtlExpired if queued.is_late(now) => EvictReason::DeadlineUnreachable,
            other => other,
        };
        let wait = || self.expected_wait(fleet, queued.charge.priority).to_duration();
        let retry_after = match reason {
            _ if empty => Some(NO_ENDPOINTS_RETRY),
            EvictReason::TtlExpired | EvictReason::Displaced => Some(self.next_slot(
                fleet,
                in_flight,
                queued.charge.priority,
                queued.charge.work,
                wait(),
            )),
            EvictReason::TooLarge | EvictReason::ThreadNotFound => None,
            EvictReason::NoEndpoints | EvictReason::DeadlineUnreachable => Some(wait()),
        };
        Evicted {
            request_id: queued.id,
            reason,
            retry_after,
            queue_time: now.saturating_since(queued.since),
        }
    }

    /// While the pool is empty: the oldest queued request, and when it is evicted.
    pub(super) fn stranded(&self, fleet: &Fleet) -> Option<(Instant, Ticket)> {
        let empty_since = self.empty_since?;
        let ticket = self.tickets.first()?;
        let since = self.waiting.get(ticket)?.since.max(empty_since);
        Some((since + fleet.config.flow.no_endpoint_ttl, ticket))
    }

    /// Evicts the oldest request whose time in an empty pool has run out.
    pub(super) fn next_stranded(&mut self, fleet: &Fleet, in_flight: usize) -> Option<Evicted> {
        let (_, ticket) = self.stranded(fleet).filter(|(at, _)| *at <= fleet.now)?;
        let mut queued = self.waiting.remove(fleet.now, ticket)?;
        Some(self.evict(fleet, in_flight, &mut queued, EvictReason::NoEndpoints))
    }
}

impl From<Eviction> for EvictReason {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::Displaced => Self::Displaced,
            Eviction::Expired => Self::TtlExpired,
        }
    }
}
