//! Which endpoint has which session.

use alloc::collections::BTreeMap;
use core::time::Duration;

use hashbrown::HashMap;

use crate::config::ProducerConfig;
use crate::endpoint::EndpointId;
use crate::prefix::keyed_state::KeyedState;
use crate::time::Instant;

/// Endpoints by session. A binding ends a fixed time after its last request, and the least recent
/// one ends when the limit is reached.
#[derive(Clone, Debug)]
pub(super) struct SessionBindings {
    sessions: HashMap<u64, Binding, KeyedState>,
    /// Sessions by the number of their last request.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    ttl: Duration,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    endpoint: EndpointId,
    last_use: Instant,
    used: u64,
}

impl SessionBindings {
    pub(super) fn new(config: &ProducerConfig, hash_state: KeyedState) -> Self {
        Self {
            sessions: HashMap::with_hasher(hash_state),
            by_use: BTreeMap::new(),
            uses: 0,
            ttl: config.session_ttl,
            limit: config.max_sessions,
        }
    }

    /// Changes the limits; the least recent bindings above a lowered limit end.
    pub(super) fn set_limits(&mut self, config: &ProducerConfig) {
        (self.ttl, self.limit) = (config.session_ttl, config.max_sessions);
        while self.sessions.len() > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.sessions.remove(&oldest);
        }
    }

    /// The endpoint of the session.
    pub(super) fn endpoint(&self, now: Instant, session: u64) -> Option<EndpointId> {
        let binding = self.sessions.get(&session)?;
        (now.saturating_since(binding.last_use) < self.ttl).then_some(binding.endpoint)
    }

    /// Binds the session to the endpoint, and forgets bindings that have ended. Computes in **O(log
    /// sessions)**, amortized.
    pub(super) fn bind(&mut self, now: Instant, session: u64, endpoint: EndpointId) {
        self.uses += 1;
        let binding = Binding { endpoint, last_use: now, used: self.uses };
        if let Some(before) = self.sessions.insert(session, binding) {
            self.by_use.remove(&before.used);
        }
        self.by_use.insert(self.uses, session);
        while let Some((used, oldest)) = self.by_use.first_key_value().map(|(a, b)| (*a, *b)) {
            let ended = self.endpoint(now, oldest).is_none();
            if !ended && self.sessions.len() <= self.limit {
                return;
            }
            self.by_use.remove(&used);
            self.sessions.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_end_and_are_bounded() {
        let config = ProducerConfig { max_sessions: 2, ..ProducerConfig::default() };
        let mut bindings = SessionBindings::new(&config, KeyedState::new(1));
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let id = EndpointId::from_u64;
        bindings.bind(at(0), 1, id(1));
        bindings.bind(at(200), 2, id(2));
        bindings.bind(at(299), 1, id(3));
        assert_eq!(bindings.endpoint(at(499), 2), Some(id(2)));
        assert_eq!(bindings.endpoint(at(500), 2), None);
        assert_eq!(bindings.endpoint(at(500), 1), Some(id(3)));
        bindings.bind(at(500), 3, id(1));
        bindings.bind(at(501), 4, id(1));
        assert_eq!(bindings.sessions.len(), 2);
        assert_eq!(bindings.endpoint(at(502), 1), None, "the least recent one");
    }
}
