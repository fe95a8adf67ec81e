//! What a scheduler may use, assume and charge.

use napi::bindgen_prelude::{BigInt, Either};
use napi_derive::napi;

use crate::error::Unfit;
use crate::flow::FlowConfig;
use crate::number::{MAX_SAFE, bits, duration, exact, finite, millis, positive, size};

/// The configuration of a scheduler. Everything has a default; everything that grows has a limit here.
#[napi(object)]
#[derive(Debug, Default)]
pub struct Config {
    /// Keys all hashes: a whole number, or a bigint of up to 64 bits. Keep it secret where clients could gain from
    /// collisions, and equal where gateways compare. Drawn at random where it is not told, and then to be read in `config`.
    pub seed: Option<Either<f64, BigInt>>,
    /// Endpoints in the pool. 65,536 unless told.
    pub max_endpoints: Option<f64>,
    /// Requests in flight, over the whole pool. 1,048,576 unless told.
    pub max_in_flight: Option<f64>,
    /// Blocks of prompts in flight that are remembered until their requests end, 8 bytes each. Beyond them, requests go
    /// on, and what they leave in caches is noted less exactly. 16,777,216 unless told.
    pub max_in_flight_blocks: Option<f64>,
    /// Blocks of a prompt that are tracked; what comes after them counts as not cached. 65,536 unless told.
    pub max_prompt_blocks: Option<f64>,
    /// Models whose bytes per token are learned. 1,024 unless told.
    pub max_models: Option<f64>,
    /// Answers whose endpoints are remembered, for requests that go on from them. 65,536 unless told.
    pub max_threads: Option<f64>,
    /// What is remembered of the endpoints' caches.
    pub index: Option<IndexLimits>,
    /// Tokens that fit into the KV cache of an endpoint that does not say. 400,000 unless told.
    pub kv_cache_tokens: Option<f64>,
    /// Share of an endpoint's KV cache that one request may need at the end of its answer; above, it goes elsewhere.
    /// 0.97 unless told.
    pub kv_limit: Option<f64>,
    /// LoRA adapters that fit side by side on an endpoint that does not say; at most 1,024 are believed in. 4 unless told.
    pub adapter_slots: Option<f64>,
    /// Milliseconds that an endpoint that does not say takes to load an adapter. 300 unless told.
    pub adapter_load_time_ms: Option<f64>,
    /// What a prompt costs an endpoint that does not say.
    pub prefill: Option<PrefillCost>,
    /// Whether each endpoint's speed is learned from its first tokens. True unless told.
    pub learn_speed: Option<bool>,
    /// Milliseconds after which little is left of the confidence in a load report. 5,000 unless told.
    pub report_lifetime_ms: Option<f64>,
    /// Milliseconds for which requests are held off from an endpoint that failed, at first; zero never holds any off.
    /// 1,000 unless told.
    pub backoff_ms: Option<f64>,
    /// Milliseconds for which they are held off at most: each failed trial doubles the time. 60,000 unless told.
    pub backoff_limit_ms: Option<f64>,
    /// The prices of the default profile.
    pub prices: Option<CostPrices>,
    /// What cached blocks are worth that are not in the accelerator's memory.
    pub tiers: Option<TierFactors>,
    /// Fallbacks that a dispatch names besides the endpoint. 2 unless told.
    pub alternatives: Option<f64>,
    /// Requests of negative priority are refused while even the best endpoint has more milliseconds than this booked
    /// before them. 1,000 unless told.
    pub shed_above_ms: Option<f64>,
    /// How much may wait, and who goes first.
    pub flow: Option<FlowConfig>,
}

/// What the index of caches may grow to, and how long it remembers.
#[napi(object)]
#[derive(Debug, Default)]
pub struct IndexLimits {
    /// Bytes that the index may allocate for what endpoints hold. When they are used up, the oldest assumptions of whoever is
    /// assumed to hold most go; an event for which there is no room then is refused. 1,073,741,824 unless told.
    pub bytes: Option<f64>,
    /// Blocks used within this many milliseconds belong to an endpoint's warm working set. 90,000 unless told.
    pub warm_window_ms: Option<f64>,
    /// Milliseconds that an engine that publishes events has after a first token to confirm the prompt's blocks.
    /// 2,000 unless told.
    pub confirm_within_ms: Option<f64>,
}

/// The time that an idle, otherwise average server needs to read a prompt. All lengths are seconds.
#[napi(object)]
#[derive(Clone, Debug, Default)]
pub struct PrefillCost {
    /// Seconds for each token computed. 23e-6, an 8B model on one H100, unless told.
    pub per_token: Option<f64>,
    /// Seconds for each pair of a token computed and a token that it attends to. 1.33e-9 unless told.
    pub per_pair: Option<f64>,
    /// Seconds that a step of the engine takes whatever is in it. 0.0025 unless told.
    pub per_step: Option<f64>,
    /// Seconds that a step's matrix work takes at least: reading the weights once. 0.0064 unless told.
    pub min_step: Option<f64>,
    /// Tokens that the engine computes in a step (`max_num_batched_tokens`). 2,048 unless told.
    pub chunk: Option<f64>,
}

