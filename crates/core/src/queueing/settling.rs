//! When a request that waits for its best endpoint may take another one.
//!
//! The request waits as many seconds as the best endpoint with room costs more, and then takes that
//! one. This is the ski-rental rule (Karlin et al., 1988): at most twice the optimal cost. The rule
//! bounds the time for which an endpoint has room while a request waits for a fuller one.
//!
//! A request of the lowest of several waiting bands does not settle: requests of higher priority
//! would find the endpoints with room taken.

use super::queued_request::QueuedRequest;
use crate::fleet::Fleet;
use crate::flow::RequestQueue;
use crate::time::Seconds;

/// How many endpoints the searches after one event may still visit.
///
/// A search for an endpoint with room visits all endpoints if all are full. Without a limit, each
/// of the requests that an event opens would do so.
#[derive(Debug, Default)]
pub(super) struct Settling {
    visited: usize,
}

/// At least one search follows each event, and as many as visit this many endpoints.
const MOST_VISITED: usize = 1_024;

impl Settling {
    /// Allows searches again: something has changed.
    pub(super) const fn retry(&mut self) {
        self.visited = 0;
    }

    /// Whether a request that has `waited` may look for an endpoint with room.
    pub(super) fn may_search<T>(
        &self,
        waiting: &RequestQueue<T>,
        queued: &QueuedRequest,
        waited: Seconds,
    ) -> bool {
        let priority = queued.charge.priority.0;
        self.visited < MOST_VISITED
            && waited > Seconds::ZERO
            && (waiting.waits_below(priority) || !waiting.waits_above(priority))
    }

    pub(super) fn record_search(&mut self, fleet: &Fleet) {
        self.visited += fleet.pool.bounds().len() as usize;
    }
}
