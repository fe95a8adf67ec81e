//! The requests in flight, from dispatch to end.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use hashbrown::HashMap;

use crate::decision::Stage;
use crate::endpoint::EndpointId;
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
    /// Boxed, so that a request moves twice between the table and its caller at little cost.
    /// `None` while a call changes the request.
    requests: HashMap<u64, Option<Box<InFlight>>, KeyedState>,
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
    /// Running answers on the endpoint at the first token, this one included.
    pub(super) running: f64,
    /// Predicted cached tokens, on the endpoint that computes the prompt.
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
    /// Another endpoint computes the prompt.
    pub(super) prefilled_elsewhere: bool,
    /// The stages before the answer that have not ended.
    pub(super) legs: Legs,
    /// Of a stage before the answer: endpoints to ask if this one fails, best first.
    pub(super) alternatives: Vec<EndpointId>,
}

/// The reservations of the stages before the answer, by [`Stage`].
#[derive(Debug, Default)]
pub(super) struct Legs([Option<Box<InFlight>>; Stage::ALL.len()]);

impl Legs {
    pub(super) fn set(&mut self, stage: Stage, leg: Box<InFlight>) {
        self.0[stage as usize] = Some(leg);
    }

    pub(super) fn get(&self, stage: Stage) -> Option<&InFlight> {
        self.0[stage as usize].as_deref()
    }

    pub(super) fn get_mut(&mut self, stage: Stage) -> Option<&mut InFlight> {
        self.0[stage as usize].as_deref_mut()
    }

    fn take(&mut self, stage: Stage) -> Option<Box<InFlight>> {
        self.0[stage as usize].take()
    }

    /// All that have not ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.0.iter().flatten().map(|leg| &**leg)
    }

    /// Takes all out, in the order of the stages.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Box<InFlight>> + use<> {
        core::mem::take(&mut self.0).into_iter().flatten()
    }
}

impl InFlight {
    /// Whether a first token, or the end of a leg, is much later than predicted at this time.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        let took = Seconds::from(now.saturating_since(self.dispatched));
        took > LATE && took > self.predicted * LATE_FACTOR
    }

    /// Whether the answer, or a stage before it that has not ended, is on this endpoint.
    pub(super) fn occupies(&self, endpoint: EndpointId) -> bool {
        let mut all = core::iter::once(self).chain(self.legs.iter());
        all.any(|stage| stage.reservation.endpoint() == endpoint)
    }

    /// The number of remembered blocks.
    fn blocks(&self) -> usize {
        let legs = self.legs.iter().map(|leg| leg.prompt.chain.len());
        self.prompt.chain.len() + legs.sum::<usize>()
    }
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
    /// The model's key.
    pub(super) model: u64,
    /// Tokens of all prompts of the batch.
    pub(super) tokens: u32,
    /// How the engine uses its cache for the request.
    pub(super) cache_use: CacheUse,
    /// Whether the end of its computation is reported: by the first token of a stream, or by the
    /// end of a leg.
    pub(super) reports_end: bool,
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
    /// The flow's key.
    pub(super) flow: u64,
    /// The length in bytes.
    pub(super) bytes: u64,
}

impl PlacedPrompt {
    /// No prompt, for a stage that does not hold it.
    pub(super) fn none() -> Self {
        Self {
            chain: Vec::new(),
            span: Span::of_tokens(0, NonZeroU32::MIN),
            model: 0,
            tokens: 0,
            cache_use: CacheUse::Unread,
            reports_end: true,
            layout: None,
            text: None,
            adapter: None,
        }
    }

    /// Whether the blocks are valid for an endpoint with this layout.
    pub(super) fn is_for(&self, layout: BlockLayout) -> bool {
        self.layout.is_none_or(|own| own == layout)
    }
}

impl InFlightTable {
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self { requests: HashMap::with_hasher(hash_state), blocks: 0 }
    }

    pub(super) fn insert(&mut self, id: RequestId, request: Box<InFlight>) {
        self.blocks += request.blocks();
        self.requests.insert(id.0, Some(request));
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Box<InFlight>> {
        let request = self.requests.remove(&id.0)??;
        self.blocks -= request.blocks();
        Some(request)
    }

    /// Takes a request out for a call that changes it, and [puts it back](Self::put_back).
    pub(super) fn take(&mut self, id: RequestId) -> Option<Box<InFlight>> {
        let request = self.requests.get_mut(&id.0)?.take()?;
        self.blocks -= request.blocks();
        Some(request)
    }

    pub(super) fn put_back(&mut self, id: RequestId, request: Box<InFlight>) {
        self.blocks += request.blocks();
        if let Some(place) = self.requests.get_mut(&id.0) {
            *place = Some(request);
        }
    }

    /// Takes a leg out of a request; `None` if the request has no such leg.
    pub(super) fn take_leg(&mut self, id: RequestId, stage: Stage) -> Option<Box<InFlight>> {
        let leg = self.get_mut(id)?.legs.take(stage)?;
        self.blocks -= leg.blocks();
        Some(leg)
    }

    /// Gives a request the leg that was taken, with another reservation.
    pub(super) fn put_leg(&mut self, id: RequestId, stage: Stage, leg: Box<InFlight>) {
        let blocks = leg.blocks();
        if let Some(request) = self.get_mut(id) {
            request.legs.set(stage, leg);
            self.blocks += blocks;
        }
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.requests.get(&id.0)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut InFlight> {
        self.requests.get_mut(&id.0)?.as_deref_mut()
    }

    /// All requests in flight, in no defined order: sort before a decision depends on it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &InFlight)> {
        let requests = self.requests.iter();
        requests.filter_map(|(id, request)| Some((RequestId(*id), request.as_deref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The number of blocks of all prompts.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }
}

/// A first token is late if it takes this many times the predicted time. Smaller factors are usual
/// in a pool near its limit. A merely busy endpoint must not be backed off, because its requests
/// would delay the other endpoints.
const LATE_FACTOR: f64 = 20.0;
/// A first token is never late before this time.
const LATE: Seconds = Seconds::new(10.0);
