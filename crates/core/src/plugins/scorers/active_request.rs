//! `active-request-scorer`: few requests in flight.

use alloc::string::String;

use crate::plugins::cycle::{Cycle, Scores};
use crate::plugins::parameters::Ignored;
use crate::plugins::scorer::Scorer;

/// `active-request-scorer`: prefers endpoints with few requests in flight, as the gateway counts
/// them.
///
/// ```text
/// score = 1                                     if in_flight <= idleThreshold
///         (max - in_flight) / max × maxBusyScore  else
/// ```
///
/// The parameters `requestTimeout` and `inFlightLoadProducerName` have no effect.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct ActiveRequestScorer {
    /// Most requests of an idle endpoint; 0 by default, and if it is negative.
    pub idle_threshold: i64,
    /// The score that an endpoint with requests approaches; `None`, and what lies outside 0 to 1,
    /// mean 1.
    pub max_busy_score: Option<f64>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    request_timeout: Ignored<String>,
    #[cfg_attr(feature = "serde", serde(skip_serializing))]
    in_flight_load_producer_name: Ignored<String>,
}

impl Scorer for ActiveRequestScorer {
    fn score(&self, _: &mut Cycle<'_>, scores: &mut Scores<'_>) {
        let idle = u64::try_from(self.idle_threshold).unwrap_or(0);
        let highest = self.max_busy_score.filter(|score| (0.0..=1.0).contains(score));
        let highest = highest.unwrap_or(1.0);
        let max = scores.endpoints().map(|each| each.in_flight_requests).max().unwrap_or(0);
        scores.set_each(|endpoint| match endpoint.in_flight_requests {
            requests if requests <= idle => 1.0,
            requests => (max - requests) as f64 / max as f64 * highest,
        });
    }
}
