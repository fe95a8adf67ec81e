//! NVIDIA Dynamo's KV router with its defaults: overlap credit 1, prefill load scale 1, temperature
//! 0, KV events.
//!
//! `logit = max(0, (prefill tokens in flight + prompt) / 16 - overlap blocks) + decode blocks`. The
//! least wins, with ties broken at random. Decode blocks are the distinct blocks of the sequences
//! that would then be active.

use hashbrown::HashMap;

use ::slotwise::{BlockHash, Instant, Rng};

use super::load::OwnLoad;
use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Needs, Policy};
use crate::replica::KvChange;

const BLOCK: f64 = 16.0;

pub(super) struct Dynamo {
    view: CacheView,
    load: OwnLoad,
    active: Vec<Active>,
    /// The blocks and the tokens beyond them of each request in flight.
    sequences: HashMap<u32, (Vec<BlockHash>, u32)>,
    block_tokens: u32,
    rng: Rng,
}

/// Distinct blocks of the sequences on one replica.
#[derive(Clone, Debug, Default)]
struct Active {
    users: HashMap<BlockHash, u32>,
    /// Tokens of partial blocks.
    tails: u64,
}

impl Dynamo {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            view: CacheView::exact(fleet),
            load: OwnLoad::new(fleet.replicas),
            active: vec![Active::default(); fleet.replicas],
            sequences: HashMap::new(),
            block_tokens: fleet.block_tokens,
            rng: Rng::new(fleet.seed),
        }
    }

    /// Tokens of the distinct blocks on the replica, with the request there.
    fn potential_tokens(&self, replica: usize, request: &Incoming<'_>) -> u64 {
        let active = &self.active[replica];
        let shared =
            request.blocks.iter().take_while(|block| active.users.contains_key(*block)).count();
        let blocks = active.users.len() + request.blocks.len() - shared;
        blocks as u64 * u64::from(self.block_tokens) + active.tails + u64::from(self.tail(request))
    }

    fn tail(&self, request: &Incoming<'_>) -> u32 {
        request.input - request.blocks.len() as u32 * self.block_tokens
    }
}

impl Policy for Dynamo {
    fn pick(&mut self, _: Instant, request: &Incoming<'_>) -> Option<usize> {
        let hits = self.view.hits(request);
        let logit = |replica: usize| {
            let prefill = self.load.of(replica).pending_tokens as f64 + f64::from(request.input);
            let overlap = f64::from(hits[replica]) / BLOCK;
            (prefill / BLOCK - overlap).max(0.0)
                + self.potential_tokens(replica, request) as f64 / BLOCK
        };
        let logits: Vec<f64> = (0..self.active.len()).map(logit).collect();
        let replica = min_by(logits.len(), &mut self.rng, |replica| logits[replica])?;
        self.load.begin(request.id, replica, request.input - hits[replica]);
        let tail = self.tail(request);
        for block in request.blocks {
            *self.active[replica].users.entry(*block).or_default() += 1;
        }
        self.active[replica].tails += u64::from(tail);
        self.sequences.insert(request.id, (request.blocks.to_vec(), tail));
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, id: u32) {
        self.load.first_token(id);
    }

    fn complete(&mut self, _: Instant, id: u32, _: Finished) {
        let (Some(assigned), Some((blocks, tail))) =
            (self.load.complete(id), self.sequences.remove(&id))
        else {
            return;
        };
        let active = &mut self.active[assigned.replica];
        active.tails -= u64::from(tail);
        for block in blocks {
            if let Some(users) = active.users.get_mut(&block) {
                *users -= 1;
                if *users == 0 {
                    active.users.remove(&block);
                }
            }
        }
    }

    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        self.view.apply(now, replica, change);
    }

    fn needs(&self) -> Needs {
        Needs { kv_events: true, ..Needs::default() }
    }
}
