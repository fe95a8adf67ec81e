//! What a page says.

use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::{Endpoint, Load};

use super::engine::Engine;

/// What a metrics page says: of each rank, and all in all.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MetricsReport {
    /// Whose metrics are on the page; none if they are nobody's that is looked for.
    pub engine: Option<Engine>,
    /// One reading for each data-parallel rank, ordered by rank; a page without ranks has one, without a name. None if
    /// the page says nothing of the fields.
    pub ranks: Vec<RankReport>,
    /// The LoRA adapters in use; none if the page says nothing of them.
    pub adapters: Option<Adapters>,
    /// Lines that are no samples and no comments, as far as their two ends tell: what is not looked for is not read.
    pub skipped_lines: usize,
    /// What should be looked into, by name.
    pub warnings: Vec<Warning>,
}

/// What should be looked into on a page that could be read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Warning {
    /// No metric on the page is known, or none has a value yet: it is the page of another program, its metrics have
    /// other names, or the engine has had no request so far.
    NothingKnown,
}

impl Warning {
    /// Its name in other languages and in logs; it stays the same when the message changes.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NothingKnown => "nothing_known",
        }
    }
}

/// What one data-parallel rank says.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RankReport {
    /// Its name, most often a number; empty if the page names none.
    pub rank: String,
    /// Its load. A share of the KV cache that it does not say is that of the tokens in it, if both are known.
    pub load: Load,
    /// Tokens that live requests have in its KV cache.
    pub kv_tokens: Option<u64>,
    /// Its KV cache.
    pub kv_cache: KvCache,
}

/// How a KV cache is laid out, as far as the page says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KvCache {
    /// Tokens in a block.
    pub block_size: Option<NonZeroU32>,
    /// Blocks.
    pub blocks: Option<u64>,
    /// Tokens that fit, if the engine says that itself: see [`capacity`](Self::capacity).
    pub tokens: Option<u64>,
}

/// The LoRA adapters of requests that are there now. Engines forget those of which no request is, although they stay
/// loaded.
///
/// ```
/// use slotwise::AdapterState;
/// use slotwise_wire::metrics::MetricsReader;
///
/// let page = "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"b,a\",waiting_lora_adapters=\"c\"} 1.7e9\n";
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
    /// Adapters that fit side by side, if the engine says so: the most that a rank has.
    pub slots: Option<NonZeroU32>,
    /// Adapters of requests that run, by name, each once.
    pub running: Vec<String>,
    /// Adapters of requests that wait, by name, each once.
    pub waiting: Vec<String>,
}

impl MetricsReport {
    /// Whether nothing of the page is known.
    pub(super) fn says_nothing(&self) -> bool {
        self.ranks.is_empty() && self.adapters.is_none()
    }

    /// The load of the endpoint, all ranks together. Computes in **O(ranks)**.
    ///
    /// Requests are added; the endpoint sleeps if a rank does. The share of the KV cache is the mean of the ranks that say theirs, weighted by the tokens
    /// that fit into each, so that it is the share of all their blocks; where not all of these capacities are known,
    /// the plain mean, which is the same for ranks of one size.
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
        // Nothing divided by nothing is a NaN, and no share.
        load.kv_usage(used / all)
    }

    /// The KV cache of the endpoint, all ranks together: blocks and tokens are added, as far as each rank says them. A
    /// block size in which ranks differ is none.
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

    /// The endpoint, with the block size, KV capacity and adapter slots that the page says; the rest is as it was.
    ///
    /// ```
    /// use slotwise::Endpoint;
    /// use slotwise_wire::metrics::MetricsReader;
    ///
    /// let page = b"vllm:cache_config_info{engine=\"0\",block_size=\"32\",num_gpu_blocks=\"512\"} 1.0\n";
    /// let endpoint = MetricsReader::detect().read(page)?.configure(Endpoint::new("http://10.0.0.1:8000"));
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
    /// Tokens that fit: what the engine says, or else its blocks times their size.
    pub fn capacity(self) -> Option<u64> {
        let product = || Some(self.blocks?.saturating_mul(u64::from(self.block_size?.get())));
        self.tokens.or_else(product)
    }
}

impl Adapters {
    /// Adapters of requests that run or wait, by name, each once.
    pub fn active(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.running.iter().chain(&self.waiting).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
