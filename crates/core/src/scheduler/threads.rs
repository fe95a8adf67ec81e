//! Which endpoint holds the answers that later requests go on from.
//!
//! Some APIs let a client send the new message alone, with the id of the answer before it: the engine that gave that answer
//! has the rest. Such a request goes there or nowhere.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use super::{Scheduler, UnknownRequest};
use crate::endpoint::EndpointId;
use crate::prefix::keyed::Keyed;
use crate::request::{AnswerId, RequestId};
use crate::time::Instant;

/// Endpoints by the ids of their answers. The oldest answers are forgotten first.
#[derive(Debug)]
pub(super) struct Threads {
    places: HashMap<u64, EndpointId, Keyed>,
    /// In the order in which they came.
    order: VecDeque<u64>,
    limit: usize,
}

impl Threads {
    /// Remembers at most `limit` answers, about 40 bytes each.
    pub(super) fn new(limit: usize, keyed: Keyed) -> Self {
        Self { places: HashMap::with_hasher(keyed), order: VecDeque::new(), limit }
    }

    /// The endpoint that gave this answer, as far as that is remembered.
    pub(super) fn place_of(&self, answer: AnswerId) -> Option<EndpointId> {
        self.places.get(&answer.as_u64()).copied()
    }

    fn remember(&mut self, answer: AnswerId, endpoint: EndpointId) {
        if self.limit == 0 {
            return;
        }
        if self.places.insert(answer.as_u64(), endpoint).is_some() {
            return;
        }
        self.order.push_back(answer.as_u64());
        if self.order.len() > self.limit {
            let oldest = self.order.pop_front();
            oldest.and_then(|answer| self.places.remove(&answer));
        }
    }
}

impl Scheduler {
    /// The answer to a request has this id. A request that [goes on from it](crate::Request::continues) goes to the same
    /// endpoint, or is rejected as [`ThreadNotFound`](crate::RejectReason::ThreadNotFound) if that has left the pool or
    /// drains. The last [`Config::max_threads`](crate::Config::max_threads) answers are remembered.
    ///
    /// # Errors
    ///
    /// When the request is not in flight.
    ///
    /// ```
    /// use slotwise::{AnswerId, Endpoint, Instant, RejectReason, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// for name in ["a", "b", "c"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name))?;
    /// }
    /// let first = scheduler.pick(now, &Request::new("claude").text("Hi, I am Ann."))?;
    /// scheduler.handle_answer(now, first.request, AnswerId::of("msg_1"))?;
    ///
    /// let next = Request::new("claude").text("Who am I?").continues(AnswerId::of("msg_1"));
    /// assert_eq!(scheduler.pick(now, &next)?.endpoint, first.endpoint);
    /// scheduler.drain_endpoint(now, first.endpoint)?;
    /// assert_eq!(scheduler.pick(now, &next).map_err(|it| it.reason), Err(RejectReason::ThreadNotFound));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: AnswerId,
    ) -> Result<(), UnknownRequest> {
        self.advance(now);
        let endpoint = self.endpoint_of(id).ok_or(UnknownRequest(id))?;
        self.threads.remember(answer, endpoint);
        Ok(())
    }

    /// Whether an endpoint still takes requests.
    pub(super) fn takes_requests(&self, endpoint: EndpointId) -> bool {
        self.pool.get(endpoint).is_ok_and(|slot| !slot.draining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_is_forgotten_first() {
        let mut threads = Threads::new(2, Keyed::new(1));
        let endpoint = EndpointId { slot: 3, generation: 0 };
        for id in ["a", "b", "b", "c"] {
            threads.remember(AnswerId::of(id), endpoint);
        }
        let known = ["a", "b", "c"].map(|id| threads.place_of(AnswerId::of(id)).is_some());
        assert_eq!((known, threads.places.len()), ([false, true, true], 2));
    }
}
