//! Inputs about endpoints: membership, load reports, probes, adapters and KV events.

use alloc::vec::Vec;

use super::Scheduler;
use crate::cost::{DecodeFactor, MovingMean, Speed};
use crate::endpoint::{Endpoint, EndpointId};
use crate::fleet::cache;
use crate::load::{AdapterState, Load};
use crate::lora::{Adapter, AdapterError, Residency};
use crate::pool::{BlockLayout, EndpointError, Slot, UnknownEndpoint};
use crate::prefix::{KvEvent, KvEventError};
use crate::request::RequestId;
use crate::sorting::sort_rarely;
use crate::time::{Instant, Seconds};

/// An endpoint that was removed from the pool.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemovedEndpoint {
    /// Its description.
    pub endpoint: Endpoint,
    /// The requests still in flight on it, with any of their stages. Complete, fail or cancel each
    /// as usual, or [fail](Scheduler::fail_leg) the stage that was there.
    pub in_flight: Vec<RequestId>,
}

impl Scheduler {
    /// Adds an endpoint to the pool, which accepts requests at once.
    ///
    /// # Errors
    ///
    /// If another endpoint has the name, if the pool is full, or if the prefill cost is invalid.
    pub fn add_endpoint(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
    ) -> Result<EndpointId, EndpointError> {
        let now = self.advance(now);
        if endpoint.prefill.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidPrefillCost);
        }
        if endpoint.kv_transfer.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidKvTransferCost);
        }
        let name = endpoint.name.clone();
        let key = self.fleet.hasher.name(&name);
        let config = &self.fleet.config;
        let views = self.workspace.cycle.is_some();
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
                decode_factor: DecodeFactor::new(),
                answer_time: MovingMean::new(5.0, 16),
                draining: false,
                evictions: Default::default(),
                health: Default::default(),
                peer_backoff: Instant::ORIGIN,
                in_flight: Default::default(),
                loading: 0,
                prefill_ends: None,
                is_window: false,
                reports: Default::default(),
                engine_view: views.then(Default::default),
                uses: 0,
                counters: Default::default(),
                revision: 0,
                endpoint,
            }
        })?;
        let joined =
            self.fleet.pool.get(id).map(|slot| self.fleet.prefixes.join(id.slot, cache(slot)));
        debug_assert!(joined == Ok(Ok(())), "invariant: the index has a slot for every endpoint");
        self.queueing.endpoint_added(&self.fleet);
        Ok(id)
    }

    /// Replaces the description of an endpoint. Requests in flight stay. Its cached blocks stay
    /// too, unless the block size or the model has changed.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown, if another has the name, or if the prefill cost is invalid.
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
        if endpoint.kv_transfer.is_some_and(|cost| !cost.is_valid()) {
            return Err(EndpointError::InvalidKvTransferCost);
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
            // Without a described limit, the reported one stays.
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

    /// Stops new requests to the endpoint; those in flight continue.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn drain_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.fleet.pool.drain(id, true)?;
        self.queueing.endpoint_drained(id);
        Ok(())
    }

    /// Returns a draining endpoint to service.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn resume_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), UnknownEndpoint> {
        self.advance(now);
        self.fleet.pool.drain(id, false)?;
        self.queueing.pool_changed(&self.fleet);
        Ok(())
    }

    /// Removes an endpoint and its cached blocks, and returns the requests still in flight on it.
    /// Computes in **O(requests in flight + cached blocks)**.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn remove_endpoint(
        &mut self,
        now: Instant,
        id: EndpointId,
    ) -> Result<RemovedEndpoint, UnknownEndpoint> {
        self.advance(now);
        let slot = self.fleet.pool.remove(id)?;
        self.fleet.prefixes.leave(id.slot);
        self.queueing.endpoint_removed(&self.fleet, id);
        let on_it = self.requests.iter().filter(|(_, request)| request.occupies(id));
        let mut in_flight: Vec<RequestId> = on_it.map(|(id, _)| id).collect();
        sort_rarely(&mut in_flight, Ord::cmp);
        Ok(RemovedEndpoint { endpoint: slot.endpoint, in_flight })
    }

    /// Handles a load report of an endpoint.
    ///
    /// This gateway's own requests are counted exactly; the report adds the requests of *others*.
    /// Without a recent report, an endpoint is assumed to carry as much as its peers.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
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

    /// Handles the result of a probe of the endpoint, such as a health check or a scrape of its
    /// metrics page.
    ///
    /// A failed probe backs the endpoint off. A passed probe ends the backoff of an endpoint that
    /// was unreachable: the next request may be its trial. A backoff after failed requests ends
    /// only with a successful trial.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::from_micros(1);
    /// let mut scheduler = Scheduler::default();
    /// let dead = scheduler.add_endpoint(now, Endpoint::new("dead"))?;
    /// let alive = scheduler.add_endpoint(now, Endpoint::new("alive"))?;
    /// scheduler.handle_probe(now, dead, false)?;
    /// let request = Request::new("llama").text("Hello");
    /// for _ in 0..9 {
    ///     assert_eq!(scheduler.pick(now, &request)?.endpoint_id, alive);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
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

    /// Handles a report that could not be parsed or contained no known metric; `why` is the code of
    /// the error. The previous report stays in effect and grows old. The count and the code are in
    /// [`EndpointStats`](crate::EndpointStats).
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
    /// If the endpoint is unknown.
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

    /// Handles a report of the LoRA adapters on an endpoint.
    ///
    /// # Errors
    ///
    /// If the endpoint is unknown.
    pub fn handle_adapters(
        &mut self,
        now: Instant,
        id: EndpointId,
        state: AdapterState<'_>,
    ) -> Result<(), UnknownEndpoint> {
        let now = self.advance(now);
        let slot = self.fleet.pool.get_mut(id)?;
        let (hasher, catalog) = (&self.fleet.hasher, &self.fleet.adapter_catalog);
        let slots = |key| catalog.traits(key).slots;
        slot.adapters.report(&state, now, |name| hasher.name(name), slots);
        Ok(())
    }

    /// Describes a LoRA adapter: what is known of it before it is loaded. It replaces an earlier
    /// description; an [`Adapter`] with a name only removes it. Adapters without a description are
    /// alike. Endpoints that have the adapter loaded keep the slots that it was loaded with.
    /// Computes in **O(log adapters)**.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] if a value is out of range, or if too many adapters are described.
    ///
    /// ```
    /// use slotwise::{Adapter, Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let request = Request::new("llama").adapter("sql");
    /// let load = |scheduler: &mut Scheduler| {
    ///     scheduler.explain(now, &request).candidates[0].terms.adapter.get()
    /// };
    /// let usual = load(&mut scheduler);
    /// scheduler.describe_adapter(Adapter::new("sql").rank(64))?;
    /// assert_eq!(load(&mut scheduler), 4.0 * usual);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn describe_adapter(&mut self, adapter: Adapter) -> Result<(), AdapterError> {
        let key = self.fleet.hasher.name(&adapter.name);
        self.fleet.adapter_catalog.describe(key, &adapter)
    }

    /// Handles a KV event: the endpoint's engine stored or removed blocks of its cache.
    ///
    /// The first stored event that is applied makes the endpoint *precise*. Its estimated blocks
    /// are dropped. Blocks of dispatched requests with token ids or hashes then count only until
    /// the engine should have confirmed them. Removals, clears and refused events make no endpoint
    /// precise. A precise endpoint without blocks goes back to estimates when a stored event is
    /// refused.
    ///
    /// An event without a model belongs to the endpoint's model. If the description does not name
    /// exactly one model, requests match the event's blocks under any model name. While the
    /// endpoint has no blocks, the block size of the event replaces the described one.
    ///
    /// Computes in **O(blocks)** of the event.
    ///
    /// # Errors
    ///
    /// [`KvEventError`] if the event was refused as a whole. Refused stored events are counted in
    /// [`EndpointStats`](crate::EndpointStats).
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
    /// scheduler.handle_kv_event(now, engine, KvEvent::BlockStored(stored))?;
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
