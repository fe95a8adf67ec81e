//! What a scheduler may use, assume and charge.

use napi::bindgen_prelude::{BigInt, Either};
use napi_derive::napi;
use slotwise_gateway::config::PoolConfig;

use crate::disaggregation::DisaggregationConfig;
use crate::error::{self, Unfit, thrown};
use crate::flow::FlowConfig;
use crate::number::{MAX_SAFE, bits, duration, exact, finite, millis, positive, size};

/// The configuration of a scheduler. Every field has a default, and every structure that grows has
/// a limit here.
#[napi(object)]
#[derive(Debug, Default)]
pub struct Config {
    /// Keys all hashes: a whole number, or a bigint of up to 64 bits. Keep it secret if clients
    /// could profit from collisions, and equal on gateways whose hashes must agree. Default: a
    /// random number, which `config` returns.
    pub seed: Option<Either<f64, BigInt>>,
    /// Endpoints in the pool. Default: 65,536.
    pub max_endpoints: Option<f64>,
    /// Requests in flight, over the whole pool. Default: 1,048,576.
    pub max_in_flight: Option<f64>,
    /// Blocks of prompts in flight that are remembered until their requests end, 8 bytes each.
    /// Beyond the limit, requests proceed, and their cache contents are tracked approximately.
    /// Default: 16,777,216.
    pub max_in_flight_blocks: Option<f64>,
    /// Blocks of a prompt that are tracked; blocks after them count as not cached. Default: 65,536.
    pub max_prompt_blocks: Option<f64>,
    /// Models whose bytes per token are learned. Default: 1,024.
    pub max_models: Option<f64>,
    /// LoRA adapters whose popularity and load time are learned, at about 150 bytes each, and as
    /// many descriptions. Default:
    /// 4,096.
    pub max_adapters: Option<f64>,
    /// Answers whose endpoints are remembered, for requests that continue from them. Default:
    /// 65,536.
    pub max_threads: Option<f64>,
    /// What is remembered of the endpoints' caches.
    pub index: Option<IndexLimits>,
    /// Tokens that fit into the KV cache of an endpoint without its own value. Default: 400,000.
    pub kv_cache_tokens: Option<f64>,
    /// Share of an endpoint's KV cache that one request may need at the end of its answer; above
    /// it, the request needs another endpoint. Default: 0.97.
    pub kv_limit: Option<f64>,
    /// LoRA adapters that fit side by side on an endpoint without its own value; values above 1,024
    /// are clamped. Default: 4.
    pub adapter_slots: Option<f64>,
    /// Milliseconds to load an adapter on an endpoint without its own value. Default: 300.
    pub adapter_load_time_ms: Option<f64>,
    /// Share of the endpoints that load unpopular adapters while adapters outnumber slots; zero
    /// disables this. Default: 0.25.
    pub adapter_window: Option<f64>,
    /// Prefill cost of an endpoint without its own value.
    pub prefill: Option<PrefillCost>,
    /// Whether each endpoint's speed is learned from its first tokens. Default: true.
    pub learn_speed: Option<bool>,
    /// Milliseconds after which a load report carries little weight. Default: 5,000.
    pub report_lifetime_ms: Option<f64>,
    /// Milliseconds of the first backoff of an endpoint that failed; zero disables backoff.
    /// Default: 1,000.
    pub backoff_ms: Option<f64>,
    /// The longest backoff in milliseconds: each failed trial doubles the time. Default: 60,000.
    pub backoff_limit_ms: Option<f64>,
    /// The prices of the default profile.
    pub prices: Option<CostPrices>,
    /// Value of cached blocks outside the accelerator's memory.
    pub tiers: Option<TierFactors>,
    /// The scheduling profile that chooses endpoints: filters, weighted scorers and a picker of the
    /// Endpoint Picker, by name. Default: none, the predicted seconds choose.
    #[napi(
        ts_type = "{ filters?: Array<{ type: string; parameters?: object }>; scorers?: Array<{ scorer: { type: string; parameters?: object }; weight?: number }>; picker?: { type: string; parameters?: object } }"
    )]
    pub profile: Option<serde_json::Value>,
    /// Several scheduling profiles by name, and the handler that selects among them, in place of
    /// `profile`. Default: none.
    #[napi(
        ts_type = "{ handler?: { type: string; parameters?: object }; profiles: Record<string, { filters?: Array<{ type: string; parameters?: object }>; scorers?: Array<{ scorer: { type: string; parameters?: object }; weight?: number }>; picker?: { type: string; parameters?: object } }>; deciders?: Record<string, { type: string; parameters?: object }> }"
    )]
    pub profiles: Option<serde_json::Value>,
    /// State between requests that the plugins of a scheduling profile read.
    pub producers: Option<ProducerConfig>,
    /// How requests are split over endpoints that encode, prefill and decode. Default: one endpoint
    /// serves a request.
    pub disaggregation: Option<DisaggregationConfig>,
    /// The service level for which the desired number of replicas is computed.
    pub autoscaling: Option<AutoscalingConfig>,
    /// Fallbacks that a dispatch names besides the endpoint. Default: 2.
    pub alternatives: Option<f64>,
    /// Requests of negative priority are refused while even the best endpoint has more milliseconds
    /// than this booked before them. Default: 1,000.
    pub shed_above_ms: Option<f64>,
    /// Limits and order of the queue.
    pub flow: Option<FlowConfig>,
}

