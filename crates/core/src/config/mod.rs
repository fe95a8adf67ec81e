//! The configuration: what a scheduler may use, assume and charge.

mod plausible;

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::flow::FlowConfig;
use crate::prefill::PrefillCost;
use crate::prefix::IndexLimits;
use crate::profile::{CostPrices, TierFactors};

pub use plausible::{Implausible, implausible};

/// The configuration of a [`Scheduler`](crate::Scheduler). Everything has a default; everything that grows has a limit here.
///
/// ```
/// use slotwise::{Config, Scheduler};
///
/// let mut config = Config::default();
/// config.seed = 7;
/// config.weights.kv = 1.0.into();
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
    /// Keys all hashes. Keep it secret where clients could gain from collisions, and equal where gateways compare.
    pub seed: u64,
    /// Endpoints in the pool.
    pub max_endpoints: usize,
    /// Requests in flight, over the whole pool.
    pub max_in_flight: usize,
    /// Blocks of prompts in flight that are remembered until their requests end; beyond them, requests go on, and what
    /// they leave in caches is noted less exactly. 8 bytes each.
    pub max_in_flight_blocks: usize,
    /// Blocks of a prompt that are tracked; what comes after them counts as not cached.
    pub max_prompt_blocks: usize,
    /// Models whose bytes per token are learned.
    pub max_models: usize,
    /// Answers whose endpoints are remembered, for requests that go on from them. About 40 bytes each.
    pub max_threads: usize,
    /// What is remembered of the endpoints' caches.
    pub index: IndexLimits,
    /// Tokens that fit into the KV cache of an endpoint that does not say.
    pub kv_cache_tokens: NonZeroU32,
    /// Share of an endpoint's KV cache that one request may need at the end of its answer; above, it goes elsewhere.
    pub kv_limit: f64,
    /// LoRA adapters that fit side by side on an endpoint that does not say; at most 1,024 are believed in.
    pub adapter_slots: NonZeroU32,
    /// How long an endpoint that does not say takes to load an adapter.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub adapter_load_time: Duration,
    /// What a prompt costs an endpoint that does not say.
    pub prefill: PrefillCost,
    /// Whether each endpoint's speed is learned from its first tokens.
    pub learn_speed: bool,
    /// After this time, little is left of the confidence in a load report.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub report_lifetime: Duration,
    /// How long requests are held off from an endpoint that failed, at first; zero never holds any off.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub backoff: Duration,
    /// How long they are held off at most: each failed trial doubles the time.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub backoff_limit: Duration,
    /// Who waits, and who goes next.
    pub flow: FlowConfig,
    /// The prices of the default profile.
    pub prices: CostPrices,
    /// What cached blocks are worth that are not in the accelerator's memory.
    pub tiers: TierFactors,
    /// Fallbacks that a [`Dispatch`](crate::Dispatch) names besides the endpoint.
    pub alternatives: usize,
    /// Requests of negative priority are refused while even the best endpoint has more than this booked before them.
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
            max_threads: 1 << 16,
            index: IndexLimits::default(),
            kv_cache_tokens: NonZeroU32::new(400_000).expect("not zero"),
            kv_limit: 0.97,
            adapter_slots: NonZeroU32::new(4).expect("not zero"),
            adapter_load_time: Duration::from_millis(300),
            prefill: PrefillCost::default(),
            learn_speed: true,
            report_lifetime: Duration::from_secs(5),
            backoff: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(60),
            flow: FlowConfig::default(),
            prices: CostPrices::default(),
            tiers: TierFactors::default(),
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
        if let Some(field) = self.tiers.invalid() {
            return Err(ConfigError::new(field, "must lie in [0, 1]"));
        }
        if !self.prefill.is_valid() {
            return Err(ConfigError::new(
                "prefill",
                "must have coefficients between 0 and 1 s, and a cost per token",
            ));
        }
        if !(self.kv_limit > 0.0 && self.kv_limit <= 1.0) {
            return Err(ConfigError::new("kv_limit", "must lie in (0, 1]"));
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

/// A field of the configuration that cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The path of the field.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

impl ConfigError {
    const fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }
}

impl ConfigError {
    /// Its name in other languages and in logs.
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
