//! The requests in flight, from dispatch to end.

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
    /// The number of blocks of all prompts.
    blocks: usize,
}

/// A request from its dispatch to its end.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) reservation: Reservation,
    pub(super) dispatched: Instant,
    /// When the first token arrived.
    pub(super) started: Option<Instant>,
    /// Predicted cached tokens.
    pub(super) hit: u32,
    /// Predicted time to the first token.
    pub(super) predicted: Seconds,
    /// The key of the flow or session, if the request has one.
    pub(super) suspect: Option<u64>,
    pub(super) evidence: Option<Evidence>,
    pub(super) prompt: PlacedPrompt,
    /// The charge to the flow, if the request was queued.
    pub(super) charge: Option<FlowCharge>,
    pub(super) session: Option<SessionId>,
}

/// The last uses of the blocks that a request was expected to find, counted in uses of the
/// endpoint's cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) first_block: u64,
    pub(super) last_block: u64,
}

/// The prompt of a dispatched request.
#[derive(Debug)]
pub(super) struct PlacedPrompt {
    /// The full blocks.
    pub(super) chain: Vec<BlockHash>,
    /// The length.
    pub(super) span: Span,
    /// Tokens of all prompts of the batch.
    pub(super) tokens: u32,
    /// How the engine uses its cache for the request.
    pub(super) cache_use: CacheUse,
    /// The layout for which the blocks were hashed; `None` if they are valid for any.
    pub(super) layout: Option<BlockLayout>,
    /// Set if the prompt is text.
    pub(super) text: Option<TextPrompt>,
    /// The key and the name of the adapter.
    pub(super) adapter: Option<(u64, Box<str>)>,
}

/// A text prompt, from whose token count the bytes per token are learned.
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
    /// Whether the blocks are valid for an endpoint with this layout.
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

    /// All requests in flight, in no defined order: sort before a decision depends on it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &InFlight)> {
        self.requests.iter().map(|(id, request)| (RequestId(*id), request))
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The number of blocks of all prompts.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }
}