/// What the index of caches may grow to, and how long it remembers.
#[napi(object)]
#[derive(Debug, Default)]
pub struct IndexLimits {
    /// Bytes that the index of caches may allocate. At the limit, the endpoint with the most
    /// assumed blocks loses its oldest ones; an event that still does not fit is refused. Default:
    /// 1,073,741,824.
    pub bytes: Option<f64>,
    /// Blocks used within this many milliseconds belong to an endpoint's warm working set. Default:
    /// 90,000.
    pub warm_window_ms: Option<f64>,
    /// Milliseconds after a first token within which an engine with KV events must confirm the
    /// prompt's blocks. Default: 2,000.
    pub confirm_within_ms: Option<f64>,
}

/// State between requests that the plugins of a scheduling profile read.
#[napi(object)]
#[derive(Debug, Default)]
pub struct ProducerConfig {
    /// Milliseconds from a session's last request to the end of its binding to an endpoint.
    /// Default: 300,000.
    pub session_ttl_ms: Option<f64>,
    /// Sessions that are bound to endpoints. Default: 65,536.
    pub max_sessions: Option<f64>,
    /// Endpoints remembered as receivers of requests without a cached prefix. Default: 1,024.
    pub max_cold_endpoints: Option<f64>,
}

/// The service level for which `stats().pool.desiredReplicas` is computed.
#[napi(object)]
#[derive(Debug, Default)]
pub struct AutoscalingConfig {
    /// Milliseconds in which 95 % of the first tokens should arrive. Default: 2,000.
    pub ttft_ms: Option<f64>,
    /// Milliseconds per output token that an answer should keep. Default: 100.
    pub tpot_ms: Option<f64>,
    /// Share of the pool's KV cache that live requests should use at most. Default: 0.8.
    pub kv_utilization: Option<f64>,
    /// Milliseconds from the start of a replica to its first request. A rising load is extrapolated
    /// over it, up to twice the current load. Default: 120,000.
    pub start_up_ms: Option<f64>,
}

/// The time that an idle, otherwise average server needs to read a prompt. All lengths are seconds.
#[napi(object)]
#[derive(Clone, Debug, Default)]
pub struct PrefillCost {
    /// Seconds for each token computed. Default: 23e-6, an 8B model on one H100.
    pub per_token: Option<f64>,
    /// Seconds for each pair of a token computed and a token that it attends to. Default: 1.33e-9.
    pub per_pair: Option<f64>,
    /// Seconds that a step of the engine takes whatever is in it. Default: 0.0025.
    pub per_step: Option<f64>,
    /// Seconds that a step's matrix work takes at least: reading the weights once. Default: 0.0064.
    pub min_step: Option<f64>,
    /// Tokens that the engine computes in a step (`max_num_batched_tokens`). Default: 2,048.
    pub chunk: Option<f64>,
}

