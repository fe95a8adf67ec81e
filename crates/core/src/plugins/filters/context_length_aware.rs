//! `context-length-aware` as a filter: endpoints for prompts of this length.

use crate::plugins::context_range::ContextRange;
use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::scorers::ContextLengthAware;

/// `context-length-aware` as a filter: with `enableFiltering`, keeps endpoints whose label's range
/// contains the prompt's length, and those without the label. An unreadable label contains none.
impl Filter for ContextLengthAware {
    fn filter(&self, cycle: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        if !self.enable_filtering {
            return;
        }
        let tokens = cycle.request.prompt_tokens;
        candidates.retain(|endpoint| match endpoint.labels.get(&self.label) {
            Some(label) => ContextRange::parse(label).is_some_and(|range| range.contains(tokens)),
            None => true,
        });
    }
}
