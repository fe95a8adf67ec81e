//! `concurrency-detector` as a filter: endpoints with room for requests in flight.

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
#[cfg(feature = "serde")]
use crate::plugins::parameters::Ignored;

/// `concurrency-detector` as a filter: keeps endpoints with less in flight than the limit.
///
/// ```text
/// kept = in flight < floor(maximum · (1 + headroom))
/// ```
///
/// In `hybrid` mode, requests and tokens must both be below their limits.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "camelCase", try_from = "Parameters")
)]
#[non_exhaustive]
pub struct ConcurrencyDetectorFilter {
    /// Requests in flight at which an endpoint is full.
    pub max_concurrency: u64,
    /// Tokens in flight at which an endpoint is full.
    pub max_token_concurrency: u64,
    /// What is counted.
    pub concurrency_mode: FilterConcurrencyMode,
    /// Share by which an endpoint may exceed the maximum.
    pub headroom: f64,
}

/// What a [`ConcurrencyDetectorFilter`] counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[expect(clippy::exhaustive_enums, reason = "the modes of the reference")]
pub enum FilterConcurrencyMode {
    /// Requests.
    #[default]
    Requests,
    /// Tokens.
    Tokens,
    /// Both.
    Hybrid,
}

impl Default for ConcurrencyDetectorFilter {
    fn default() -> Self {
        Self {
            max_concurrency: 100,
            max_token_concurrency: 1_000_000,
            concurrency_mode: FilterConcurrencyMode::Requests,
            headroom: 0.0,
        }
    }
}

impl Filter for ConcurrencyDetectorFilter {
    fn filter(&self, _: &mut Cycle<'_>, candidates: &mut Candidates<'_>) {
        // Conversions to integers truncate and saturate.
        let limit = |maximum: u64| (maximum as f64 * (1.0 + self.headroom)) as u64;
        let (requests, tokens) = (limit(self.max_concurrency), limit(self.max_token_concurrency));
        candidates.retain(|endpoint| {
            let requests = endpoint.in_flight_requests < requests;
            let tokens = endpoint.in_flight_tokens < tokens;
            match self.concurrency_mode {
                FilterConcurrencyMode::Requests => requests,
                FilterConcurrencyMode::Tokens => tokens,
                FilterConcurrencyMode::Hybrid => requests && tokens,
            }
        });
    }
}

/// The parameters before their validation.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    max_concurrency: u64,
    max_token_concurrency: u64,
    concurrency_mode: FilterConcurrencyMode,
    headroom: f64,
    in_flight_load_producer_name: Ignored<alloc::string::String>,
}

#[cfg(feature = "serde")]
impl Default for Parameters {
    fn default() -> Self {
        let ConcurrencyDetectorFilter {
            max_concurrency,
            max_token_concurrency,
            concurrency_mode,
            headroom,
        } = ConcurrencyDetectorFilter::default();
        let in_flight_load_producer_name = Ignored::default();
        Self {
            max_concurrency,
            max_token_concurrency,
            concurrency_mode,
            headroom,
            in_flight_load_producer_name,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Parameters> for ConcurrencyDetectorFilter {
    type Error = &'static str;

    fn try_from(parameters: Parameters) -> Result<Self, Self::Error> {
        let Parameters {
            max_concurrency, max_token_concurrency, concurrency_mode, headroom, ..
        } = parameters;
        if max_concurrency == 0 {
            return Err("maxConcurrency must be above 0");
        }
        if max_token_concurrency == 0 {
            return Err("maxTokenConcurrency must be above 0");
        }
        if headroom < 0.0 {
            return Err("headroom must be at least 0");
        }
        Ok(Self { max_concurrency, max_token_concurrency, concurrency_mode, headroom })
    }
}
