//! The work that is parked for each endpoint, as one waiting request sees it.
//!
//! A parked request is in no engine's queue. Without its work in the cost, an endpoint that many
//! requests wait for would look idle, and attract more of them than it can serve.

use super::ledger::Ledger;
use super::queues::Queues;
use crate::time::Seconds;

/// The work of the requests, of the same or higher bands, that are parked for an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedWork<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) queues: &'a Queues,
    pub(super) priority: i32,
    /// Whether no request of a lower band waits.
    pub(crate) is_lowest: bool,
    /// The endpoint that the request itself is parked for, and its work there.
    pub(super) own: Option<(u32, u64)>,
}

impl ParkedWork<'_> {
    /// The work that is parked for the endpoint in this slot, except the request's own. Computes in
    /// **O(bands)**.
    pub(crate) fn of(&self, slot: u32) -> Seconds {
        let counts = |band| self.ledger.bands[band].priority >= self.priority;
        let own = self.own.filter(|(own, _)| *own == slot).map_or(0, |(_, work)| work);
        Seconds::new(self.queues.parked_work(slot, counts).saturating_sub(own) as f64 / 1e9)
    }
}
