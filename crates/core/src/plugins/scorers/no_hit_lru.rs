//! `no-hit-lru-scorer`: prompts without a cached prefix take turns.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;

/// `no-hit-lru-scorer`: sends prompts that no endpoint has cached to the endpoint that received
/// such a prompt least recently.
///
/// ```text
/// some endpoint has a block:  0.5 for all
/// else:  score = max(0, 1 - rank / (endpoints - 1)), and 1 if there is only one endpoint
///        rank  = 0, 1, ... of endpoints that never received such a prompt, in order
///                their number + cold_position of the others
/// ```
///
/// The host keeps the list that [`cold_position`] refers to. The parameters `prefixPluginType`,
/// `prefixPluginName` and `prefixMatchInfoProducerName` have no effect.
///
/// [`cold_position`]: crate::plugins::EndpointFacts::cold_position
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct NoHitLruScorer {
    /// Most endpoints in the host's list; 1,024 by default, and if it is not positive.
    pub lru_size: i64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_plugin_type: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_plugin_name: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    prefix_match_info_producer_name: Ignored<String>,
}

impl Default for NoHitLruScorer {
    fn default() -> Self {
        Self {
            lru_size: 1024,
            prefix_plugin_type: Ignored::default(),
            prefix_plugin_name: Ignored::default(),
            prefix_match_info_producer_name: Ignored::default(),
        }
    }
}

impl Scorer for NoHitLruScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let endpoints = scores.endpoints();
        if endpoints.clone().any(|endpoint| endpoint.match_blocks > 0) {
            scores.set_each(|_| 0.5);
            return;
        }
        let last = endpoints.len().saturating_sub(1) as f64;
        if last == 0.0 {
            scores.set_each(|_| 1.0);
            return;
        }
        let never_used = endpoints.filter(|endpoint| endpoint.cold_position.is_none()).count();
        let mut next = 0..;
        scores.set_each(|endpoint| {
            let rank = match endpoint.cold_position {
                None => next.next().unwrap_or(0),
                Some(position) => position.saturating_add(never_used as u64),
            };
            (1.0 - rank as f64 / last).max(0.0)
        });
    }
}
