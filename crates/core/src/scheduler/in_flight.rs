//! The requests in flight: what is kept of each from its dispatch to its end.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::flow::SessionId;
use crate::placement::Span;
use crate::pool::{BlockLayout, Reservation};
use crate::prefix::BlockHash;
use crate::prefix::keyed_state::KeyedState;
use crate::queueing::FlowCharge;
use crate::request::{CacheUse, RequestId};
use crate::time::{Instant, Seconds};

/// Requests in flight by their ids.
#[derive(Debug)]
pub(super) struct InFlightTable {
    requests: HashMap<u64, InFlight, KeyedState>,
    /// Blocks of all their prompts.
    blocks: usize,
}

/// A request from its dispatch to its end.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) reservation: Reservation,
    pub(super) dispatched: Instant,
    /// When its first token came.
    pub(super) started: Option<Instant>,
    /// Tokens that the endpoint was expected to find in its cache.
    pub(super) hit: u32,
    /// When its first token was predicted to come.
    pub(super) predicted: Seconds,
    /// The key of its flow or session, if it has one.
    pub(super) suspect: Option<u64>,
    pub(super) evidence: Option<Evidence>,
    pub(super) prompt: PlacedPrompt,
    /// What its flow has paid, if it has waited.
    pub(super) charge: Option<FlowCharge>,
    pub(super) session: Option<SessionId>,
}

/// When the blocks that a request was expected to find had last been used, counted in uses of the
/// endpoint's cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) first_block: u64,
    pub(super) last_block: u64,
}

/// A prompt on its way to an endpoint.
#[derive(Debug)]
pub(super) struct PlacedPrompt {
    /// Its full blocks.
    pub(super) chain: Vec<BlockHash>,
    /// How long it is.
    pub(super) span: Span,
    /// Tokens of all prompts, if it is the first of a batch.
    pub(super) tokens: u32,
    /// What the engine does with its cache for it.
    pub(super) cache_use: CacheUse,
    /// The endpoints' layout that the blocks are made for; none if they serve any.
    pub(super) layout: Option<BlockLayout>,
    /// Of a prompt that came as text.
    pub(super) text: Option<TextPrompt>,
    /// Its adapter's key and name.
    pub(super) adapter: Option<(u64, Box<str>)>,
}

/// What the token count of a text prompt teaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextPrompt {
    /// The model's key.
    pub(super) model: u64,
    /// The flow's key.
    pub(super) flow: u64,
    /// The length in bytes.
    pub(super) bytes: u64,
}

impl PlacedPrompt {
    /// Whether its blocks mean anything on an endpoint with this layout.
    pub(super) fn is_for(&self, layout: BlockLayout) -> bool {
        self.layout.is_none_or(|own| own == layout)
    }
}

impl InFlightTable {
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self { requests: HashMap::with_hasher(hash_state), blocks: 0 }
    }

    pub(super) fn insert(&mut self, id: RequestId, request: InFlight) {
        self.blocks += request.prompt.chain.len();
        self.requests.insert(id.0, request);
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.requests.remove(&id.0)?;
        self.blocks -= request.prompt.chain.len();
        Some(request)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.requests.get(&id.0)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut InFlight> {
        self.requests.get_mut(&id.0)
    }

    /// All of them, in no particular order: sort before anything depends on it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &InFlight)> {
        self.requests.iter().map(|(id, request)| (RequestId(*id), request))
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Blocks of all their prompts.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }
}