/// The prices of the default profile.
#[napi(object)]
#[derive(Debug, Default)]
pub struct CostPrices {
    /// Price of a second in the endpoint's queue. Default: 1.
    pub queue: Option<f64>,
    /// Price of a second of waiting for room in a full KV cache. Default: 1.
    pub kv_admission_wait: Option<f64>,
    /// Price of a second of the request's own prefill. Default: 2.
    pub prefill: Option<f64>,
    /// Price of a second of prefill to recompute the blocks that the request evicts. Default: 4.
    pub cache_eviction: Option<f64>,
    /// Share of the cache that the warm working set may fill before an eviction is thought to hit
    /// it, below 1. Default: 0.7.
    pub cache_eviction_onset: Option<f64>,
    /// Price of the whole KV cache, in seconds; a request pays for the share that is in use with
    /// it. Default: 4.
    pub kv: Option<f64>,
    /// Price of delaying one running answer by a second. Default: 0.03.
    pub decode: Option<f64>,
    /// Seconds of prefill that the decode term counts at most. Default: 2.
    pub decode_cap: Option<f64>,
    /// Price of delaying one running answer by a second of the prefill beyond `decodeCap`, for a
    /// queued request while none of lower priority is queued. Default: 0.06.
    pub decode_beyond_cap: Option<f64>,
    /// Price of a second of loading adapters. Default: 2.
    pub adapter: Option<f64>,
}

/// A service level, from which prices follow.
#[napi(object)]
#[derive(Debug)]
pub struct ServiceLevel {
    /// Milliseconds to the first token.
    pub ttft_ms: f64,
    /// Milliseconds per output token after it.
    pub tpot_ms: f64,
}

/// The prices that follow from a service level. `ttftMs: 2000, tpotMs: 100` gives the defaults.
#[napi]
pub fn prices_for_service_level(level: ServiceLevel) -> error::Result<CostPrices> {
    let ttft = duration("ttftMs", level.ttft_ms)?;
    let tpot = duration("tpotMs", level.tpot_ms)?;
    Ok(slotwise::CostPrices::for_service_level(ttft, tpot).into())
}

/// Value of a cached block outside the accelerator's memory: the share of its prefill that is
/// saved. 1 if loading is free, 0 if loading costs as much as computing.
#[napi(object)]
#[derive(Debug, Default)]
pub struct TierFactors {
    /// In the host's memory. Default: 0.8.
    pub cpu: Option<f64>,
    /// On disk, or in storage over the network. Default: 0.5.
    pub disk: Option<f64>,
}

/// Sets what was given, and leaves the rest.
macro_rules! set {
    ($($place:expr => $given:expr, $read:expr, $field:literal;)+) => {
        $($crate::config::set_field(&mut $place, $given, $read, $field)?;)+
    };
}
pub(crate) use set;

/// Sets a field if it was given. It is not inlined: configurations have many fields.
#[inline(never)]
pub(crate) fn set_field<G, T, P: From<T>>(
    place: &mut P,
    given: Option<G>,
    read: fn(&str, G) -> Result<T, Unfit>,
    field: &str,
) -> Result<(), Unfit> {
    if let Some(given) = given {
        *place = read(field, given)?.into();
    }
    Ok(())
}

impl TryFrom<Config> for slotwise::Config {
    type Error = Unfit;

