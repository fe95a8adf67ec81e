//! Remembers which endpoint gave which answer, for requests that continue one.
//!
//! Some APIs let a client send only the new message and the id of the previous answer. The engine
//! that gave that answer stores the conversation, so only its endpoint can serve the request.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::endpoint::EndpointId;
use crate::prefix::keyed_state::KeyedState;
use crate::request::AnswerId;

/// Endpoints by the ids of their answers. The oldest answers are forgotten first.
#[derive(Debug)]
pub(crate) struct Threads {
    places: HashMap<u64, EndpointId, KeyedState>,
    /// In the order of arrival.
    order: VecDeque<u64>,
    limit: usize,
}

impl Threads {
    /// Remembers at most `limit` answers, about 40 bytes each.
    pub(crate) fn new(limit: usize, hash_state: KeyedState) -> Self {
        Self { places: HashMap::with_hasher(hash_state), order: VecDeque::new(), limit }
    }

    /// The endpoint that gave this answer, if it is remembered.
    pub(crate) fn place_of(&self, answer: AnswerId) -> Option<EndpointId> {
        self.places.get(&answer.as_u64()).copied()
    }

    pub(crate) fn remember(&mut self, answer: AnswerId, endpoint: EndpointId) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_is_forgotten_first() {
        let mut threads = Threads::new(2, KeyedState::new(1));
        let endpoint = EndpointId { slot: 3, generation: 0 };
        for id in ["a", "b", "b", "c"] {
            threads.remember(AnswerId::of(id), endpoint);
        }
        let known = ["a", "b", "c"].map(|id| threads.place_of(AnswerId::of(id)).is_some());
        assert_eq!((known, threads.places.len()), ([false, true, true], 2));
    }
}
