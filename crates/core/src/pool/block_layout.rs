//! How prompts are divided into blocks for an endpoint: [`BlockLayout`].

use core::num::NonZeroU32;

use crate::endpoint::Endpoint;

/// The parameters for which prompts of an endpoint's requests are hashed.
///
/// KV events without a model name come from engines with one base model of unknown name. After such
/// an event from an endpoint that does not list exactly one model, prompts are looked up there
/// without a model name. Requests then match under any name that the endpoint serves; adapters and
/// cache salts still count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct BlockLayout {
    /// Tokens in a block: the described number until KV events show another.
    pub(crate) block_size: NonZeroU32,
    /// Whether all requests there use one base model under any name.
    pub(crate) any_model: bool,
    /// Tokens after a block that its hash also covers, as KV events show. Engines that draft ahead
    /// of the prompt compute a block from the tokens that follow it.
    pub(crate) lookahead: u32,
}

impl BlockLayout {
    /// The layout of an endpoint that has published no events.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { block_size: endpoint.block_size, any_model: false, lookahead: 0 }
    }

    /// The model name under which prompts are hashed for this layout.
    pub(crate) const fn model<'a>(&self, requested: &'a str) -> &'a str {
        if self.any_model { "" } else { requested }
    }
}