    fn try_from(given: Config) -> Result<Self, Unfit> {
        let mut config = Self::default();
        set! {
            config.seed => given.seed, seed, "seed";
            config.max_endpoints => given.max_endpoints, size, "maxEndpoints";
            config.max_in_flight => given.max_in_flight, size, "maxInFlight";
            config.max_in_flight_blocks => given.max_in_flight_blocks, size, "maxInFlightBlocks";
            config.max_prompt_blocks => given.max_prompt_blocks, size, "maxPromptBlocks";
            config.max_models => given.max_models, size, "maxModels";
            config.max_adapters => given.max_adapters, size, "maxAdapters";
            config.max_threads => given.max_threads, size, "maxThreads";
            config.kv_cache_tokens => given.kv_cache_tokens, positive, "kvCacheTokens";
            config.kv_limit => given.kv_limit, finite, "kvLimit";
            config.adapter_slots => given.adapter_slots, positive, "adapterSlots";
            config.adapter_load_time => given.adapter_load_time_ms, duration, "adapterLoadTimeMs";
            config.adapter_window => given.adapter_window, finite, "adapterWindow";
            config.report_lifetime => given.report_lifetime_ms, duration, "reportLifetimeMs";
            config.backoff => given.backoff_ms, duration, "backoffMs";
            config.backoff_limit => given.backoff_limit_ms, duration, "backoffLimitMs";
            config.alternatives => given.alternatives, size, "alternatives";
            config.shed_above => given.shed_above_ms, duration, "shedAboveMs";
        }
        if let Some(learn) = given.learn_speed {
            config.learn_speed = learn;
        }
        if let Some(cost) = given.prefill {
            config.prefill = cost.over(config.prefill)?;
        }
        let (index, limits) = (&mut config.index, given.index.unwrap_or_default());
        set! {
            index.bytes => limits.bytes, size, "index.bytes";
            index.warm_window => limits.warm_window_ms, duration, "index.warmWindowMs";
            index.confirm_within => limits.confirm_within_ms, duration, "index.confirmWithinMs";
        }
        let (set, producers) = (&mut config.producers, given.producers.unwrap_or_default());
        set! {
            set.session_ttl => producers.session_ttl_ms, duration, "producers.sessionTtlMs";
            set.max_sessions => producers.max_sessions, size, "producers.maxSessions";
            set.max_cold_endpoints => producers.max_cold_endpoints, size, "producers.maxColdEndpoints";
        }
        let (set, level) = (&mut config.autoscaling, given.autoscaling.unwrap_or_default());
        set! {
            set.ttft => level.ttft_ms, duration, "autoscaling.ttftMs";
            set.tpot => level.tpot_ms, duration, "autoscaling.tpotMs";
            set.kv_utilization => level.kv_utilization, finite, "autoscaling.kvUtilization";
            set.start_up => level.start_up_ms, duration, "autoscaling.startUpMs";
        }
        config.profile = given.profile.map(profile).transpose()?;
        config.profiles = given.profiles.map(profile_set).transpose()?;
        let (set, prices) = (&mut config.prices, given.prices.unwrap_or_default());
        set! {
            set.queue => prices.queue, finite, "prices.queue";
            set.kv_admission_wait => prices.kv_admission_wait, finite, "prices.kvAdmissionWait";
            set.prefill => prices.prefill, finite, "prices.prefill";
            set.cache_eviction => prices.cache_eviction, finite, "prices.cacheEviction";
            set.cache_eviction_onset => prices.cache_eviction_onset, finite, "prices.cacheEvictionOnset";
            set.kv => prices.kv, finite, "prices.kv";
            set.decode => prices.decode, finite, "prices.decode";
            set.decode_cap => prices.decode_cap, finite, "prices.decodeCap";
            set.decode_beyond_cap => prices.decode_beyond_cap, finite, "prices.decodeBeyondCap";
            set.adapter => prices.adapter, finite, "prices.adapter";
        }
        if let Some(flow) = given.flow {
            config.flow = flow.over(config.flow)?;
        }
        config.disaggregation = given.disaggregation.map(TryInto::try_into).transpose()?;
        let (tiers, worth) = (&mut config.tiers, given.tiers.unwrap_or_default());
        set! {
            tiers.cpu => worth.cpu, finite, "tiers.cpu";
            tiers.disk => worth.disk, finite, "tiers.disk";
        }
        Ok(config)
    }
}

impl PrefillCost {
    /// The given values over `base`. The core validates them as a cost.
    pub(crate) fn over(self, base: slotwise::PrefillCost) -> Result<slotwise::PrefillCost, Unfit> {
        let mut cost = base;
        set! {
            cost.per_token => self.per_token, finite, "prefill.perToken";
            cost.per_pair => self.per_pair, finite, "prefill.perPair";
            cost.per_step => self.per_step, finite, "prefill.perStep";
            cost.min_step => self.min_step, finite, "prefill.minStep";
            cost.chunk => self.chunk, positive, "prefill.chunk";
        }
        Ok(cost)
    }
}

impl From<slotwise::PrefillCost> for PrefillCost {
    fn from(cost: slotwise::PrefillCost) -> Self {
        Self {
            per_token: Some(cost.per_token.get()),
            per_pair: Some(cost.per_pair.get()),
            per_step: Some(cost.per_step.get()),
            min_step: Some(cost.min_step.get()),
            chunk: Some(cost.chunk.get().into()),
        }
    }
}

