//! State between requests that plugins read.

use super::cold_endpoints::ColdEndpoints;
use super::session_bindings::SessionBindings;
use crate::config::ProducerConfig;
use crate::prefix::keyed_state::KeyedState;

/// State between requests that plugins read.
#[derive(Clone, Debug)]
pub(super) struct Producers {
    pub(super) sessions: SessionBindings,
    pub(super) cold: ColdEndpoints,
}

impl Producers {
    pub(super) fn new(config: &ProducerConfig, hash_state: KeyedState) -> Self {
        Self {
            sessions: SessionBindings::new(config, hash_state),
            cold: ColdEndpoints::new(config.max_cold_endpoints),
        }
    }

    /// Changes the limits; the least recent entries above a lowered one are forgotten.
    pub(super) fn set_limits(&mut self, config: &ProducerConfig) {
        self.sessions.set_limits(config);
        self.cold.set_limit(config.max_cold_endpoints);
    }
}
