//! `context-length-aware`, as a scorer: endpoints for prompts of this length.

use alloc::string::String;

use crate::plugins::context_range::{ContextRange, DEFAULT_LABEL};
use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::checked_parameters;
use crate::plugins::scorer::Scorer;

/// `context-length-aware`, a filter and a scorer: endpoints whose label has the prompt's length in
/// its range, such as `2048-8192`.
///
/// ```text
/// in range:      0.3 + 0.7 × (0.7 / (1 + width / 10000) + 0.3 × headroom / width)
///                1 if the width is 0
/// out of range:  0.3 / (1 + distance / 1000)
/// no label:      0.5
/// no range:      0
/// ```
///
/// Width is max - min, headroom is max - tokens, distance is that to the nearer end. A prompt of
/// unknown length has zero tokens.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct ContextLengthAware {
    /// The label; `llm-d.ai/context-length-range` by default.
    pub label: String,
    /// Whether the filter removes endpoints; without it, it keeps all.
    pub enable_filtering: bool,
}

impl Default for ContextLengthAware {
    fn default() -> Self {
        Self { label: DEFAULT_LABEL.into(), enable_filtering: false }
    }
}

impl Scorer for ContextLengthAware {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let tokens = cycle.request.prompt_tokens;
        scores.set_each(|endpoint| match endpoint.labels.get(&self.label) {
            None => 0.5,
            Some(label) => ContextRange::parse(label).map_or(0.0, |range| fit(tokens, range)),
        });
    }
}

/// How well a range suits a prompt: each one that contains it scores above each one that does not.
fn fit(tokens: u64, range: ContextRange) -> f64 {
    if !range.contains(tokens) {
        let distance = tokens.saturating_sub(range.max).max(range.min.saturating_sub(tokens));
        return 0.3 / (1.0 + distance as f64 / 1000.0);
    }
    let width = (range.max - range.min) as f64;
    if range.max == range.min {
        return 1.0;
    }
    let narrow = 1.0 / (1.0 + width / 10_000.0);
    let headroom = (range.max - tokens) as f64 / width;
    0.3 + (0.7 * narrow + 0.3 * headroom) * 0.7
}

impl ContextLengthAware {
    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        if self.label.is_empty() { Err("label must not be empty") } else { Ok(()) }
    }
}

checked_parameters!(ContextLengthAware, ContextLengthAware::check);