impl From<slotwise::CostPrices> for CostPrices {
    fn from(prices: slotwise::CostPrices) -> Self {
        Self {
            queue: Some(prices.queue),
            kv_admission_wait: Some(prices.kv_admission_wait),
            prefill: Some(prices.prefill),
            cache_eviction: Some(prices.cache_eviction),
            cache_eviction_onset: Some(prices.cache_eviction_onset),
            kv: Some(prices.kv.get()),
            decode: Some(prices.decode),
            decode_cap: Some(prices.decode_cap.get()),
            decode_beyond_cap: Some(prices.decode_beyond_cap),
            adapter: Some(prices.adapter),
        }
    }
}

/// The scheduler of a pool in a configuration, with the defaults.
#[napi]
pub fn scheduler_of_pool(configuration: String, pool: String) -> error::Result<Config> {
    let pool = PoolConfig::of_text(&configuration, &pool).map_err(thrown)?;
    Ok((&pool.scheduler).into())
}

impl From<&slotwise::Config> for Config {
    fn from(config: &slotwise::Config) -> Self {
        let index = &config.index;
        let seed = match config.seed as f64 {
            small if small <= MAX_SAFE => Either::A(small),
            _ => Either::B(config.seed.into()),
        };
        Self {
            seed: Some(seed),
            max_endpoints: Some(config.max_endpoints as f64),
            max_in_flight: Some(config.max_in_flight as f64),
            max_in_flight_blocks: Some(config.max_in_flight_blocks as f64),
            max_prompt_blocks: Some(config.max_prompt_blocks as f64),
            max_models: Some(config.max_models as f64),
            max_adapters: Some(config.max_adapters as f64),
            max_threads: Some(config.max_threads as f64),
            index: Some(IndexLimits {
                bytes: Some(index.bytes as f64),
                warm_window_ms: Some(millis(index.warm_window)),
                confirm_within_ms: Some(millis(index.confirm_within)),
            }),
            kv_cache_tokens: Some(config.kv_cache_tokens.get().into()),
            kv_limit: Some(config.kv_limit),
            adapter_slots: Some(config.adapter_slots.get().into()),
            adapter_load_time_ms: Some(millis(config.adapter_load_time)),
            adapter_window: Some(config.adapter_window),
            prefill: Some(config.prefill.into()),
            learn_speed: Some(config.learn_speed),
            report_lifetime_ms: Some(millis(config.report_lifetime)),
            backoff_ms: Some(millis(config.backoff)),
            backoff_limit_ms: Some(millis(config.backoff_limit)),
            prices: Some(config.prices.into()),
            tiers: Some(TierFactors { cpu: Some(config.tiers.cpu), disk: Some(config.tiers.disk) }),
            profile: config.profile.as_ref().and_then(|it| serde_json::to_value(it).ok()),
            profiles: config.profiles.as_ref().and_then(|it| serde_json::to_value(it).ok()),
            producers: Some(ProducerConfig {
                session_ttl_ms: Some(millis(config.producers.session_ttl)),
                max_sessions: Some(config.producers.max_sessions as f64),
                max_cold_endpoints: Some(config.producers.max_cold_endpoints as f64),
            }),
            disaggregation: config.disaggregation.as_ref().map(DisaggregationConfig::from),
            autoscaling: Some(AutoscalingConfig {
                ttft_ms: Some(millis(config.autoscaling.ttft)),
                tpot_ms: Some(millis(config.autoscaling.tpot)),
                kv_utilization: Some(config.autoscaling.kv_utilization),
                start_up_ms: Some(millis(config.autoscaling.start_up)),
            }),
            alternatives: Some(config.alternatives as f64),
            shed_above_ms: Some(millis(config.shed_above)),
            flow: Some((&config.flow).into()),
        }
    }
}

/// A scheduling profile. The core's reader validates names and parameters.
fn profile(given: serde_json::Value) -> Result<slotwise::plugins::ProfileConfig, Unfit> {
    slotwise_gateway::policy::profile(given).map_err(|error| Unfit::value("profile", error))
}

/// Scheduling profiles and their handler.
fn profile_set(given: serde_json::Value) -> Result<slotwise::plugins::ProfileSetConfig, Unfit> {
    slotwise_gateway::policy::profile_set(given).map_err(|error| Unfit::value("profiles", error))
}

/// A seed of up to 64 bits.
fn seed(field: &str, given: Either<f64, BigInt>) -> Result<u64, Unfit> {
    match given {
        Either::A(number) => exact(field, number),
        Either::B(big) => bits(field, &big),
    }
}