/// The prices of the default profile.
#[napi(object)]
#[derive(Debug, Default)]
pub struct CostPrices {
    /// Price of a second of waiting for my turn. 1 unless told.
    pub queue: Option<f64>,
    /// Price of a second of waiting for room in a full KV cache. 1 unless told.
    pub kv_admission_wait: Option<f64>,
    /// Price of a second of my own prefill. 2 unless told.
    pub prefill: Option<f64>,
    /// Price of a second that others must spend on recomputing what I evict. 4 unless told.
    pub cache_eviction: Option<f64>,
    /// Share of the cache that the warm working set may fill before an eviction is thought to hit it, below 1.
    /// 0.7 unless told.
    pub cache_eviction_onset: Option<f64>,
    /// Price of the whole KV cache, in seconds; a request pays for the share that is in use with it. 4 unless told.
    pub kv: Option<f64>,
    /// Price of delaying one running answer by a second. 0.03 unless told.
    pub decode: Option<f64>,
    /// Seconds of prefill that the decode term counts at most. 2 unless told.
    pub decode_cap: Option<f64>,
    /// Price of a second of loading adapters. 1 unless told.
    pub adapter: Option<f64>,
}

/// What a cached block is worth that is not in the accelerator's memory: the share of its prefill that need not be spent, 1
/// if loading it costs nothing, 0 if it might as well be computed.
#[napi(object)]
#[derive(Debug, Default)]
pub struct TierFactors {
    /// In the host's memory. 0.8 unless told.
    pub cpu: Option<f64>,
    /// On disk, or in storage over the network. 0.5 unless told.
    pub disk: Option<f64>,
}

/// Sets what was given, and leaves the rest.
macro_rules! set {
    ($($place:expr => $given:expr, $read:expr, $field:literal;)+) => {
        $(if let Some(given) = $given {
            $place = $read($field, given)?.into();
        })+
    };
}
pub(crate) use set;

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
            config.max_threads => given.max_threads, size, "maxThreads";
            config.kv_cache_tokens => given.kv_cache_tokens, positive, "kvCacheTokens";
            config.kv_limit => given.kv_limit, finite, "kvLimit";
            config.adapter_slots => given.adapter_slots, positive, "adapterSlots";
            config.adapter_load_time => given.adapter_load_time_ms, duration, "adapterLoadTimeMs";
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
            set.adapter => prices.adapter, finite, "prices.adapter";
        }
        if let Some(flow) = given.flow {
            config.flow = flow.over(config.flow)?;
        }
        let (tiers, worth) = (&mut config.tiers, given.tiers.unwrap_or_default());
        set! {
            tiers.cpu => worth.cpu, finite, "tiers.cpu";
            tiers.disk => worth.disk, finite, "tiers.disk";
        }
        Ok(config)
    }
}

impl PrefillCost {
    /// What was given, over `base` for the rest. Whether it is a cost at all is for the core to say.
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

impl From<&slotwise::Config> for Config {
    fn from(config: &slotwise::Config) -> Self {
        let (index, prices) = (&config.index, &config.prices);
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
            prefill: Some(config.prefill.into()),
            learn_speed: Some(config.learn_speed),
            report_lifetime_ms: Some(millis(config.report_lifetime)),
            backoff_ms: Some(millis(config.backoff)),
            backoff_limit_ms: Some(millis(config.backoff_limit)),
            prices: Some(CostPrices {
                queue: Some(prices.queue),
                kv_admission_wait: Some(prices.kv_admission_wait),
                prefill: Some(prices.prefill),
                cache_eviction: Some(prices.cache_eviction),
                cache_eviction_onset: Some(prices.cache_eviction_onset),
                kv: Some(prices.kv.get()),
                decode: Some(prices.decode),
                decode_cap: Some(prices.decode_cap.get()),
                adapter: Some(prices.adapter),
            }),
            tiers: Some(TierFactors { cpu: Some(config.tiers.cpu), disk: Some(config.tiers.disk) }),
            alternatives: Some(config.alternatives as f64),
            shed_above_ms: Some(millis(config.shed_above)),
            flow: Some((&config.flow).into()),
        }
    }
}

/// A seed of up to 64 bits.
fn seed(field: &str, given: Either<f64, BigInt>) -> Result<u64, Unfit> {
    match given {
        Either::A(number) => exact(field, number),
        Either::B(big) => bits(field, &big),
    }
}
