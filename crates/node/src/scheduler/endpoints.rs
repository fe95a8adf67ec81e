//! The pool, and what its endpoints report as values.
#![expect(clippy::too_many_arguments, reason = "one object for all would cost a microsecond")]

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use slotwise::{Adapter, AdapterState, BlockRemoved, BlockStored, EndpointId, EngineHash, KvEvent};
use slotwise_gateway::config::PoolConfig;

use super::NativeScheduler;
use crate::answer::Numbers;
use crate::endpoint::{Endpoint, Load, RemovedEndpoint, tier};
use crate::error::{Result, thrown};
use crate::number::{bits, count, duration, instant, positive, to_endpoint_id};
use crate::request::{Hashes, TokenIds};

#[napi]
impl NativeScheduler {
    /// Adds an endpoint.
    #[napi]
    pub fn add_endpoint(&self, now: f64, endpoint: Endpoint) -> Result<f64> {
        let now = instant("now", now)?;
        self.state.input(|scheduler| {
            let endpoint = endpoint.described()?;
            scheduler.add_endpoint(now, endpoint).map(|id| id.as_u64() as f64).map_err(thrown)
        })
    }

    /// Replaces an endpoint's description.
    #[napi]
    pub fn update_endpoint(&self, now: f64, endpoint_id: f64, description: Endpoint) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state.input(|scheduler| {
            let description = description.described()?;
            scheduler.update_endpoint(now, id, description).map_err(thrown)
        })
    }

    /// Removes an endpoint.
    #[napi]
    pub fn remove_endpoint(&self, now: f64, endpoint_id: f64) -> Result<RemovedEndpoint> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state
            .with(|state| state.gateway.remove_endpoint(now, id).map(Into::into).map_err(thrown))
    }

    /// Sends no new requests to an endpoint.
    #[napi]
    pub fn drain_endpoint(&self, now: f64, endpoint_id: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state.input(|scheduler| scheduler.drain_endpoint(now, id).map_err(thrown))
    }

    /// Takes a draining endpoint back into service.
    #[napi]
    pub fn resume_endpoint(&self, now: f64, endpoint_id: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state.input(|scheduler| scheduler.resume_endpoint(now, id).map_err(thrown))
    }

    /// Changes the pool to that of this name in a configuration. Returns its endpoints' ids.
    #[napi]
    pub fn apply(&self, now: f64, configuration: String, pool: String) -> Result<Vec<f64>> {
        let now = instant("now", now)?;
        let pool = PoolConfig::of_text(&configuration, &pool).map_err(thrown)?;
        self.state.with(|state| state.gateway.apply(now, &pool).map(ids).map_err(thrown))
    }

    /// Removes the endpoints that left the configuration and have no request in flight.
    #[napi]
    pub fn remove_idle(&self, now: f64) -> Result<Vec<f64>> {
        let now = instant("now", now)?;
        self.state.with(|state| Ok(ids(state.gateway.remove_idle(now))))
    }

    /// An endpoint reported its load.
    #[napi]
    pub fn handle_load(&self, now: f64, endpoint_id: f64, load: Load) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let load = slotwise::Load::try_from(load)?;
        self.state.input(|scheduler| scheduler.handle_load(now, id, load).map_err(thrown))
    }

    /// Several endpoints reported their loads. Returns the ids that are not in the pool.
    #[napi]
    pub fn handle_loads(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Float64Array")] endpoint_ids: Numbers<'_>,
        loads: Vec<Load>,
    ) -> Result<Vec<f64>> {
        let now = instant("now", now)?;
        let read = |(id, load): (&f64, Load)| {
            Ok((to_endpoint_id("endpointId", *id)?, slotwise::Load::try_from(load)?))
        };
        let reports = endpoint_ids.iter().zip(loads).map(read).collect::<Result<Vec<_>>>()?;
        self.state.input(|scheduler| Ok(ids(scheduler.handle_loads(now, &reports))))
    }

    /// A probe of the endpoint passed or failed.
    #[napi]
    pub fn handle_probe(&self, now: f64, endpoint_id: f64, passed: bool) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state.input(|scheduler| scheduler.handle_probe(now, id, passed).map_err(thrown))
    }

    /// An endpoint reported its LoRA adapters.
    #[napi]
    pub fn handle_adapters(
        &self,
        now: f64,
        endpoint_id: f64,
        active: Vec<String>,
        slots: f64,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let active: Vec<&str> = active.iter().map(String::as_str).collect();
        let state = AdapterState::active(&active).slots(count("slots", slots)?);
        self.state.input(|scheduler| scheduler.handle_adapters(now, id, state).map_err(thrown))
    }

    /// Describes a LoRA adapter before it is loaded.
    #[napi]
    pub fn describe_adapter(
        &self,
        name: String,
        rank: f64,
        load_time_ms: Option<f64>,
        slots: f64,
        slowdown: Option<f64>,
    ) -> Result<()> {
        let mut adapter = Adapter::new(name).rank(count("rank", rank)?);
        adapter = adapter.slots(count("slots", slots)?);
        adapter.load_time = load_time_ms.map(|ms| duration("loadTimeMs", ms)).transpose()?;
        adapter.slowdown = slowdown;
        self.state.input(|scheduler| scheduler.describe_adapter(adapter).map_err(thrown))
    }

    /// An engine stored blocks.
    #[napi]
    pub fn handle_stored(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "BigUint64Array")] blocks: Hashes<'_>,
        block_size: f64,
        parent: Option<BigInt>,
        #[napi(ts_arg_type = "Uint32Array | undefined | null")] tokens: Option<TokenIds<'_>>,
        #[napi(ts_arg_type = "Uint32Array | undefined | null")] lookahead: Option<TokenIds<'_>>,
        tier: Option<String>,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let blocks = engine_hashes(blocks);
        let mut stored = BlockStored::new(&blocks, positive("blockSize", block_size)?);
        stored.parent = parent.map(|name| bits("parent", &name).map(EngineHash)).transpose()?;
        stored.tokens = tokens;
        stored.lookahead = lookahead.unwrap_or_default();
        stored.tier = self::tier(tier.as_deref())?;
        (stored.model, stored.adapter) = (model.as_deref(), adapter.as_deref());
        stored.cache_salt = cache_salt.as_deref();
        self.state.input(|scheduler| {
            scheduler.handle_kv_event(now, id, KvEvent::BlockStored(stored)).map_err(thrown)
        })
    }

    /// An engine removed blocks.
    #[napi]
    pub fn handle_removed(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "BigUint64Array")] blocks: Hashes<'_>,
        tier: Option<String>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let blocks = engine_hashes(blocks);
        let removed = BlockRemoved::new(&blocks).tier(self::tier(tier.as_deref())?);
        self.state.input(|scheduler| {
            scheduler.handle_kv_event(now, id, KvEvent::BlockRemoved(removed)).map_err(thrown)
        })
    }

    /// An engine cleared its cache.
    #[napi]
    pub fn handle_cleared(&self, now: f64, endpoint_id: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        self.state.input(|scheduler| {
            scheduler.handle_kv_event(now, id, KvEvent::AllBlocksCleared).map_err(thrown)
        })
    }
}

fn ids(endpoints: Vec<EndpointId>) -> Vec<f64> {
    endpoints.into_iter().map(|endpoint| endpoint.as_u64() as f64).collect()
}

fn engine_hashes(blocks: &[u64]) -> Vec<EngineHash> {
    blocks.iter().map(|hash| EngineHash(*hash)).collect()
}
