//! The scheduler as shipped, and variants that lack one part.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use ::slotwise::{
    Adapter, AdapterState, BlockRemoved, BlockStored, CacheEvictionOrder, CostTerms, Decider,
    DisaggregationConfig, Endpoint, EndpointId, EngineHash, Instant, KvEvent, Load, Priority,
    RejectReason, Request, RequestId, Role, Scheduler, Seconds, SessionAdmissionConfig, Usage,
};

use super::{Booked, Finished, Fleet, Forecast, Incoming, Needs, Policy, Report};
use crate::replica::KvChange;
use crate::trace::adapter_name;

/// The part that is removed or replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Variant {
    /// Nothing: the shipped defaults, with the operator's description of the hardware.
    Shipped,
    /// The queue term.
    NoQueue,
    /// The room term.
    NoRoom,
    /// The eviction term.
    NoEviction,
    /// The KV term.
    NoKv,
    /// The decode term.
    NoDecode,
    /// The decode term's cap.
    NoDecodeCap,
    /// The price above cost of its own prefill.
    PrefillAtCost,
    /// The prefill term.
    NoPrefill,
    /// The adapter term.
    NoAdapter,
    /// Learned speeds.
    Unlearned,
    /// The operator's description of the hardware, except its KV capacity, and of the adapters.
    Undescribed,
    /// Its own accounting: each request is released at once, and loads come from metrics alone.
    ScrapedOnly,
    /// The order in which caches evict.
    HeadFirst,
    /// Estimated contents: KV events replace them.
    Precise,
    /// Corrections from `cached_tokens`.
    NoCorrection,
    /// Nothing; requests wait for their turn.
    Flow,
    /// Nothing; requests have deadlines, and a quarter of the refused ones are sent nevertheless.
    Deadlines,
    /// Nothing; the replicas have roles.
    Disaggregated(Decider),
}

impl Variant {
    pub(super) fn build(self, fleet: &Fleet) -> Box<dyn Policy> {
        Box::new(Slotwise::new(self, fleet))
    }
}

/// One of so many requests that are refused for their deadlines is sent nevertheless.
const AUDITED: u32 = 4;

/// A gateway that embeds the scheduler.
pub(super) struct Slotwise {
    variant: Variant,
    pub(super) scheduler: Scheduler,
    endpoints: Vec<EndpointId>,
    pub(super) requests: HashMap<u32, RequestId>,
    block_size: NonZeroU32,
    deadline: Option<Duration>,
    /// The forecast of the last dispatch.
    forecast: Option<(u32, Forecast)>,
}

impl Slotwise {
    pub(super) fn new(variant: Variant, fleet: &Fleet) -> Self {
        let builder = Scheduler::builder().seed(fleet.seed).with(|config| {
            config.prices = fleet.level.prices();
            let weights = &mut config.prices;
            match variant {
                Variant::NoQueue => weights.queue = 0.0,
                Variant::NoRoom => weights.kv_admission_wait = 0.0,
                Variant::NoEviction => weights.cache_eviction = 0.0,
                Variant::NoKv => weights.kv = Seconds::ZERO,
                Variant::NoDecode => weights.decode = 0.0,
                Variant::NoDecodeCap => weights.decode_cap = Seconds::new(f64::MAX),
                Variant::PrefillAtCost => weights.prefill = 1.0,
                Variant::NoPrefill => weights.prefill = 0.0,
                Variant::NoAdapter => weights.adapter = 0.0,
                Variant::Unlearned | Variant::ScrapedOnly => config.learn_speed = false,
                Variant::Flow => {
                    config.flow.ttl = fleet.ttl;
                    config.flow.session_admission =
                        fleet.guard.then(SessionAdmissionConfig::default);
                }
                Variant::Disaggregated(decider) => {
                    let mut disaggregation = DisaggregationConfig::default();
                    disaggregation.prefill = decider;
                    disaggregation.kv_transfer = fleet.pools.transfer;
                    config.disaggregation = Some(disaggregation);
                }
                _ => {}
            }
        });
        Self::of(variant, builder.build().expect("the variants are valid"), fleet)
    }

    /// A scheduler of the caller's, in front of the fleet's replicas.
    pub(super) fn of(variant: Variant, mut scheduler: Scheduler, fleet: &Fleet) -> Self {
        let block_size = NonZeroU32::new(fleet.block_tokens).expect("workloads have blocks");
        let chunk = NonZeroU32::new(fleet.chunk).expect("engines compute tokens");
        let endpoints = (0..fleet.replicas).map(|replica| {
            let mut endpoint = Endpoint::new(format!("replica-{replica}"))
                .block_size(block_size)
                .kv_cache_tokens(fleet.mix.of(replica).kv_tokens)
                .adapter_slots(fleet.adapter_slots as u32)
                .adapter_load_time(fleet.adapter_load_time);
            if variant != Variant::Undescribed {
                endpoint = endpoint.prefill(fleet.class.prefill_cost(chunk));
            }
            if let Variant::Disaggregated(_) = variant {
                let (prefill, decode) = (fleet.pools.prefill, fleet.pools.decode);
                endpoint = endpoint.role(match replica {
                    replica if replica < prefill => Role::Prefill,
                    replica if replica < prefill + decode => Role::Decode,
                    _ => Role::Unified,
                });
            }
            if variant == Variant::HeadFirst {
                endpoint = endpoint.cache_eviction(CacheEvictionOrder::HeadFirst);
            }
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ")
        });
        let endpoints = endpoints.collect();
        for (adapter, rank) in fleet.adapter_ranks.iter() {
            if variant != Variant::Undescribed {
                let described = Adapter::new(adapter_name(adapter)).rank(rank);
                scheduler.describe_adapter(described).expect("the simulator's ranks are valid");
            }
        }
        let deadline = (variant == Variant::Deadlines).then_some(fleet.deadline);
        let requests = HashMap::new();
        Self { variant, scheduler, endpoints, requests, block_size, deadline, forecast: None }
    }

