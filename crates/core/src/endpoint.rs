//! A model server: its name, and what it can do.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::prefill::PrefillCost;

/// A model server that requests can be sent to: its name, and what it can do.
///
/// ```
/// use slotwise::Endpoint;
///
/// let endpoint = Endpoint::new("http://10.0.0.1:8000")
///     .model("llama-3.1-8b")
///     .label("zone", "a")
///     .kv_cache_tokens(422_000)
///     .max_in_flight(256);
/// assert_eq!(endpoint.name, "http://10.0.0.1:8000");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its name, unique in the pool. A URL is a good one.
    pub name: String,
    /// Base models that it serves; none means: whatever is asked for.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub models: Vec<String>,
    /// Labels that requests can ask for.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub labels: BTreeMap<String, String>,
    /// Which stages it runs.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub role: Role,
    /// Tokens that fit into its KV cache; none means [`Config::kv_cache_tokens`](crate::Config::kv_cache_tokens).
    #[cfg_attr(feature = "serde", serde(default))]
    pub kv_cache_tokens: Option<NonZeroU32>,
    /// Tokens in one of its cache blocks. 16 unless told.
    #[cfg_attr(
        feature = "serde",
        serde(default = "Endpoint::default_block_size", deserialize_with = "or_sixteen")
    )]
    pub block_size: NonZeroU32,
    /// Requests that it may have at once; none means no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_in_flight: Option<NonZeroU32>,
    /// LoRA adapters that fit side by side; none means [`Config::adapter_slots`](crate::Config::adapter_slots).
    #[cfg_attr(feature = "serde", serde(default))]
    pub adapter_slots: Option<NonZeroU32>,
    /// How long it takes to load an adapter; none means [`Config::adapter_load_time`](crate::Config::adapter_load_time).
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option", default))]
    pub adapter_load_time: Option<Duration>,
    /// What a prompt costs its hardware; none means [`Config::prefill`](crate::Config::prefill).
    #[cfg_attr(feature = "serde", serde(default))]
    pub prefill: Option<PrefillCost>,
    /// In which order its cache gives up the blocks of a prompt.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub cache_eviction: CacheEvictionOrder,
    /// Whether its engine stops working on a request whose client has left. Where it does not, as in llama.cpp, a
    /// cancelled request stays booked for as long as its engine is expected to go on with it.
    #[cfg_attr(feature = "serde", serde(default = "Endpoint::default_notices_disconnect"))]
    pub notices_disconnect: bool,
}

impl Endpoint {
    /// An endpoint with 16-token blocks and everything else left to the configuration.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            models: Vec::new(),
            labels: BTreeMap::new(),
            role: Role::default(),
            kv_cache_tokens: None,
            block_size: Self::default_block_size(),
            max_in_flight: None,
            adapter_slots: None,
            adapter_load_time: None,
            prefill: None,
            cache_eviction: CacheEvictionOrder::default(),
            notices_disconnect: true,
        }
    }

    /// Adds a base model that it serves.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.models.push(model.into());
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The stages that it runs.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Tokens that fit into its KV cache; zero leaves it to the configuration.
    pub fn kv_cache_tokens(mut self, tokens: u32) -> Self {
        self.kv_cache_tokens = NonZeroU32::new(tokens);
        self
    }

    /// Tokens in one of its cache blocks.
    pub fn block_size(mut self, tokens: NonZeroU32) -> Self {
        self.block_size = tokens;
        self
    }

    /// Requests that it may have at once; zero means no limit.
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.max_in_flight = NonZeroU32::new(requests);
        self
    }

    /// LoRA adapters that fit side by side; zero leaves it to the configuration.
    pub fn adapter_slots(mut self, slots: u32) -> Self {
        self.adapter_slots = NonZeroU32::new(slots);
        self
    }

    /// How long it takes to load an adapter.
    pub fn adapter_load_time(mut self, length: Duration) -> Self {
        self.adapter_load_time = Some(length);
        self
    }

    /// What a prompt costs its hardware.
    pub fn prefill(mut self, cost: PrefillCost) -> Self {
        self.prefill = Some(cost);
        self
    }

    /// In which order its cache gives up the blocks of a prompt.
    pub fn cache_eviction(mut self, order: CacheEvictionOrder) -> Self {
        self.cache_eviction = order;
        self
    }

    /// Whether its engine stops working on a request whose client has left.
    pub fn notices_disconnect(mut self, notices: bool) -> Self {
        self.notices_disconnect = notices;
        self
    }

    /// Whether it serves `model` in `role` and carries all of `labels`.
    pub(crate) fn suits(&self, model: &str, role: Role, labels: &[(&str, &str)]) -> bool {
        (self.role == Role::Unified || self.role == role)
            && (self.models.is_empty() || self.models.iter().any(|m| m == model))
            && labels.iter().all(|(key, value)| self.labels.get(*key).is_some_and(|v| v == value))
    }

    #[cfg(feature = "serde")]
    const fn default_notices_disconnect() -> bool {
        true
    }

    const fn default_block_size() -> NonZeroU32 {
        NonZeroU32::new(16).expect("16 is not zero")
    }
}

/// A field that is null is as if it were not there: what was not said.
#[cfg(feature = "serde")]
fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: serde::Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    <Option<T> as serde::Deserialize>::deserialize(from).map(Option::unwrap_or_default)
}

/// The same, for tokens in a block.
#[cfg(feature = "serde")]
fn or_sixteen<'de, D: serde::Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    let said = <Option<NonZeroU32> as serde::Deserialize>::deserialize(from)?;
    Ok(said.unwrap_or(Endpoint::default_block_size()))
}

/// Names one endpoint of one scheduler. When the endpoint has left, the id stays unknown, even after its place in the
/// pool is taken by another (for 2^21 such changes of one place).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "u64", into = "u64")
)]
pub struct EndpointId {
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

impl EndpointId {
    /// How many generations there are before a number below 2^53 runs out.
    pub(crate) const GENERATIONS: u32 = 1 << 21;

    /// The id with this number, as [`as_u64`](Self::as_u64) gave it out.
    pub const fn from_u64(number: u64) -> Self {
        Self { generation: (number >> 32) as u32, slot: number as u32 }
    }

    /// A number that stands for this id in logs and other languages; below 2^53.
    pub const fn as_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }
}

impl From<u64> for EndpointId {
    fn from(number: u64) -> Self {
        Self::from_u64(number)
    }
}

impl From<EndpointId> for u64 {
    fn from(id: EndpointId) -> Self {
        id.as_u64()
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint {}", self.as_u64())
    }
}

/// Which stages of a request an endpoint runs, or a request needs.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Role {
    /// Prefill and decode: an endpoint that suits every request; a request that needs both in one place.
    #[default]
    Unified,
    /// Only reading the prompt.
    Prefill,
    /// Only writing the answer.
    Decode,
}

/// In which order a cache gives up the blocks of one prompt, when several were last used together.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CacheEvictionOrder {
    /// The last block first, as vLLM and SGLang do: what is left can still be found.
    #[default]
    TailFirst,
    /// The first block first: the rest of the prompt can no longer be found.
    HeadFirst,
}
