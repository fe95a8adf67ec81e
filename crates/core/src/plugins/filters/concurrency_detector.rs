//! `concurrency-detector` as a filter: endpoints with room for requests in flight.

use alloc::string::String;

use crate::plugins::cycle::{Candidates, Cycle};
use crate::plugins::filter::Filter;
use crate::plugins::parameters::{Ignored, checked_parameters};

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
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct ConcurrencyDetectorFilter {
    /// Requests in flight at which an endpoint is full.
    pub max_concurrency: u64,
    /// Tokens in flight at which an endpoint is full.
    pub max_token_concurrency: u64,
    /// What is counted.
    pub concurrency_mode: ConcurrencyMode,
    /// Share by which an endpoint may exceed the maximum.
    pub headroom: f64,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    pub(super) in_flight_load_producer_name: Ignored<String>,
}

/// What `concurrency-detector` counts, as a filter and as a measure of saturation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum ConcurrencyMode {
    /// Requests.
    #[default]
    Requests,
    /// Their tokens.
    Tokens,
    /// Both: the fuller of the two counts.
    Hybrid,
}

impl Default for ConcurrencyDetectorFilter {
    fn default() -> Self {
        Self {
            max_concurrency: 100,
            max_token_concurrency: 1_000_000,
            concurrency_mode: ConcurrencyMode::Requests,
            headroom: 0.0,
            in_flight_load_producer_name: Ignored::default(),
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
                ConcurrencyMode::Requests => requests,
                ConcurrencyMode::Tokens => tokens,
                ConcurrencyMode::Hybrid => requests && tokens,
            }
        });
    }
}

#[cfg(feature = "serde")]
impl ConcurrencyDetectorFilter {
    fn check(&self) -> Result<(), &'static str> {
        if self.max_concurrency == 0 {
            Err("maxConcurrency must be above 0")
        } else if self.max_token_concurrency == 0 {
            Err("maxTokenConcurrency must be above 0")
        } else if self.headroom < 0.0 {
            Err("headroom must be at least 0")
        } else {
            Ok(())
        }
    }
}

checked_parameters!(ConcurrencyDetectorFilter, ConcurrencyDetectorFilter::check);