    /// The request in the scheduler's form.
    pub(super) fn ask<'a>(&self, request: &Incoming<'a>) -> Request<'a> {
        let mut asked = Request::new("model")
            .blocks(request.blocks, self.block_size, request.input)
            .priority(Priority(request.priority))
            .flow(request.tenant);
        asked.adapter = request.adapter;
        asked.session = request.session;
        asked
    }

    /// Chooses among the replicas that are open, as [`pick`](Policy::pick) among all.
    pub(super) fn pick_among(
        &mut self,
        now: Instant,
        request: &Incoming<'_>,
        is_open: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut asked =
            Request::new("model").blocks(request.blocks, self.block_size, request.input);
        asked.adapter = request.adapter;
        let endpoints = &self.endpoints;
        let cost = |endpoint, terms: &CostTerms| {
            let open = endpoints.iter().position(|known| *known == endpoint).is_some_and(&is_open);
            if open { terms.total() } else { Seconds::new(f64::INFINITY) }
        };
        let dispatch = self.scheduler.pick_by(now, &asked, cost).ok()?;
        self.requests.insert(request.id, dispatch.request_id);
        self.replica(dispatch.endpoint_id)
    }

    /// The replica behind an endpoint.
    pub(super) fn replica(&self, endpoint: EndpointId) -> Option<usize> {
        self.endpoints.iter().position(|known| *known == endpoint)
    }
}

impl Policy for Slotwise {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let mut asked =
            Request::new("model").blocks(request.blocks, self.block_size, request.input);
        if let Some(adapter) = request.adapter {
            asked = asked.adapter(adapter);
        }
        asked.deadline = self.deadline.map(|length| now + length);
        let mut picked = self.scheduler.pick(now, &asked);
        let late = picked
            .as_ref()
            .is_err_and(|rejected| rejected.reason == RejectReason::DeadlineUnreachable);
        if late && request.id.is_multiple_of(AUDITED) {
            asked.deadline = None;
            picked = self.scheduler.pick(now, &asked);
        }
        let dispatch = picked.ok()?;
        let (ttft, tpot) = (dispatch.predicted_ttft.get(), dispatch.predicted_tpot.get());
        self.forecast = Some((request.id, Forecast { ttft, tpot, refused: late }));
        if self.variant == Variant::ScrapedOnly {
            self.scheduler
                .complete(now, dispatch.request_id, Usage::default())
                .expect("just picked");
        } else {
            self.requests.insert(request.id, dispatch.request_id);
        }
        self.replica(dispatch.endpoint_id)
    }

    fn forecast(&self, id: u32) -> Option<Forecast> {
        self.forecast.filter(|(last, _)| *last == id).map(|(_, forecast)| forecast)
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        if let Some(request) = self.requests.get(&id) {
            self.scheduler.handle_first_token(now, *request).expect("in flight");
        }
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        let Some(request) = self.requests.remove(&id) else { return };
        let mut said =
            Usage::default().prompt_tokens(usage.prompt).completion_tokens(usage.completion);
        if self.variant != Variant::NoCorrection {
            said = said.cached_tokens(usage.cached);
        }
        self.scheduler.complete(now, request, said).expect("in flight");
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        let snapshot = &report.snapshot;
        let load = Load::default()
            .waiting(snapshot.waiting)
            .running(snapshot.running)
            .kv_usage(snapshot.kv_usage)
            .sampled_at(report.sampled_at);
        let endpoint = self.endpoints[replica];
        self.scheduler.handle_load(now, endpoint, load).expect("known");
        let names: Vec<String> =
            snapshot.adapters.iter().map(|adapter| adapter_name(*adapter)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.scheduler.handle_adapters(now, endpoint, AdapterState::active(&names)).expect("known");
    }

    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        let names = |blocks: &[::slotwise::BlockHash]| -> Vec<EngineHash> {
            blocks.iter().map(|hash| EngineHash(hash.0)).collect()
        };
        let endpoint = self.endpoints[replica];
        let applied = match change {
            KvChange::Stored { parent, blocks } => {
                let names = names(blocks);
                let stored = BlockStored::new(&names, self.block_size);
                let stored = match parent {
                    Some(parent) => stored.parent(EngineHash(parent.0)),
                    None => stored,
                };
                self.scheduler.handle_kv_event(now, endpoint, KvEvent::BlockStored(stored))
            }
            KvChange::Removed(blocks) => self.scheduler.handle_kv_event(
                now,
                endpoint,
                KvEvent::BlockRemoved(BlockRemoved::new(&names(blocks))),
            ),
        };
        applied.expect("events come whole and in order");
    }

    fn booked(&self) -> Option<Booked> {
        Some(Booked::of(&self.scheduler))
    }

    fn needs(&self) -> Needs {
        Needs { metrics: true, kv_events: self.variant == Variant::Precise }
    }
}
