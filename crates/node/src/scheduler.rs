//! The calls. Each converts, asks the core and converts back.
#![expect(clippy::too_many_arguments, reason = "one object for all would cost a microsecond")]

use std::cell::RefCell;
use std::collections::HashMap;

use napi::Either;
use napi::bindgen_prelude::{BigInt, Uint8Array};
use napi_derive::napi;
use slotwise::{AdapterState, BlockRemoved, BlockStored, Decision, EngineHash, KvEvent, Seconds};
use slotwise_wire::kv::Feeds;
use slotwise_wire::request::RequestReader;

use crate::answer::{Columns, Evicted, Explanation, Numbers, Rejected, write_dispatch};
use crate::attribute::usage;
use crate::config::Config;
use crate::endpoint::{Endpoint, Load, RemovedEndpoint, failure, tier};
use crate::error::{Result, closed, invalid_config, thrown};
use crate::metrics::Readers;
use crate::number::{
    bits, count, endpoint_id, instant, patience, positive, request_id, time, weight,
};
use crate::request::{Asked, Bytes, Hashes, Prompt, TokenIds, Wishes};

/// The native part of the package's `Scheduler`. Times are milliseconds, ids are numbers.
#[napi]
#[derive(Debug)]
pub struct NativeScheduler {
    /// None once it is closed. The cell is never borrowed while JavaScript runs.
    state: RefCell<Option<State>>,
}

/// The core, and what reads bytes for it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: slotwise::Scheduler,
    pub(crate) requests: RequestReader,
    pub(crate) metrics: Readers,
    pub(crate) feeds: Feeds,
}

impl NativeScheduler {
    pub(crate) fn with<T>(
        &self,
        call: impl FnOnce(&mut slotwise::Scheduler) -> Result<T>,
    ) -> Result<T> {
        self.with_all(|state| call(&mut state.core))
    }

    pub(crate) fn with_all<T>(&self, call: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        call(self.state.borrow_mut().as_mut().ok_or_else(closed)?)
    }
}

#[napi]
impl NativeScheduler {
    /// A scheduler with no endpoints.
    #[napi(constructor)]
    pub fn new(config: Config) -> Result<Self> {
        let config = slotwise::Config::try_from(config).map_err(|unfit| unfit.in_config())?;
        let core = slotwise::Scheduler::new(config).map_err(invalid_config)?;
        let (requests, metrics, feeds) =
            (RequestReader::new(), Readers::default(), Feeds::default());
        Ok(Self { state: RefCell::new(Some(State { core, requests, metrics, feeds })) })
    }

    /// Gives its memory back.
    #[napi]
    pub fn close(&self) {
        self.state.take();
    }

    /// The whole configuration.
    #[napi(getter)]
    pub fn config(&self) -> Result<Config> {
        self.with(|core| Ok(core.config().into()))
    }

    /// How an endpoint was described.
    #[napi]
    pub fn endpoint(&self, endpoint: f64) -> Result<Option<Endpoint>> {
        let id = endpoint_id("endpoint", endpoint)?;
        self.with(|core| Ok(core.endpoint(id).map(Endpoint::from)))
    }

    /// The endpoint of that name.
    #[napi]
    pub fn endpoint_named(&self, name: String) -> Result<Option<f64>> {
        self.with(|core| Ok(core.endpoint_named(&name).map(|id| id.as_u64() as f64)))
    }

    /// The endpoint that a request in flight is on.
    #[napi]
    pub fn endpoint_of(&self, request: f64) -> Result<Option<f64>> {
        let id = request_id(request)?;
        self.with(|core| Ok(core.endpoint_of(id).map(|id| id.as_u64() as f64)))
    }

    /// How many requests are in flight on an endpoint.
    #[napi]
    pub fn in_flight_on(&self, endpoint: f64) -> Result<f64> {
        let id = endpoint_id("endpoint", endpoint)?;
        self.with(|core| core.in_flight_on(id).map(f64::from).map_err(thrown))
    }

