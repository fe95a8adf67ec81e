//! `session-affinity-scorer`: the endpoint of the session.

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::scorer::Scorer;
use crate::plugins::session_affinity::SessionAffinity;

/// Scores 1 for the endpoint that the session is bound to, and 0 for others.
impl Scorer for SessionAffinity {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let named = self.named_endpoint(cycle.request);
        scores.set_each(|endpoint| f64::from(u8::from(Self::is_bound(named.as_deref(), endpoint))));
    }
}
