//! `latency-slo-admitter`: sheddable requests need an endpoint that meets their service level.

use crate::plugins::facts::{EndpointFacts, Prediction, RequestFacts};

/// `latency-slo-admitter`: rejects a sheddable request if no endpoint meets its service level.
///
/// A request is rejected if all of these hold:
///
/// - Its priority is negative.
/// - A header sets a service level: `x-llm-d-slo-ttft-ms` or `x-llm-d-slo-tpot-ms`, else the older
///   `x-slo-ttft-ms` or `x-slo-tpot-ms`. Zero, and text that is no number, set none.
/// - Some endpoint has a prediction, and none of the predictions is within the service level.
/// - No endpoint is idle, that is, runs no request.
/// - No endpoint is cold, that is, uses less than 2 % of its KV cache: predictions for it are
///   unreliable.
///
/// ```
/// use slotwise::plugins::{EndpointFacts, LatencySloAdmitter, Prediction, RequestFacts};
///
/// let headers = [(String::from("x-llm-d-slo-ttft-ms"), String::from("100"))].into();
/// let request = RequestFacts { priority: -1, headers, ..RequestFacts::default() };
/// let late = Prediction { ttft: 150.0, ttft_headroom: -50.0, ..Prediction::default() };
/// let mut busy = EndpointFacts { running: 3, kv_usage: 0.5, ..EndpointFacts::default() };
/// busy.prediction = Some(late);
/// let admitter = LatencySloAdmitter::default();
/// assert!(!admitter.admits(&request, &[busy.clone()]));
/// busy.running = 0;
/// assert!(admitter.admits(&request, &[busy]));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LatencySloAdmitter {}

impl LatencySloAdmitter {
    /// Whether the request is admitted to a pool of these endpoints. Computes in **O(endpoints)**.
    pub fn admits(&self, request: &RequestFacts, endpoints: &[EndpointFacts]) -> bool {
        if request.priority >= 0 || !has_service_level(request) {
            return true;
        }
        let idle = |endpoint: &EndpointFacts| endpoint.running == 0;
        let cold = |endpoint: &EndpointFacts| endpoint.kv_usage < COLD;
        let mut predictions =
            endpoints.iter().filter_map(|endpoint| endpoint.prediction).peekable();
        predictions.peek().is_none()
            || predictions.any(|prediction| prediction.meets_service_level())
            || endpoints.iter().any(|endpoint| idle(endpoint) || cold(endpoint))
    }
}

impl Prediction {
    /// Whether both predictions are within the service level. The headroom of a time per output
    /// token that is not predicted is zero, which counts as within.
    pub fn meets_service_level(&self) -> bool {
        self.ttft_headroom > 0.0 && self.tpot_headroom >= 0.0
    }
}

fn has_service_level(request: &RequestFacts) -> bool {
    HEADERS.iter().any(|names| {
        let value = names.iter().find_map(|name| request.headers.get(*name));
        value.and_then(|text| text.parse::<f64>().ok()).is_some_and(|level| level > 0.0)
    })
}

/// The header of each service level, and its older name.
const HEADERS: [[&str; 2]; 2] =
    [["x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"], ["x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"]];
/// Below this use of the KV cache, an endpoint is cold.
const COLD: f64 = 0.02;
