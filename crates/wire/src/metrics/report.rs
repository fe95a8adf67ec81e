//! The report of a metrics page.

use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::{Endpoint, Load};

use super::engine::Engine;

/// The contents of a metrics page, for each rank and in total.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MetricsReport {
    /// The engine whose metrics are on the page; `None` if it is unknown.
    pub engine: Option<Engine>,
    /// One report for each data-parallel rank, ordered by rank. A page without ranks has one report
    /// without a name; a page without known fields has none.
    pub ranks: Vec<RankReport>,
    /// The LoRA adapters in use; `None` if the page does not report them.
    pub adapters: Option<Adapters>,
    /// Lines that are neither samples nor comments, judged by their start and end only.
    pub skipped_lines: usize,
    /// Findings that need attention, by name.
    pub warnings: Vec<Warning>,
}

/// A finding on a page that was parsed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Warning {
    /// No metric on the page is known, or none has a value yet. The page belongs to another
    /// program, its metrics have other names, or the engine has served no request.
    NothingKnown,
}

impl Warning {
    /// A stable identifier for logs and other languages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NothingKnown => "nothing_known",
        }
    }
}

/// The report of one data-parallel rank.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RankReport {
    /// The name of the rank, usually a number; empty if the page has none.
    pub rank: String,
    /// The load. A missing share of the KV cache is computed from tokens and capacity, if both are
    /// reported.
    pub load: Load,
    /// Tokens of live requests in the KV cache.
    pub kv_tokens: Option<u64>,
    /// The layout of the KV cache.
    pub kv_cache: KvCache,
}

/// The layout of a KV cache, as far as it is reported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KvCache {
    /// Tokens in a block.
    pub block_size: Option<NonZeroU32>,
    /// The number of blocks.
    pub blocks: Option<u64>,
    /// The capacity in tokens, if the engine reports it: see [`capacity`](Self::capacity).
    pub tokens: Option<u64>,
}

/// The LoRA adapters of current requests.
///
/// Engines do not report adapters without requests, although these stay loaded.
///
/// ```
/// use slotwise::AdapterState;
/// use slotwise_wire::metrics::MetricsReader;
///
/// let page = "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"b,a\",\
///     waiting_lora_adapters=\"c\"} 1.7e9\n";
/// let adapters = MetricsReader::detect().read(page.as_bytes())?.adapters.unwrap();
/// let active = adapters.active();
/// let state = AdapterState::active(&active).slots(adapters.slots.map_or(0, |slots| slots.get()));
/// assert_eq!(state.active, ["a", "b", "c"]);
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Adapters {
    /// The number of adapters that can be loaded at once: the maximum over all ranks.
    pub slots: Option<NonZeroU32>,
    /// Names of the adapters of running requests, without duplicates.
    pub running: Vec<String>,
    /// Names of the adapters of queued requests, without duplicates.
    pub waiting: Vec<String>,
}

impl MetricsReport {
    /// Whether the page has no known metric.
    pub(super) fn says_nothing(&self) -> bool {
        self.ranks.is_empty() && self.adapters.is_none()
    }

    /// The load of the endpoint over all ranks. Computes in **O(ranks)**.
    ///
    /// Requests are summed. The endpoint sleeps if a rank sleeps. The share of the KV cache is the
    /// mean over the ranks that report one, weighted by their capacities in tokens. If a capacity
    /// is missing, it is the plain mean.
    pub fn load(&self) -> Load {
        if let [rank] = self.ranks.as_slice() {
            return rank.load;
        }
        let mut load = Load::default();
        load.waiting =
            self.ranks.iter().filter_map(|rank| rank.load.waiting).reduce(u32::saturating_add);
        load.running =
            self.ranks.iter().filter_map(|rank| rank.load.running).reduce(u32::saturating_add);
        let sleeps = self.ranks.iter().filter_map(|rank| rank.load.sleeping);
        load.sleeping = sleeps.reduce(|one, other| one || other);
        let shares = || {
            self.ranks
                .iter()
                .filter_map(|rank| Some((rank.load.kv_usage?, rank.kv_cache.capacity())))
        };
        let weighted = shares().all(|(_, capacity)| capacity.is_some_and(|tokens| tokens > 0));
        let weight =
            |capacity: Option<u64>| if weighted { capacity.unwrap_or(1) as f64 } else { 1.0 };
        let (used, all) = shares().fold((0.0, 0.0), |(used, all), (share, capacity)| {
            (used + share * weight(capacity), all + weight(capacity))
        });
        // A total capacity of zero gives NaN, which is not set.
        load.kv_usage(used / all)
    }

    /// The KV cache of the endpoint over all ranks. Blocks and tokens are summed. The block size is
    /// `None` if ranks differ.
    pub fn kv_cache(&self) -> KvCache {
        let caches = || {
            self.ranks.iter().map(|rank| rank.kv_cache).filter(|cache| *cache != KvCache::default())
        };
        let sum = |of: fn(KvCache) -> Option<u64>| {
            caches().map(of).reduce(|one, other| Some(one?.saturating_add(other?))).flatten()
        };
        let same = |one: Option<NonZeroU32>, other| if one == other { one } else { None };
        KvCache {
            block_size: caches().map(|cache| cache.block_size).reduce(same).flatten(),
            blocks: sum(|cache| cache.blocks),
            tokens: sum(KvCache::capacity),
        }
    }

    /// Sets the block size, KV capacity and adapter slots of the endpoint from the page.
    ///
    /// ```
    /// use slotwise::Endpoint;
    /// use slotwise_wire::metrics::MetricsReader;
    ///
    /// let page = b"vllm:cache_config_info{block_size=\"32\",num_gpu_blocks=\"512\"} 1.0\n";
    /// let report = MetricsReader::detect().read(page)?;
    /// let endpoint = report.configure(Endpoint::new("http://10.0.0.1:8000"));
    /// assert_eq!(endpoint.block_size.get(), 32);
    /// assert_eq!(endpoint.kv_cache_tokens.unwrap().get(), 16_384);
    /// # Ok::<(), slotwise_wire::WireError>(())
    /// ```
    pub fn configure(&self, mut endpoint: Endpoint) -> Endpoint {
        let cache = self.kv_cache();
        if let Some(tokens) = cache.block_size {
            endpoint = endpoint.block_size(tokens);
        }
        if let Some(tokens) = cache.capacity().filter(|tokens| *tokens > 0) {
            endpoint = endpoint.kv_cache_tokens(u32::try_from(tokens).unwrap_or(u32::MAX));
        }
        if let Some(slots) = self.adapters.as_ref().and_then(|adapters| adapters.slots) {
            endpoint = endpoint.adapter_slots(slots.get());
        }
        endpoint
    }
}

impl KvCache {
    /// The capacity in tokens: as reported, or else blocks times block size.
    pub fn capacity(self) -> Option<u64> {
        let product = || Some(self.blocks?.saturating_mul(u64::from(self.block_size?.get())));
        self.tokens.or_else(product)
    }
}

impl Adapters {
    /// Names of the adapters of running and queued requests, without duplicates.
    pub fn active(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.running.iter().chain(&self.waiting).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
