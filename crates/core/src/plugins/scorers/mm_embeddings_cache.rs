//! `mm-embeddings-cache-scorer`: cached embeddings of media.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;

/// `mm-embeddings-cache-scorer`: prefers endpoints that have embeddings of the request's media
/// cached.
///
/// ```text
/// score = media_match / media, and 0 for a request without media
/// ```
///
/// The parameter `producerName` has no effect.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct MmEmbeddingsCacheScorer {
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    producer_name: Ignored<String>,
}

impl Scorer for MmEmbeddingsCacheScorer {
    fn score(&self, cycle: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let media = cycle.request.media;
        if media > 0 {
            scores.set_each(|endpoint| endpoint.media_match as f64 / media as f64);
        }
    }
}
