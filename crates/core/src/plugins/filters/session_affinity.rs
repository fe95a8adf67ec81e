//! `session-affinity-filter`: the endpoint of the request's session.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::session_affinity::SessionAffinity;

/// `session-affinity-filter`: keeps only the endpoint that the request's session is bound to. All
/// candidates stay if the session has no endpoint, or its endpoint is no candidate.
impl Filter for SessionAffinity {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        let named = self.named_endpoint(cycle.request);
        candidates.retain_if_any(|endpoint| Self::is_bound(named.as_deref(), endpoint));
    }
}
