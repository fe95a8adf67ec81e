//! Builds a [`Scheduler`] step by step.

use core::num::NonZeroU32;

use super::Scheduler;
use crate::config::{Config, ConfigError};
use crate::plugins::ProfileConfig;
use crate::prefill::PrefillCost;
use crate::profile::CostPrices;

/// Builds a [`Scheduler`] step by step.
///
/// ```
/// use slotwise::{PrefillCost, Scheduler, Seconds};
///
/// // A 70B model on four H100.
/// let scheduler = Scheduler::builder()
///     .seed(7)
///     .kv_cache_tokens(440_000)
///     .prefill(PrefillCost::new(Seconds::new(68e-6), Seconds::new(1.66e-9)))
///     .build()?;
/// assert_eq!(scheduler.config().seed, 7);
/// # Ok::<(), slotwise::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder(Config);

impl Builder {
    /// Starts from a whole configuration.
    pub fn config(self, config: Config) -> Self {
        let _ = self;
        Self(config)
    }

    /// Keys all hashes.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Tokens that fit into the KV cache of an endpoint whose description omits it; zero keeps the
    /// default.
    pub fn kv_cache_tokens(mut self, tokens: u32) -> Self {
        self.0.kv_cache_tokens = NonZeroU32::new(tokens).unwrap_or(self.0.kv_cache_tokens);
        self
    }

    /// The prefill cost of an endpoint whose description omits it.
    pub fn prefill(mut self, cost: PrefillCost) -> Self {
        self.0.prefill = cost;
        self
    }

    /// The prices of the default profile.
    pub fn prices(mut self, prices: CostPrices) -> Self {
        self.0.prices = prices;
        self
    }

    /// The scheduling profile that chooses endpoints in place of predicted seconds.
    pub fn profile(mut self, profile: ProfileConfig) -> Self {
        self.0.profile = Some(profile);
        self
    }

    /// Changes any field of the configuration.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.0);
        self
    }

    /// The scheduler.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first invalid field, and the values that it accepts.
    pub fn build(self) -> Result<Scheduler, ConfigError> {
        Scheduler::new(self.0)
    }
}

impl Scheduler {
    /// Builds a scheduler step by step.
    pub fn builder() -> Builder {
        Builder::default()
    }
}
