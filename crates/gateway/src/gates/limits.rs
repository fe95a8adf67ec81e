//! What may be used, in which time.

use alloc::vec::Vec;
use core::time::Duration;

/// The limits of a key, a tenant or an anonymous client. The default has none.
///
/// ```
/// use slotwise_gateway::gates::Limits;
///
/// let mut limits = Limits::default();
/// (limits.requests_per_minute, limits.tokens_per_minute) = (Some(60), Some(100_000));
/// assert_eq!(limits.all().count(), 2);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Limits {
    /// Requests in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens of prompts and answers in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight.
    pub concurrent_requests: Option<u64>,
    /// Quotas of other windows and measures.
    pub quotas: Vec<Quota>,
}

/// How much of a measure may be used in a sliding window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Quota {
    /// What is counted.
    pub measure: Measure,
    /// How much may be used in the window.
    pub limit: u64,
    /// The length of the window. In configuration files: `window`, in seconds.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub window: Duration,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Measure {
    /// Requests.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
    /// Tokens of prompts, cached ones included.
    InputTokens,
    /// Tokens of answers.
    OutputTokens,
    /// Requests in flight. Only [`Limits::concurrent_requests`] limits them.
    ConcurrentRequests,
}

/// What one request uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Amounts {
    pub(super) requests: u64,
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Limits {
    /// All quotas: those of the minute, then the others.
    pub fn all(&self) -> impl Iterator<Item = Quota> + '_ {
        let minute = |measure| move |limit| Quota::new(measure, limit, MINUTE);
        let requests = self.requests_per_minute.map(minute(Measure::Requests));
        let tokens = self.tokens_per_minute.map(minute(Measure::Tokens));
        requests.into_iter().chain(tokens).chain(self.quotas.iter().copied())
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        self.concurrent_requests.is_none() && self.all().next().is_none()
    }
}

impl Quota {
    /// Creates a quota.
    pub const fn new(measure: Measure, limit: u64, window: Duration) -> Self {
        Self { measure, limit, window }
    }
}

impl Measure {
    /// Its name in configurations, errors and other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ConcurrentRequests => "concurrent_requests",
        }
    }

    /// Its name in a sentence.
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input tokens",
            Self::OutputTokens => "output tokens",
            Self::ConcurrentRequests => "concurrent requests",
        }
    }
}

impl Amounts {
    pub(super) const fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => self.requests,
            Measure::Tokens => self.input.saturating_add(self.output),
            Measure::InputTokens => self.input,
            Measure::OutputTokens => self.output,
            Measure::ConcurrentRequests => 1,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
