//! Endpoints and their load reports.

use std::collections::{BTreeMap, HashMap};

use napi_derive::napi;
use slotwise::Tier;
use slotwise_gateway::names::{self, Named, UnknownName};

use crate::config::PrefillCost;
use crate::disaggregation::KvTransferCost;
use crate::error::{Unfit, named};
use crate::number::{count, duration, finite, instant, millis, positive, time};

/// A model server that requests can be sent to: its name, and what it can do.
#[napi(object)]
#[derive(Debug)]
pub struct Endpoint {
    /// Its name, unique in the pool. A URL is a good one.
    pub name: String,
    /// Base models that it serves; none means: whatever is asked for.
    #[napi(ts_type = "string[] | null")]
    pub models: Option<Vec<String>>,
    /// Labels that requests can ask for.
    #[napi(ts_type = "Record<string, string> | null")]
    pub labels: Option<HashMap<String, String>>,
    /// Which stages it runs. Default: `'unified'`.
    #[napi(
        ts_type = "'unified' | 'prefill' | 'decode' | 'encode' | 'encode_prefill' | 'encode_prefill_decode' | null"
    )]
    pub role: Option<String>,
    /// Tokens that fit into its KV cache; default: the configuration's.
    #[napi(ts_type = "number | null")]
    pub kv_cache_tokens: Option<f64>,
    /// Tokens in one of its cache blocks. Default: 16.
    #[napi(ts_type = "number | null")]
    pub block_size: Option<f64>,
    /// Requests that it may have at once; default: no limit.
    #[napi(ts_type = "number | null")]
    pub max_in_flight: Option<f64>,
    /// LoRA adapters that fit side by side; default: the configuration's.
    #[napi(ts_type = "number | null")]
    pub adapter_slots: Option<f64>,
    /// Milliseconds that it takes to load an adapter; default: the configuration's.
    #[napi(ts_type = "number | null")]
    pub adapter_load_time_ms: Option<f64>,
    /// What a prompt costs its hardware; default: the configuration's.
    #[napi(ts_type = "PrefillCost | null")]
    pub prefill: Option<PrefillCost>,
    /// The cost of moving a prompt's KV cache to it. Default: the configuration's.
    pub kv_transfer: Option<KvTransferCost>,
    /// In which order its cache gives up the blocks of a prompt. Default: `'tail_first'`.
    #[napi(ts_type = "'tail_first' | 'head_first' | null")]
    pub cache_eviction: Option<String>,
    /// Whether its engine stops working on a request whose client has left. Default: true; set
    /// false for llama.cpp.
    #[napi(ts_type = "boolean | null")]
    pub notices_disconnect: Option<bool>,
}

/// An endpoint that has left the pool.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RemovedEndpoint {
    /// How it was described.
    pub endpoint: Endpoint,
    /// The requests that are still on it. Complete, fail or cancel them as ever.
    pub in_flight: Vec<f64>,
}

/// An endpoint's load, scraped or pushed. Omit values that it does not report.
#[napi(object)]
#[derive(Debug)]
pub struct Load {
    /// Requests in its queue.
    #[napi(ts_type = "number | null")]
    pub waiting: Option<f64>,
    /// Requests that it works on.
    #[napi(ts_type = "number | null")]
    pub running: Option<f64>,
    /// Share of its KV cache that live requests use, in `[0, 1]`.
    #[napi(ts_type = "number | null")]
    pub kv_usage: Option<f64>,
    /// Whether the engine sleeps: it gets no requests until a report shows it awake.
    #[napi(ts_type = "boolean | null")]
    pub sleeping: Option<bool>,
    /// When the engine took the sample, in milliseconds on the scheduler's clock; default: now.
    #[napi(ts_type = "number | null")]
    pub sampled_at: Option<f64>,
}

/// The tier of a cache that `word` names; default: the accelerator's memory.
pub(crate) fn tier(word: Option<&str>) -> Result<Tier, Unfit> {
    Ok(word.map(|word| named("event.tier", word)).transpose()?.unwrap_or_default())
}

/// What `word` means.
pub(crate) fn one_of<T: Copy>(
    field: &str,
    word: &str,
    words: &[(&'static str, T)],
) -> Result<T, Unfit> {
    words.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
        Unfit::unknown(field, UnknownName::new(word, words.iter().map(|(name, _)| *name)))
    })
}

/// The name of `value`; none for one that this package does not know yet.
pub(crate) fn name_of<T: Named>(value: T) -> Option<String> {
    names::name_of(value).map(String::from)
}

