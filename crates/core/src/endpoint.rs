//! The description of a model server: its name and capabilities.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::kv_transfer::KvTransferCost;
use crate::prefill::PrefillCost;

/// The description of a model server: its name and capabilities.
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
    /// The name, unique in the pool; usually a URL.
    pub name: String,
    /// Base models that the endpoint serves; empty means any model.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub models: Vec<String>,
    /// Labels that requests can require.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub labels: BTreeMap<String, String>,
    /// The stages that the endpoint runs.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub role: Role,
    /// KV cache size in tokens; `None` means
    /// [`Config::kv_cache_tokens`](crate::Config::kv_cache_tokens).
    #[cfg_attr(feature = "serde", serde(default))]
    pub kv_cache_tokens: Option<NonZeroU32>,
    /// Tokens in a cache block; 16 by default.
    #[cfg_attr(
        feature = "serde",
        serde(default = "Endpoint::default_block_size", deserialize_with = "or_sixteen")
    )]
    pub block_size: NonZeroU32,
    /// Most requests in flight; `None` means no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_in_flight: Option<NonZeroU32>,
    /// LoRA adapters loaded side by side; `None` means
    /// [`Config::adapter_slots`](crate::Config::adapter_slots).
    #[cfg_attr(feature = "serde", serde(default))]
    pub adapter_slots: Option<NonZeroU32>,
    /// Time to load an adapter; `None` means
    /// [`Config::adapter_load_time`](crate::Config::adapter_load_time).
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option", default))]
    pub adapter_load_time: Option<Duration>,
    /// The prefill cost of the hardware; `None` means [`Config::prefill`](crate::Config::prefill).
    #[cfg_attr(feature = "serde", serde(default))]
    pub prefill: Option<PrefillCost>,
    /// The cost of moving a prompt's KV cache to the endpoint; `None` means
    /// [`DisaggregationConfig::kv_transfer`](crate::DisaggregationConfig::kv_transfer).
    #[cfg_attr(feature = "serde", serde(default))]
    pub kv_transfer: Option<KvTransferCost>,
    /// The order in which the cache evicts the blocks of a prompt.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "or_default"))]
    pub cache_eviction: CacheEvictionOrder,
    /// Whether the engine stops a request whose client has disconnected. If it does not, as in
    /// llama.cpp, a cancelled request stays booked until its predicted end.
    #[cfg_attr(feature = "serde", serde(default = "Endpoint::default_notices_disconnect"))]
    pub notices_disconnect: bool,
}

impl Endpoint {
    /// An endpoint with 16-token blocks and the configuration's defaults.
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
            kv_transfer: None,
            cache_eviction: CacheEvictionOrder::default(),
            notices_disconnect: true,
        }
    }

    /// Adds a base model that the endpoint serves.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.models.push(model.into());
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The stages that the endpoint runs.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// KV cache size in tokens; zero means the configuration's default.
    pub fn kv_cache_tokens(mut self, tokens: u32) -> Self {
        self.kv_cache_tokens = NonZeroU32::new(tokens);
        self
    }

    /// Tokens in a cache block.
    pub fn block_size(mut self, tokens: NonZeroU32) -> Self {
        self.block_size = tokens;
        self
    }

    /// Most requests in flight; zero means no limit.
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.max_in_flight = NonZeroU32::new(requests);
        self
    }

    /// LoRA adapters loaded side by side; zero means the configuration's default.
    pub fn adapter_slots(mut self, slots: u32) -> Self {
        self.adapter_slots = NonZeroU32::new(slots);
        self
    }

    /// Time to load an adapter.
    pub fn adapter_load_time(mut self, length: Duration) -> Self {
        self.adapter_load_time = Some(length);
        self
    }

    /// The prefill cost of the hardware.
    pub fn prefill(mut self, cost: PrefillCost) -> Self {
        self.prefill = Some(cost);
        self
    }

    /// The cost of moving a prompt's KV cache to the endpoint.
    pub fn kv_transfer(mut self, cost: KvTransferCost) -> Self {
        self.kv_transfer = Some(cost);
        self
    }

    /// The order in which the cache evicts the blocks of a prompt.
    pub fn cache_eviction(mut self, order: CacheEvictionOrder) -> Self {
        self.cache_eviction = order;
        self
    }

    /// Whether the engine stops a request whose client has disconnected.
    pub fn notices_disconnect(mut self, notices: bool) -> Self {
        self.notices_disconnect = notices;
        self
    }

    /// Whether the endpoint serves `model` in `role` and carries all of `labels`.
    pub(crate) fn suits(&self, model: &str, role: Role, labels: &[(&str, &str)]) -> bool {
        self.role.covers(role)
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

/// Null counts as a missing field.
#[cfg(feature = "serde")]
fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: serde::Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    <Option<T> as serde::Deserialize>::deserialize(from).map(Option::unwrap_or_default)
}