    /// How many endpoints take new requests.
    #[napi(getter)]
    pub fn accepting_endpoints(&self) -> Result<f64> {
        self.with(|core| Ok(core.accepting_endpoints() as f64))
    }

    /// Counters and gauges.
    #[napi]
    pub fn stats(&self) -> Result<crate::stats::Stats> {
        self.with(|core| Ok(core.stats().into()))
    }

    // News from the world.

    /// Adds an endpoint.
    #[napi]
    pub fn add_endpoint(&self, now: f64, endpoint: Endpoint) -> Result<f64> {
        let now = instant("now", now)?;
        self.with(|core| {
            let endpoint = endpoint.described()?;
            core.add_endpoint(now, endpoint).map(|id| id.as_u64() as f64).map_err(thrown)
        })
    }

    /// Describes an endpoint anew.
    #[napi]
    pub fn update_endpoint(&self, now: f64, endpoint: f64, description: Endpoint) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| {
            let description = description.described()?;
            core.update_endpoint(now, id, description).map_err(thrown)
        })
    }

    /// Takes an endpoint out of the pool.
    #[napi]
    pub fn remove_endpoint(&self, now: f64, endpoint: f64) -> Result<RemovedEndpoint> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with_all(|State { core, feeds, .. }| {
            let removed = core.remove_endpoint(now, id).map_err(thrown)?;
            feeds.forget(id);
            Ok(removed.into())
        })
    }

    /// Sends no new requests to an endpoint.
    #[napi]
    pub fn drain_endpoint(&self, now: f64, endpoint: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| core.drain_endpoint(now, id).map_err(thrown))
    }

    /// Takes a draining endpoint back into service.
    #[napi]
    pub fn resume_endpoint(&self, now: f64, endpoint: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| core.resume_endpoint(now, id).map_err(thrown))
    }

    /// An endpoint reported its load.
    #[napi]
    pub fn handle_load(&self, now: f64, endpoint: f64, load: Load) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        let load = slotwise::Load::try_from(load)?;
        self.with(|core| core.handle_load(now, id, load).map_err(thrown))
    }

    /// A probe of the endpoint passed or failed.
    #[napi]
    pub fn handle_probe(&self, now: f64, endpoint: f64, passed: bool) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| core.handle_probe(now, id, passed).map_err(thrown))
    }

    /// An endpoint reported its LoRA adapters.
    #[napi]
    pub fn handle_adapters(
        &self,
        now: f64,
        endpoint: f64,
        active: Vec<String>,
        slots: f64,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        let active: Vec<&str> = active.iter().map(String::as_str).collect();
        let state = AdapterState::active(&active).slots(count("slots", slots)?);
        self.with(|core| core.handle_adapters(now, id, state).map_err(thrown))
    }

    /// An engine stored blocks.
    #[napi]
    pub fn handle_stored(
        &self,
        now: f64,
        endpoint: f64,
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
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        let blocks = engine_hashes(blocks);
        let mut stored = BlockStored::new(&blocks, positive("blockSize", block_size)?);
        stored.parent = parent.map(|name| bits("parent", &name).map(EngineHash)).transpose()?;
        stored.tokens = tokens;
        stored.lookahead = lookahead.unwrap_or_default();
        stored.tier = self::tier(tier.as_deref())?;
        (stored.model, stored.adapter) = (model.as_deref(), adapter.as_deref());
        stored.cache_salt = cache_salt.as_deref();
        self.with(|core| {
            core.handle_kv_event(now, id, KvEvent::BlockStored(stored)).map_err(thrown)
        })
    }

    /// An engine removed blocks.
    #[napi]
    pub fn handle_removed(
        &self,
        now: f64,
        endpoint: f64,
        #[napi(ts_arg_type = "BigUint64Array")] blocks: Hashes<'_>,
        tier: Option<String>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        let blocks = engine_hashes(blocks);
        let removed = BlockRemoved::new(&blocks).tier(self::tier(tier.as_deref())?);
        self.with(|core| {
            core.handle_kv_event(now, id, KvEvent::BlockRemoved(removed)).map_err(thrown)
        })
    }

    /// An engine cleared its cache.
    #[napi]
    pub fn handle_cleared(&self, now: f64, endpoint: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| core.handle_kv_event(now, id, KvEvent::AllBlocksCleared).map_err(thrown))
    }

    // A gateway that starts again.

    /// What endpoints hold in their caches.
    #[napi]
    pub fn snapshot(&self) -> Result<Uint8Array> {
        self.with(|core| Ok(core.snapshot().into()))
    }

    /// Takes what a snapshot says for what the endpoints hold.
    #[napi]
    pub fn restore(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] snapshot: Bytes<'_>,
    ) -> Result<f64> {
        let now = instant("now", now)?;
        self.with(|core| {
            core.restore(now, snapshot).map(|endpoints| endpoints as f64).map_err(thrown)
        })
    }

    // A request's life.

    /// Chooses and reserves. A dispatch is written into `numbers`; a rejection is returned.
    #[napi]
    pub fn pick(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
        bytes: f64,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
        session: Option<String>,
        flow: Option<String>,
        priority: Option<f64>,
        deadline: Option<f64>,
        expected_output_tokens: Option<f64>,
        wishes: Option<Wishes>,
        #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
    ) -> Result<Option<Rejected>> {
        let now = instant("now", now)?;
        let asked = Asked {
            prompt,
            bytes,
            model: model.as_deref(),
            adapter: adapter.as_deref(),
            cache_salt: cache_salt.as_deref(),
            session: session.as_deref(),
            flow: flow.as_deref(),
            priority,
            deadline,
            expected_output_tokens,
            wishes: wishes.as_ref(),
        };
        self.with_all(|State { core, requests, .. }| {
            let picked = asked.with(now, requests, |request| {
                core.pick(now, request).map_err(|rejected| Rejected::new(core, request, rejected))
            })?;
            match picked {
                Ok(dispatch) => {
                    write_dispatch(&dispatch, numbers);
                    Ok(None)
                }
                Err(rejected) => Ok(Some(rejected)),
            }
        })
    }

    /// The same at the costs of the caller's own: `costs[i]` seconds for `endpoints[i]`.
    #[napi]
    pub fn pick_by(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
        bytes: f64,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
        session: Option<String>,
        flow: Option<String>,
        priority: Option<f64>,
        deadline: Option<f64>,
        expected_output_tokens: Option<f64>,
        wishes: Option<Wishes>,
        #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
        #[napi(ts_arg_type = "Float64Array")] endpoints: Numbers<'_>,
        #[napi(ts_arg_type = "Float64Array")] costs: Numbers<'_>,
    ) -> Result<Option<Rejected>> {
        let now = instant("now", now)?;
        let asked = Asked {
            prompt,
            bytes,
            model: model.as_deref(),
            adapter: adapter.as_deref(),
            cache_salt: cache_salt.as_deref(),
            session: session.as_deref(),
            flow: flow.as_deref(),
            priority,
            deadline,
            expected_output_tokens,
            wishes: wishes.as_ref(),
        };
        let costs: HashMap<u64, Seconds> = endpoints
            .iter()
            .zip(costs.iter())
            .map(|(endpoint, cost)| (*endpoint as u64, Seconds::new(*cost)))
            .collect();
        let cost = |endpoint: slotwise::EndpointId, terms: &slotwise::CostTerms| {
            costs.get(&endpoint.as_u64()).copied().unwrap_or_else(|| terms.total())
        };
        self.with_all(|State { core, requests, .. }| {
            let picked = asked.with(now, requests, |request| {
                let picked = core.pick_by(now, request, cost);
                picked.map_err(|rejected| Rejected::new(core, request, rejected))
            })?;
            match picked {
                Ok(dispatch) => {
                    write_dispatch(&dispatch, numbers);
                    Ok(None)
                }
                Err(rejected) => Ok(Some(rejected)),
            }
        })
    }

    /// Hands a request to flow control: its number, or why it need not wait at all.
    #[napi(ts_return_type = "number | Rejected")]
    pub fn submit(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
        bytes: f64,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
        session: Option<String>,
        flow: Option<String>,
        priority: Option<f64>,
        deadline: Option<f64>,
        expected_output_tokens: Option<f64>,
        wishes: Option<Wishes>,
        ttl: Option<f64>,
        weight: f64,
    ) -> Result<Either<f64, Rejected>> {
        let now = instant("now", now)?;
        let ttl = ttl.map(|ttl| patience("ttlMs", ttl)).transpose()?;
        let weight = self::weight("weight", weight)?;
        let asked = Asked {
            prompt,
            bytes,
            model: model.as_deref(),
            adapter: adapter.as_deref(),
            cache_salt: cache_salt.as_deref(),
            session: session.as_deref(),
            flow: flow.as_deref(),
            priority,
            deadline,
            expected_output_tokens,
            wishes: wishes.as_ref(),
        };
        let submit = |core: &mut slotwise::Scheduler, request: &slotwise::Request<'_>| {
            let mut request = request.clone();
            request.ttl = ttl.or(request.ttl);
            request.weight = weight;
            core.submit(now, &request)
        };
        self.with_all(|State { core, requests, .. }| {
            let submitted = asked.with(now, requests, |request| {
                submit(core, request).map_err(|rejected| Rejected::new(core, request, rejected))
            })?;
            match submitted {
                Ok(id) => Ok(Either::A(id.as_u64() as f64)),
                Err(rejected) => Ok(Either::B(rejected)),
            }
        })
    }

    /// The next decision about a request that was submitted: false if there is none. A dispatch is written into `numbers`,
    /// for which true stands; an eviction is returned.
    #[napi(ts_return_type = "boolean | Evicted")]
    pub fn poll_decision(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Float64Array")] numbers: Numbers<'_>,
    ) -> Result<Either<bool, Evicted>> {
        let now = instant("now", now)?;
        self.with(|core| match core.poll_decision(now) {
            Some(Decision::Dispatch(dispatch)) => {
                write_dispatch(&dispatch, numbers);
                Ok(Either::A(true))
            }
            Some(Decision::Evict(evicted)) => Ok(Either::B(evicted.into())),
            _ => Ok(Either::A(false)),
        })
    }

    /// When there is something to decide although nothing has happened.
    #[napi]
    pub fn next_timeout(&self) -> Result<Option<f64>> {
        self.with(|core| Ok(core.next_timeout().and_then(time)))
    }

    /// Requests of negative priority that could make room for others.
    #[napi]
    pub fn preemption_candidates(&self, most: f64) -> Result<Vec<f64>> {
        let most = count("most", most)? as usize;
        self.with(|core| {
            Ok(core.preemption_candidates(most).into_iter().map(|id| id.as_u64() as f64).collect())
        })
    }

    /// What a pick would decide, and why.
    #[napi]
    pub fn explain(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
        bytes: f64,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
        session: Option<String>,
        flow: Option<String>,
        priority: Option<f64>,
        deadline: Option<f64>,
        expected_output_tokens: Option<f64>,
        wishes: Option<Wishes>,
    ) -> Result<Explanation> {
        let now = instant("now", now)?;
        let asked = Asked {
            prompt,
            bytes,
            model: model.as_deref(),
            adapter: adapter.as_deref(),
            cache_salt: cache_salt.as_deref(),
            session: session.as_deref(),
            flow: flow.as_deref(),
            priority,
            deadline,
            expected_output_tokens,
            wishes: wishes.as_ref(),
        };
        self.with_all(|State { core, requests, .. }| {
            asked.with(now, requests, |request| core.explain(now, request).into())
        })
    }

    /// The endpoints that could have the request, column by column.
    #[napi]
    pub fn candidates(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array | Uint32Array | BigUint64Array")] prompt: Prompt<'_>,
        bytes: f64,
        model: Option<String>,
        adapter: Option<String>,
        cache_salt: Option<String>,
        session: Option<String>,
        flow: Option<String>,
        priority: Option<f64>,
        deadline: Option<f64>,
        expected_output_tokens: Option<f64>,
        wishes: Option<Wishes>,
    ) -> Result<Columns> {
        let now = instant("now", now)?;
        let asked = Asked {
            prompt,
            bytes,
            model: model.as_deref(),
            adapter: adapter.as_deref(),
            cache_salt: cache_salt.as_deref(),
            session: session.as_deref(),
            flow: flow.as_deref(),
            priority,
            deadline,
            expected_output_tokens,
            wishes: wishes.as_ref(),
        };
        self.with_all(|State { core, requests, .. }| {
            asked.with(now, requests, |request| core.explain(now, request).into())
        })
    }

    /// The first token of a request arrived.
    #[napi]
    pub fn handle_first_token(&self, now: f64, request: f64) -> Result<()> {
        let (now, id) = (instant("now", now)?, request_id(request)?);
        self.with(|core| core.handle_first_token(now, id).map_err(thrown))
    }

    /// The answer of a request grew.
    #[napi]
    pub fn handle_tokens(&self, now: f64, request: f64, tokens: f64) -> Result<()> {
        let (now, id, tokens) =
            (instant("now", now)?, request_id(request)?, count("tokens", tokens)?);
        self.with(|core| core.handle_tokens(now, id, tokens).map_err(thrown))
    }

    /// The answer to a request has this id.
    #[napi]
    pub fn handle_answer(&self, now: f64, request: f64, answer: String) -> Result<()> {
        let (now, id) = (instant("now", now)?, request_id(request)?);
        self.with(|core| {
            core.handle_answer(now, id, slotwise::AnswerId::of(&answer)).map_err(thrown)
        })
    }

    /// A request is done.
    #[napi]
    pub fn complete(
        &self,
        now: f64,
        request: f64,
        prompt_tokens: Option<f64>,
        cached_tokens: Option<f64>,
        completion_tokens: Option<f64>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, request_id(request)?);
        let usage = usage(prompt_tokens, cached_tokens, completion_tokens)?;
        self.with(|core| core.complete(now, id, usage).map_err(thrown))
    }

    /// A request failed.
    #[napi]
    pub fn fail(&self, now: f64, request: f64, why: String) -> Result<()> {
        let (now, id, failure) = (instant("now", now)?, request_id(request)?, failure(&why)?);
        self.with(|core| core.fail(now, id, failure).map_err(thrown))
    }

    /// The client went away.
    #[napi]
    pub fn cancel(&self, now: f64, request: f64) -> Result<bool> {
        let (now, id) = (instant("now", now)?, request_id(request)?);
        self.with(|core| Ok(core.cancel(now, id)))
    }

    /// A request went to another endpoint than was decided.
    #[napi]
    pub fn redirect(&self, now: f64, request: f64, endpoint: f64, failure: String) -> Result<()> {
        let (now, id, to) =
            (instant("now", now)?, request_id(request)?, endpoint_id("endpoint", endpoint)?);
        let failure = self::failure(&failure)?;
        self.with(|core| core.redirect_after(now, id, to, failure).map_err(thrown))
    }
}

/// A call that does nothing: what every call costs at least.
#[napi]
pub fn noop() {}

fn engine_hashes(blocks: &[u64]) -> Vec<EngineHash> {
    blocks.iter().map(|name| EngineHash(*name)).collect()
}

/// The least and the most milliseconds that are plausible for a field, by its name in the core, if so many are not.
#[napi]
pub fn implausible(field: String, millis: f64) -> Result<Option<Vec<f64>>> {
    let found = slotwise::implausible(&field, patience(&field, millis)?);
    Ok(found
        .map(|found| vec![crate::number::millis(found.least), crate::number::millis(found.most)]))
}
