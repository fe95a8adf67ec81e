//! News from the world: endpoints come, change and go, and say what they hold and how busy they
//! are.

use alloc::vec::Vec;

use super::Scheduler;
use crate::cost::{MovingMean, Speed};
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::cache;
use crate::load::{AdapterState, Load};
use crate::lora::Residency;
use crate::pool::{BlockLayout, EndpointError, Slot, UnknownEndpoint};
use crate::prefix::{KvEvent, KvEventError};
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
    /// When another endpoint has that name, when the pool is full, or when its prefill cost is not
    /// a cost.
    pub fn add_endpoint(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
    ) -> Result<EndpointId, EndpointError> {
        let now = self.advance(now);
        if endpoint.prefill.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidPrefillCost);
        }
        let name = endpoint.name.clone();
        let key = self.fleet.hasher.name(&name);
        let config = &self.fleet.config;
        let id = self.fleet.pool.add(&name, |id| {
            let adapters = endpoint.adapter_slots.unwrap_or(config.adapter_slots);
            Slot {
                id,
                key,
                kv_cache_tokens: endpoint.kv_cache_tokens.unwrap_or(config.kv_cache_tokens).get(),
                layout: BlockLayout::of(&endpoint),
                kv_feed: Default::default(),
                prefill: endpoint.prefill.unwrap_or(config.prefill),
                adapter_load_time: Seconds::from(
                    endpoint.adapter_load_time.unwrap_or(config.adapter_load_time),
                ),
                adapters: Residency::new(adapters.get() as usize),
                speed: Speed::new(now),
                answer_time: MovingMean::new(5.0, 16),
                draining: false,
                evictions: Default::default(),
                health: Default::default(),
                in_flight: Default::default(),
                reports: Default::default(),
                uses: 0,
                counters: Default::default(),
                endpoint,
            }
        })?;
        let joined =
            self.fleet.pool.get(id).map(|slot| self.fleet.prefixes.join(id.slot, cache(slot)));
        debug_assert!(joined == Ok(Ok(())), "invariant: the index has a slot for every endpoint");
        self.queueing.endpoint_added(&self.fleet);
        Ok(id)
    }

    /// Describes an endpoint anew. What is in flight there stays; what it is assumed to hold does
    /// too, unless its blocks have another length now, or are of another model.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, when another has that name, or when its prefill cost is not
    /// a cost.
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
        let before = self.fleet.pool.get(id)?.layout;
        let key = self.fleet.hasher.name(&endpoint.name);
        let config = &self.fleet.config;
        self.fleet.pool.update(id, endpoint, |slot| {
            slot.key = key;
            slot.kv_cache_tokens =
                slot.endpoint.kv_cache_tokens.unwrap_or(config.kv_cache_tokens).get();
            slot.prefill = slot.endpoint.prefill.unwrap_or(config.prefill);
            slot.adapter_load_time =
                Seconds::from(slot.endpoint.adapter_load_time.unwrap_or(config.adapter_load_time));
            // An endpoint that does not say may have reported.
            if let Some(adapters) = slot.endpoint.adapter_slots {
                slot.adapters.set_slots(adapters.get() as usize, now);
            }
        })?;
        let slot = self.fleet.pool.get(id)?;
        let cache = cache(slot);
        if slot.layout == before {
            self.fleet.prefixes.resize(id.slot, cache);
        } else {
            self.fleet.prefixes.restart(id.slot, cache);
        }
        self.queueing.pool_changed(&self.fleet);
        Ok(())
    }

    /// Sends no new requests to the endpoint; those in flight go on.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn drain_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.fleet.pool.drain(id, true)?;
        self.queueing.endpoint_drained(id);
        Ok(())
    }

    /// Takes a draining endpoint back into service.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn resume_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.fleet.pool.drain(id, false)?;
        self.queueing.pool_changed(&self.fleet);
        Ok(())
    }

    /// Takes an endpoint out of the pool, with all that it held, and says which requests are still
    /// on it. Computes in **O(requests in flight + blocks that it held)**.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn remove_endpoint(
        &mut self,
        now: Instant,
        id: EndpointId,
    ) -> Result<RemovedEndpoint, UnknownEndpoint> {
        self.advance(now);
        let slot = self.fleet.pool.remove(id)?;
        self.fleet.prefixes.leave(id.slot);
        self.queueing.endpoint_removed(&self.fleet, id);
        let on_it =
            self.requests.iter().filter(|(_, request)| request.reservation.endpoint() == id);
        let mut in_flight: Vec<RequestId> = on_it.map(|(id, _)| id).collect();
        in_flight.sort_unstable();
        Ok(RemovedEndpoint { endpoint: slot.endpoint, in_flight })
    }

    /// An endpoint reported its load.
    ///
    /// What this gateway sent there is known already and better; the report shows what *others*
    /// sent. Without reports, or with old ones, endpoints are taken to carry what their peers
    /// carry.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_load(
        &mut self,
        now: Instant,
        id: EndpointId,
        load: Load,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        let asleep = self.fleet.pool.get(id)?.reports.asleep();
        self.fleet.pool.report(now, id, &load, self.fleet.mean_output.get())?;
        if load != Load::default() {
            self.fleet.pool.record_contact(now, id);
        }
        self.queueing.endpoint_changed(&self.fleet, id);
        if asleep && !self.fleet.pool.get(id)?.reports.asleep() {
            self.queueing.pool_changed(&self.fleet);
        }
        Ok(())
    }

    /// A probe of the endpoint passed or failed: its page of metrics could be read, its health
    /// check answered.
    ///
    /// A failed one backs the endpoint off. One that passed ends the backoff of an endpoint that
    /// could not be reached: the next request may be its trial. It ends none for failed requests,
    /// which only a trial can.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::from_micros(1);
    /// let mut scheduler = Scheduler::default();
    /// let dead = scheduler.add_endpoint(now, Endpoint::new("dead"))?;
    /// let alive = scheduler.add_endpoint(now, Endpoint::new("alive"))?;
    /// scheduler.handle_probe(now, dead, false)?;
    /// for _ in 0..9 {
    ///     assert_eq!(scheduler.pick(now, &Request::new("llama").text("Hello"))?.endpoint, alive);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_probe(
        &mut self,
        now: Instant,
        id: EndpointId,
        passed: bool,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        self.fleet.pool.probe(now, id, passed, self.fleet.backoff_periods())?;
        self.queueing.endpoint_changed(&self.fleet, id);
        Ok(())
    }

    /// An endpoint's report could not be read, or says nothing that is known: `why` is the code of
    /// the error. It counts as no report, so the last one grows old as if nothing had come. The
    /// count and the code are in [`EndpointStats`](crate::EndpointStats).
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Load, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// let a = scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// scheduler.handle_load(now, a, Load::default().waiting(50))?;
    /// scheduler.handle_unreadable_load(now, a, "not_metrics")?;
    /// let stats = &scheduler.stats().endpoints[0];
    /// assert_eq!((stats.external_waiting, stats.report_errors), (50.0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_unreadable_load(
        &mut self,
        now: Instant,
        id: EndpointId,
        why: &'static str,
    ) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.fleet.pool.get_mut(id)?.reports.fail(why);
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
        let slot = self.fleet.pool.get_mut(id)?;
        slot.adapters.report(&state, now, |name| self.fleet.hasher.name(name));
        Ok(())
    }

    /// An endpoint's engine published a change of its KV cache.
    ///
    /// With the first stored event that is applied the endpoint becomes *precise*: what it was
    /// assumed to hold is forgotten, and what requests with token ids or block hashes leave there
    /// is believed only until the engine should have confirmed it. Removals and clears alone, or
    /// stored events that are all refused, make no endpoint precise; one that is precise, holds
    /// nothing and has a stored event refused goes back to assumptions.
    ///
    /// An event without a model belongs to the endpoint's model. If the endpoint was not described
    /// with exactly one, its engine still has one base model, and requests match whatever they call
    /// it. Blocks of another length than described are taken for what they are while the endpoint
    /// holds none.
    ///
    /// Computes in **O(blocks)** of the event.
    ///
    /// # Errors
    ///
    /// [`KvEventError`] says what was wrong, and nothing of the event was applied. Stored events
    /// that were refused are counted in [`EndpointStats`](crate::EndpointStats).
    ///
    /// ```
    /// use slotwise::{EngineHash, Endpoint, Instant, KvEvent, Request, Scheduler, BlockStored};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// let engine = scheduler.add_endpoint(now, Endpoint::new("http://10.0.0.1:8000"))?;
    /// let ids: Vec<u32> = (0..40).collect();
    /// let names = [EngineHash(1), EngineHash(2)];
    /// let stored = BlockStored::new(&names, 16.try_into()?).tokens(&ids[..32]);
    /// scheduler.handle_kv_event(now, engine, KvEvent::Stored(stored))?;
    /// let dispatch = scheduler.pick(now, &Request::new("whatever it serves").tokens(&ids))?;
    /// assert_eq!(dispatch.cached_tokens, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_kv_event(
        &mut self,
        now: Instant,
        id: EndpointId,
        event: KvEvent<'_>,
    ) -> Result<(), KvEventError> {
        let now = self.advance(now);
        self.fleet.apply(now, id, event)
    }
}