/// Null and zero count as a missing block size.
#[cfg(feature = "serde")]
fn or_sixteen<'de, D: serde::Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    let given = <Option<NonZeroU32> as serde::Deserialize>::deserialize(from)?;
    Ok(given.unwrap_or(Endpoint::default_block_size()))
}

/// The id of an endpoint in one scheduler. After the endpoint has left, its id stays unknown, until
/// its slot has been reused 2^21 times.
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
    /// Number of generations whose ids fit below 2^53.
    pub(crate) const GENERATIONS: u32 = 1 << 21;

    /// The id with this number, which [`as_u64`](Self::as_u64) returned.
    pub const fn from_u64(number: u64) -> Self {
        Self { generation: (number >> 32) as u32, slot: number as u32 }
    }

    /// The id as a number below 2^53, for logs and other languages.
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
    /// Prefill and decode. Such a request needs both stages on one endpoint, unless
    /// [`Config::disaggregation`](crate::Config::disaggregation) is set.
    #[default]
    Unified,
    /// Prefill only.
    Prefill,
    /// Decode only. With [`Config::disaggregation`](crate::Config::disaggregation), such an
    /// endpoint also computes the prompts that no other endpoint prefills.
    Decode,
    /// Encoding of images, sound and video only.
    Encode,
    /// Encoding and prefill.
    EncodePrefill,
    /// All three stages.
    EncodePrefillDecode,
}

impl Role {
    /// All variants.
    pub const ALL: [Self; 6] = [
        Self::Unified,
        Self::Prefill,
        Self::Decode,
        Self::Encode,
        Self::EncodePrefill,
        Self::EncodePrefillDecode,
    ];

    /// The name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::EncodePrefill => "encode_prefill",
            Self::EncodePrefillDecode => "encode_prefill_decode",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The role that a value of the reference's label `llm-d.ai/role` names.
    ///
    /// DIFFERENCE: in the reference an endpoint without the label only decodes; here an endpoint
    /// without a role is unified.
    ///
    /// ```
    /// use slotwise::Role;
    ///
    /// assert_eq!(Role::from_label("prefill-decode"), Some(Role::Unified));
    /// assert_eq!(Role::from_label("both"), Some(Role::Unified));
    /// assert_eq!(Role::from_label("encode-prefill"), Some(Role::EncodePrefill));
    /// assert_eq!(Role::from_label("unified"), None);
    /// ```
    pub fn from_label(value: &str) -> Option<Self> {
        Some(match value {
            "decode" => Self::Decode,
            "prefill" => Self::Prefill,
            "encode" => Self::Encode,
            "prefill-decode" | "both" => Self::Unified,
            "encode-prefill" => Self::EncodePrefill,
            "encode-prefill-decode" => Self::EncodePrefillDecode,
            _ => return None,
        })
    }

    /// Whether an endpoint of this role runs all stages of `needed`.
    pub(crate) const fn covers(self, needed: Self) -> bool {
        needed.stages() & !self.stages() == 0
    }

    /// The stages as bits: decode, prefill, encode.
    const fn stages(self) -> u8 {
        match self {
            Self::Decode => 0b001,
            Self::Prefill => 0b010,
            Self::Unified => 0b011,
            Self::Encode => 0b100,
            Self::EncodePrefill => 0b110,
            Self::EncodePrefillDecode => 0b111,
        }
    }
}

/// The order in which a cache evicts the blocks of one prompt that were last used together.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CacheEvictionOrder {
    /// The last block first, as in vLLM and SGLang: the remaining prefix can still be used.
    #[default]
    TailFirst,
    /// The first block first: the rest of the prompt can no longer be used.
    HeadFirst,
}
