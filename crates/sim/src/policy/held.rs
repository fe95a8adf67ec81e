//! A request that waits at a gateway.

use ::slotwise::{BlockHash, Instant};

use super::Incoming;

/// The request, and its arrival.
pub(super) struct Held {
    pub(super) id: u32,
    pub(super) since: Instant,
    input: u32,
    blocks: Vec<BlockHash>,
    adapter: Option<String>,
    priority: i32,
    tenant: String,
    session: Option<String>,
}

impl Held {
    pub(super) fn new(now: Instant, request: &Incoming<'_>) -> Self {
        Self {
            id: request.id,
            since: now,
            input: request.input,
            blocks: request.blocks.to_vec(),
            adapter: request.adapter.map(str::to_owned),
            priority: request.priority,
            tenant: request.tenant.to_owned(),
            session: request.session.map(str::to_owned),
        }
    }

    /// The request as it arrived.
    pub(super) fn asked(&self) -> Incoming<'_> {
        Incoming {
            id: self.id,
            input: self.input,
            blocks: &self.blocks,
            adapter: self.adapter.as_deref(),
            priority: self.priority,
            tenant: &self.tenant,
            session: self.session.as_deref(),
        }
    }
}
