//! How an endpoint's prompts are cut into blocks and whose they are: [`BlockLayout`].

use core::num::NonZeroU32;

use crate::endpoint::Endpoint;

/// What the prompts of an endpoint's requests are hashed for: the length of its blocks, and whether the model counts.
///
/// KV events that name no model come from engines of one base model, whatever it is called by. So once such an
/// event comes from an endpoint that was not described with exactly one model, prompts are looked up there under no
/// model's name: requests match by any name that the endpoint serves. Adapters and cache salts count as ever.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct BlockLayout {
    /// Tokens in a block: as described, until KV events show another length.
    pub(crate) block_size: NonZeroU32,
    /// Whether all requests there are for one base model, whatever they call it.
    pub(crate) any_model: bool,
    /// Tokens behind a block that its hash covers too, as KV events show: engines that draft ahead of the prompt compute
    /// a block from the tokens that follow it.
    pub(crate) lookahead: u32,
}

impl BlockLayout {
    /// The one of an endpoint that has published nothing.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { block_size: endpoint.block_size, any_model: false, lookahead: 0 }
    }

    /// What stands for the model in prompts that are hashed for this.
    pub(crate) const fn model<'a>(&self, asked: &'a str) -> &'a str {
        if self.any_model { "" } else { asked }
    }
}
