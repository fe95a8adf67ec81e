//! News from the world: endpoints come, change and go, and say what they hold and how busy they are.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::Scheduler;
use crate::cost::{MovingMean, Speed};
use crate::endpoint::{Endpoint, EndpointId};
use crate::load::{AdapterState, Load};
use crate::lora::Residency;
use crate::pool::{EndpointError, Slot, UnknownEndpoint};
use crate::prefix::{BlockHash, Cache, KvEvent, KvEventError, Namespace, StoreError, StoredBlocks, Use};
use crate::request::RequestId;
use crate::time::{Instant, Seconds};

/// An endpoint that has left the pool.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemovedEndpoint {
    /// How it was described.
    pub endpoint: Endpoint,
    /// The requests that are still on it. Complete, fail or cancel them as ever.
    pub in_flight: Vec<RequestId>,
}

impl Scheduler {
    /// Adds an endpoint to the pool. It gets requests at once.
    ///
    /// # Errors
    ///
    /// When another endpoint has that name, when the pool is full, or when its prefill cost is not a cost.
    pub fn add_endpoint(&mut self, now: Instant, endpoint: Endpoint) -> Result<EndpointId, EndpointError> {
        let now = self.advance(now);
        if endpoint.prefill.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidPrefillCost);
        }
        let name = endpoint.name.clone();
        let key = self.hasher.name(&name);
        let config = &self.config;
        let id = self.pool.add(&name, |id| {
            let adapters = endpoint.adapter_slots.unwrap_or(config.adapter_slots);
            Slot {
                id,
                key,
                kv_capacity: endpoint.kv_capacity.unwrap_or(config.kv_capacity).get(),
                prefill: endpoint.prefill.unwrap_or(config.prefill),
                adapter_load: Seconds::from(endpoint.adapter_load.unwrap_or(config.adapter_load)),
                adapters: Residency::new(adapters.get() as usize),
                speed: Speed::new(now),
                answer_time: MovingMean::new(5.0, 16),
                draining: false,
                health: Default::default(),
                book: Default::default(),
                reports: Default::default(),
                uses: 0,
                counters: Default::default(),
                endpoint,
            }
        })?;
        let joined = self.pool.get(id).map(|slot| self.prefixes.join(id.slot, cache(slot)));
        debug_assert!(joined == Ok(Ok(())), "invariant: the index has a slot for every endpoint");
        self.empty_since = None;
        self.reopen_all();
        Ok(id)
    }

    /// Describes an endpoint anew. What is in flight there stays; what it is assumed to hold does too, unless its blocks
    /// have another length now.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, when another has that name, or when its prefill cost is not a cost.
    pub fn update_endpoint(
        &mut self,
        now: Instant,
        id: EndpointId,
        endpoint: Endpoint,
    ) -> Result<(), EndpointError> {
        let now = self.advance(now);
        if endpoint.prefill.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidPrefillCost);
        }
        let same_blocks = self.pool.get(id)?.endpoint.block_size == endpoint.block_size;
        let key = self.hasher.name(&endpoint.name);
        let config = &self.config;
        self.pool.update(id, endpoint, |slot| {
            slot.key = key;
            slot.kv_capacity = slot.endpoint.kv_capacity.unwrap_or(config.kv_capacity).get();
            slot.prefill = slot.endpoint.prefill.unwrap_or(config.prefill);
            slot.adapter_load = Seconds::from(slot.endpoint.adapter_load.unwrap_or(config.adapter_load));
            // An endpoint that does not say may have reported.
            if let Some(adapters) = slot.endpoint.adapter_slots {
                slot.adapters.set_slots(adapters.get() as usize, now);
            }
        })?;
        let cache = cache(self.pool.get(id)?);
        if same_blocks {
            self.prefixes.resize(id.slot, cache);
        } else {
            self.prefixes.restart(id.slot, cache);
        }
        self.reopen_all();
        Ok(())
    }

    /// Sends no new requests to the endpoint; those in flight go on.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn drain_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.pool.drain(id, true)
    }

    /// Takes a draining endpoint back into service.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn resume_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.pool.drain(id, false)?;
        self.reopen_all();
        Ok(())
    }

    /// Takes an endpoint out of the pool, with all that it held, and says which requests are still on it.
    /// Computes in **O(requests in flight + blocks that it held)**.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn remove_endpoint(
        &mut self,
        now: Instant,
        id: EndpointId,
    ) -> Result<RemovedEndpoint, UnknownEndpoint> {
        let now = self.advance(now);
        let slot = self.pool.remove(id)?;
        self.empty_since = (self.pool.len() == 0).then_some(now);
        self.prefixes.leave(id.slot);
        self.waiting.release(id.slot);
        if let Some(guard) = &mut self.guard {
            guard.leave(id.slot);
        }
        let on_it = self.requests.iter().filter(|(_, request)| request.reservation.endpoint() == id);
        let mut in_flight: Vec<RequestId> = on_it.map(|(number, _)| RequestId(*number)).collect();
        in_flight.sort_unstable();
        Ok(RemovedEndpoint { endpoint: slot.endpoint, in_flight })
    }

    /// An endpoint reported its load.
    ///
    /// What this gateway sent there is known already and better; the report shows what *others* sent. Without reports,
    /// or with old ones, endpoints are taken to carry what their peers carry.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_load(&mut self, now: Instant, id: EndpointId, load: Load) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        self.pool.report(now, id, &load, self.mean_output.get())?;
        self.reopen(now, id);
        Ok(())
    }

    /// An endpoint reported its LoRA adapters.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_adapters(
        &mut self,
        now: Instant,
        id: EndpointId,
        state: AdapterState<'_>,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        let slot = self.pool.get_mut(id)?;
        slot.adapters.report(&state, now, |name| self.hasher.name(name));
        Ok(())
    }

    /// An endpoint's engine published a change of its KV cache.
    ///
    /// With the first event the endpoint becomes *precise*: what it was assumed to hold is forgotten, and what requests
    /// with token ids or block hashes leave there is believed only until the engine should have confirmed it.
    /// Computes in **O(blocks)** of the event.
    ///
    /// # Errors
    ///
    /// [`KvEventError`] says what was wrong, and nothing of the event was applied.
    pub fn handle_kv_event(
        &mut self,
        now: Instant,
        id: EndpointId,
        event: KvEvent<'_>,
    ) -> Result<(), KvEventError> {
        let now = self.advance(now);
        let slot = self.pool.get(id).map_err(|unknown| KvEventError::UnknownEndpoint(unknown.0))?;
        match event {
            KvEvent::Stored(stored) => {
                let chain = self.chain_of(slot, &stored)?;
                let block_tokens = stored.block_size.get();
                let used = Use { stamp: slot.uses, block_tokens, now, computed: true };
                let StoredBlocks { parent, blocks, tier, .. } = stored;
                self.prefixes.store(id.slot, parent, blocks, &chain, tier, used).map_err(|error| {
                    match (error, parent) {
                        (StoreError::UnknownParent, Some(name)) => KvEventError::UnknownParent(name),
                        _ => KvEventError::Full,
                    }
                })?;
            }
            KvEvent::Removed(removed) => self.prefixes.remove(id.slot, removed.blocks, removed.tier),
            KvEvent::Cleared => self.prefixes.clear(id.slot),
        }
        Ok(())
    }

    /// Our hashes of an engine's new blocks.
    fn chain_of(&self, slot: &Slot, stored: &StoredBlocks<'_>) -> Result<Vec<BlockHash>, KvEventError> {
        let parent = match stored.parent {
            Some(name) => {
                Some(self.prefixes.named(slot.id.slot, name).ok_or(KvEventError::UnknownParent(name))?)
            }
            None => None,
        };
        let Some(ids) = stored.tokens else {
            return Ok(stored.blocks.iter().map(|name| BlockHash(name.0)).collect());
        };
        let expected = stored.blocks.len().saturating_mul(stored.block_size.get() as usize);
        if ids.len() != expected {
            return Err(KvEventError::TokenCount { expected, got: ids.len() });
        }
        let (expected, got): (NonZeroU32, NonZeroU32) = (slot.endpoint.block_size, stored.block_size);
        if expected != got {
            return Err(KvEventError::BlockSize { expected, got });
        }
        let model = match (stored.model, &*slot.endpoint.models) {
            (Some(model), _) => model,
            (None, [only]) => only,
            (None, _) => return Err(KvEventError::UnknownModel),
        };
        let namespace = Namespace::new(model).adapter(stored.adapter).salt(stored.cache_salt);
        let root = parent.unwrap_or_else(|| self.hasher.token_root(namespace));
        let mut chain = Vec::with_capacity(stored.blocks.len());
        self.hasher.continue_tokens(root, ids, stored.block_size, &mut chain);
        Ok(chain)
    }
}

/// How the endpoint's cache behaves.
pub(super) fn cache(slot: &Slot) -> Cache {
    Cache { capacity: slot.kv_capacity, order: slot.endpoint.eviction }
}
