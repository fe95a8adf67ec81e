//! Prefill whose end is not reported.
//!
//! A whole answer comes at its end, and its first token is never seen. Until then its prefill would
//! count as queued, and an endpoint with a few such answers would look full. So its prefill ends by
//! the clock: it takes as long as predicted from the turn of its request on.

use super::Pool;
use crate::endpoint::EndpointId;
use crate::time::Instant;

impl Pool {
    /// When the next prefill ends by the clock.
    pub(crate) fn next_unreported(&self) -> Option<Instant> {
        self.unreported.next()
    }

    /// Ends one prefill that is due, and returns its endpoint.
    pub(crate) fn end_unreported(
        &mut self,
        now: Instant,
        expected_output_tokens: f64,
    ) -> Option<EndpointId> {
        let (at, number) = self.unreported.pop_due(now)?;
        let slot = self.at_mut(number)?;
        slot.prefill_ends = None;
        slot.in_flight.end_unreported(at);
        slot.reports.watch(&slot.in_flight, expected_output_tokens);
        let id = slot.id;
        self.refresh_bounds(id);
        Some(id)
    }

    /// Schedules the end of the prefill at the head of an endpoint's queue.
    pub(super) fn reschedule_prefill(&mut self, id: EndpointId) {
        let Ok(slot) = self.get_mut(id) else { return };
        let at = slot.in_flight.unreported_end();
        let before = core::mem::replace(&mut slot.prefill_ends, at);
        self.unreported.replace(id.slot, before, at);
    }
}
