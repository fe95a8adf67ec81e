//! The configuration of a scheduler: limits, assumptions and prices.

mod autoscaling;
mod change;
mod plausible;
mod producers;

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::disaggregation::DisaggregationConfig;
use crate::flow::FlowConfig;
use crate::plugins::{ProfileConfig, ProfileSetConfig};
use crate::prefill::PrefillCost;
use crate::prefix::IndexLimits;
use crate::profile::{CostPrices, TierFactors};

pub use autoscaling::AutoscalingConfig;
pub use plausible::{Implausible, implausible};
pub use producers::ProducerConfig;

/// The configuration of a [`Scheduler`](crate::Scheduler). Every field has a default, and
/// everything that grows has a limit here.
///
/// ```
/// use slotwise::{Config, Scheduler};
///
/// let mut config = Config::default();
/// config.seed = 7;
/// config.prices.kv = 1.0.into();
/// let scheduler = Scheduler::new(config)?;
/// # Ok::<(), slotwise::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Config {
    /// Keys all hashes. Keep it secret where clients could exploit collisions, and equal in
    /// gateways that share hashes.
    pub seed: u64,
    /// Most endpoints in the pool.
    pub max_endpoints: usize,
    /// Most requests in flight, over the whole pool.
    pub max_in_flight: usize,
    /// Most prompt blocks remembered for requests in flight, at 8 bytes each. Beyond this limit
    /// requests are still dispatched, but their cache contents are tracked approximately.
    pub max_in_flight_blocks: usize,
    /// Most blocks of a prompt that are tracked; tokens after them count as not cached.
    pub max_prompt_blocks: usize,
    /// Most models whose bytes per token are learned.
    pub max_models: usize,
    /// Most LoRA adapters whose popularity and load time are learned, at about 150 bytes each, and
    /// most that are described.
    pub max_adapters: usize,
    /// Most answers whose endpoints are remembered for requests that continue them, at about 40
    /// bytes each.
    pub max_threads: usize,
    /// The limits of the prefix index.
    pub index: IndexLimits,
    /// KV cache size in tokens, for endpoints whose description omits it.
    pub kv_cache_tokens: NonZeroU32,
    /// Share of an endpoint's KV cache that one request may need at the end of its answer. Larger
    /// requests are excluded from the endpoint.
    pub kv_limit: f64,
    /// LoRA adapters that an endpoint loads side by side, if its description omits it. Values above
    /// 1,024 are clamped.
    pub adapter_slots: NonZeroU32,
    /// Time to load an adapter, for endpoints whose description omits it.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub adapter_load_time: Duration,
    /// Share of the endpoints that load unpopular adapters for queued requests while adapters
    /// outnumber slots. The others load only adapters that are more popular than those they
    /// displace. At least one endpoint; zero disables this.
    pub adapter_window: f64,
    /// The prefill cost of an endpoint whose description omits it.
    pub prefill: PrefillCost,
    /// Whether each endpoint's speed is learned from its first tokens.
    pub learn_speed: bool,
    /// Time after which a load report has lost most of its weight.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub report_lifetime: Duration,
    /// The first backoff of an endpoint that failed; zero disables backoff.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub backoff: Duration,
    /// The longest backoff: each failed trial doubles the backoff.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub backoff_limit: Duration,
    /// Flow control: limits and order of the queue.
    pub flow: FlowConfig,
    /// The prices of the default profile.
    pub prices: CostPrices,
    /// The value of cached blocks outside the accelerator's memory.
    pub tiers: TierFactors,
    /// How requests are split over endpoints that encode, prefill and decode; `None` means that
    /// one endpoint serves a request.
    pub disaggregation: Option<DisaggregationConfig>,
    /// The scheduling profile that chooses endpoints: filters, weighted scorers and a picker of the
    /// Endpoint Picker, by name. `None` chooses by predicted seconds.
    pub profile: Option<ProfileConfig>,
    /// Several scheduling profiles by name, and the handler that selects among them: by a header,
    /// or one for each stage. Its deciders replace those of
    /// [`disaggregation`](Self::disaggregation). At most one of this and
    /// [`profile`](Self::profile) is set.
    pub profiles: Option<ProfileSetConfig>,
    /// State between requests that the plugins of a scheduling profile read.
    pub producers: ProducerConfig,
    /// The service level for which the desired number of replicas is computed.
    pub autoscaling: AutoscalingConfig,
    /// Number of alternatives in a [`Dispatch`](crate::Dispatch).
    pub alternatives: usize,
    /// Requests of negative priority are rejected while the predicted wait on their best endpoint
    /// exceeds this.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub shed_above: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            max_endpoints: 1 << 16,
            max_in_flight: 1 << 20,
            max_in_flight_blocks: 1 << 24,
            max_prompt_blocks: 1 << 16,
            max_models: 1_024,
            max_adapters: 4_096,
            max_threads: 1 << 16,
            index: IndexLimits::default(),
            kv_cache_tokens: NonZeroU32::new(400_000).expect("not zero"),
            kv_limit: 0.97,
            adapter_slots: NonZeroU32::new(4).expect("not zero"),
            adapter_load_time: Duration::from_millis(300),
            adapter_window: 0.25,
            prefill: PrefillCost::default(),
            learn_speed: true,
            report_lifetime: Duration::from_secs(5),
            backoff: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(60),
            flow: FlowConfig::default(),
            prices: CostPrices::default(),
            tiers: TierFactors::default(),
            disaggregation: None,
            profile: None,
            profiles: None,
            producers: ProducerConfig::default(),
            autoscaling: AutoscalingConfig::default(),
            alternatives: 2,
            shed_above: Duration::from_secs(1),
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(field) = self.prices.invalid() {
            return Err(ConfigError::new(
                field,
                "must be finite and not negative, the onset below 1",
            ));
        }
        if let Some((field, expected)) = self.flow.invalid() {
            return Err(ConfigError::new(field, expected));
        }
        if let Some((field, expected)) = self.autoscaling.invalid() {
            return Err(ConfigError::new(field, expected));
        }
        if let Some(field) = self.tiers.invalid() {
            return Err(ConfigError::new(field, "must lie in [0, 1]"));
        }
        if !self.prefill.is_valid() {
            return Err(ConfigError::new(
                "prefill",
                "must have coefficients between 0 and 1 s, and a cost per token",
            ));
        }
        let transfer = self.disaggregation.as_ref().map(|config| config.kv_transfer);
        if transfer.is_some_and(|cost| !cost.is_valid()) {
            return Err(ConfigError::new(
                "disaggregation.kv_transfer",
                "must be finite and not negative, the bandwidth positive",
            ));
        }
        if !(self.kv_limit > 0.0 && self.kv_limit <= 1.0) {
            return Err(ConfigError::new("kv_limit", "must lie in (0, 1]"));
        }
        if !(0.0..=1.0).contains(&self.adapter_window) {
            return Err(ConfigError::new("adapter_window", "must lie in [0, 1]"));
        }
        let limits = [
            ("max_endpoints", self.max_endpoints),
            ("max_in_flight", self.max_in_flight),
            ("index.bytes", self.index.bytes),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            Some((field, _)) => Err(ConfigError::new(field, "must not be zero")),
            None if self.max_endpoints > u32::MAX as usize => {
                Err(ConfigError::new("max_endpoints", "must fit into 32 bits"))
            }
            None => Ok(()),
        }
    }
}

/// A field of the configuration is invalid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The path of the field.
    pub field: &'static str,
    /// The values that the field accepts.
    pub expected: &'static str,
}

impl ConfigError {
    pub(crate) const fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }
}

impl ConfigError {
    /// The stable code, for logs and other languages.
    pub const fn code(&self) -> &'static str {
        "config"
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.expected)
    }
}

impl core::error::Error for ConfigError {}