/// The word for `meaning`; none for one that this package does not know yet.
pub(crate) fn word_for<T: PartialEq>(meaning: &T, words: &[(&str, T)]) -> Option<String> {
    words.iter().find(|(_, known)| known == meaning).map(|(word, _)| (*word).into())
}

impl Endpoint {
    /// The core's description.
    pub(crate) fn described(self) -> Result<slotwise::Endpoint, Unfit> {
        let mut endpoint = slotwise::Endpoint::new(self.name);
        endpoint.models = self.models.unwrap_or_default();
        endpoint.labels = self.labels.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>();
        if let Some(word) = self.role {
            endpoint.role = named("role", &word)?;
        }
        if let Some(tokens) = self.block_size {
            endpoint.block_size = positive("blockSize", tokens)?;
        }
        endpoint.notices_disconnect = self.notices_disconnect.unwrap_or(true);
        if let Some(word) = self.cache_eviction {
            endpoint.cache_eviction = named("cacheEviction", &word)?;
        }
        let given =
            |field, value: Option<f64>| value.map(|value| positive(field, value)).transpose();
        endpoint.kv_cache_tokens = given("kvCacheTokens", self.kv_cache_tokens)?;
        endpoint.max_in_flight = given("maxInFlight", self.max_in_flight)?;
        endpoint.adapter_slots = given("adapterSlots", self.adapter_slots)?;
        endpoint.adapter_load_time =
            self.adapter_load_time_ms.map(|ms| duration("adapterLoadTimeMs", ms)).transpose()?;
        endpoint.prefill =
            self.prefill.map(|cost| cost.over(slotwise::PrefillCost::default())).transpose()?;
        let base = slotwise::KvTransferCost::default();
        endpoint.kv_transfer = self.kv_transfer.map(|cost| cost.over(base)).transpose()?;
        Ok(endpoint)
    }
}

impl From<&slotwise::Endpoint> for Endpoint {
    fn from(endpoint: &slotwise::Endpoint) -> Self {
        Self {
            name: endpoint.name.clone(),
            models: Some(endpoint.models.clone()),
            labels: Some(endpoint.labels.clone().into_iter().collect()),
            role: name_of(endpoint.role),
            kv_cache_tokens: endpoint.kv_cache_tokens.map(|tokens| tokens.get().into()),
            block_size: Some(endpoint.block_size.get().into()),
            max_in_flight: endpoint.max_in_flight.map(|requests| requests.get().into()),
            adapter_slots: endpoint.adapter_slots.map(|slots| slots.get().into()),
            adapter_load_time_ms: endpoint.adapter_load_time.map(millis),
            prefill: endpoint.prefill.map(PrefillCost::from),
            kv_transfer: endpoint.kv_transfer.map(KvTransferCost::from),
            cache_eviction: name_of(endpoint.cache_eviction),
            notices_disconnect: Some(endpoint.notices_disconnect),
        }
    }
}

impl From<slotwise::RemovedEndpoint> for RemovedEndpoint {
    fn from(removed: slotwise::RemovedEndpoint) -> Self {
        Self {
            endpoint: (&removed.endpoint).into(),
            in_flight: removed.in_flight.iter().map(|id| id.as_u64() as f64).collect(),
        }
    }
}

impl TryFrom<Load> for slotwise::Load {
    type Error = Unfit;

    fn try_from(given: Load) -> Result<Self, Unfit> {
        let mut load = Self::default();
        load.waiting = given.waiting.map(|requests| count("waiting", requests)).transpose()?;
        load.running = given.running.map(|requests| count("running", requests)).transpose()?;
        load.sleeping = given.sleeping;
        load.sampled_at = given.sampled_at.map(|at| instant("sampledAt", at)).transpose()?;
        match given.kv_usage {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(load.kv_usage(share)),
            Some(share) => {
                finite("kvUsage", share)?;
                Err(Unfit::range(
                    "kvUsage",
                    "a share between 0 and 1 (divide per cent by 100)",
                    share,
                ))
            }
            None => Ok(load),
        }
    }
}

impl From<slotwise::Load> for Load {
    fn from(load: slotwise::Load) -> Self {
        Self {
            waiting: load.waiting.map(f64::from),
            running: load.running.map(f64::from),
            kv_usage: load.kv_usage,
            sleeping: load.sleeping,
            sampled_at: load.sampled_at.and_then(time),
        }
    }
}
