//! Limits of the request queue, and its policies.

use core::time::Duration;

use super::saturation::SaturationPolicy;
use super::session_admission::SessionAdmissionConfig;
use super::usage_limit::UsageLimitPolicy;

/// The request queue: how many requests may wait, and which are dispatched first.
///
/// Requests wait in *bands* of equal priority. A band has *flows*, one for each fairness id.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct FlowConfig {
    /// Limit of waiting requests over all bands; `None` leaves only the limits of the bands.
    pub max_requests: Option<usize>,
    /// Limit of waiting requests' bytes over all bands.
    pub max_bytes: Option<u64>,
    /// Limits of each band.
    pub band: BandLimits,
    /// Limit of bands. A request whose band would exceed it joins the next lower band on the same
    /// side of zero. Each decision examines every band. Bands 0 and -1 are always available.
    pub max_bands: usize,
    /// The order of flows in a band.
    pub fairness: Fairness,
    /// The order of requests in a flow.
    pub order: QueueOrder,
    /// Share of dispatched seconds for the bands below the highest band with candidates, in [0,
    /// 0.5]. Of that share, the same share goes to the bands below the second, and so on. Zero is
    /// strict priority, under which lower bands can starve.
    pub lower_share: f64,
    /// Flows whose virtual times differ by at most this are equal in turn, so that a criterion such
    /// as a warm cache may choose among them. Zero disables it. For [`Fairness::StartTime`] only.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub look_ahead: Duration,
    /// Limit of remembered flows without waiting requests; they are ahead of their turn.
    pub max_idle_flows: usize,
    /// A request waits while its best endpoint has more than this much prefill queued. In
    /// simulations 0.1 to 0.5 s performed equally. It must exceed two round trips and one engine
    /// step.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub max_queued_prefill: Duration,
    /// The TTL of requests that set none.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub ttl: Duration,
    /// How long a request may wait while the pool is empty, counted from the later of its arrival
    /// and the last endpoint's removal; capped by its TTL.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub no_endpoint_ttl: Duration,
    /// How the pool's saturation is measured.
    pub saturation: SaturationPolicy,
    /// The usage limit of each band.
    pub usage_limit: UsageLimitPolicy,
    /// Delays new sessions while no cache has space for their contexts.
    pub session_admission: Option<SessionAdmissionConfig>,
}

/// Limits of a band.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct BandLimits {
    /// Limit of waiting requests.
    pub max_requests: usize,
    /// Limit of waiting requests' bytes.
    pub max_bytes: u64,
}

/// The order of flows in a band.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Fairness {
    /// Start-time fair queueing (Goyal, Vin and Cheng, 1996): the flow with the fewest predicted
    /// seconds for its weight is first. The prediction is corrected when a request completes.
    #[default]
    StartTime,
    /// Weighted round robin over flows, independent of the size of requests.
    RoundRobin,
    /// Fairness ids are ignored: all requests of a band form one queue.
    GlobalStrict,
    /// The flow with the fewest recent predicted seconds for its weight is first; past service
    /// halves every minute.
    LeastAttainedService,
    /// The flow with the fewest recent tokens for its weight is first: the prompt's, and twice
    /// those of the answer. Past service halves every minute.
    LeastAttainedTokens,
}

/// The order of requests in a flow. Equal requests are first come, first served.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum QueueOrder {
    /// First come, first served.
    Fcfs,
    /// Earliest deadline first: the request that expires first. Requests without a TTL are last.
    Edf,
    /// The request whose first token is due first. Requests without a due time are last.
    SloDeadline,
    /// The least predicted work. Each second of waiting counts as 0.1 s less work, so no request
    /// starves. After a request of the band has expired, waiting does not count for as long as that
    /// request had waited. In overload, the longest requests then expire, and the others are not
    /// delayed until shortly before they expire, too.
    #[default]
    ShortestWork,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            max_requests: Some(100_000),
            max_bytes: Some(4_000_000_000),
            band: BandLimits::default(),
            max_bands: 64,
            fairness: Fairness::default(),
            order: QueueOrder::default(),
            lower_share: 0.0,
            look_ahead: Duration::ZERO,
            max_idle_flows: 10_000,
            max_queued_prefill: Duration::from_millis(250),
            ttl: Duration::from_secs(60),
            no_endpoint_ttl: Duration::from_secs(60),
            saturation: SaturationPolicy::default(),
            usage_limit: UsageLimitPolicy::default(),
            session_admission: None,
        }
    }
}

impl Default for BandLimits {
    fn default() -> Self {
        Self { max_requests: 5_000, max_bytes: 1_000_000_000 }
    }
}

impl FlowConfig {
    /// Whether saturation never closes a band. A pool in which every endpoint has its limit of
    /// queued prefill has no capacity for any band.
    pub(crate) fn never_closes(&self) -> bool {
        self.saturation == SaturationPolicy::default()
            && self.usage_limit == UsageLimitPolicy::default()
    }

    /// The first invalid field, and the condition that it violates.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let guard = self.session_admission.as_ref().and_then(SessionAdmissionConfig::invalid);
        if let Some(invalid) =
            self.saturation.invalid().or_else(|| self.usage_limit.invalid()).or(guard)
        {
            return Some(invalid);
        }
        if !(0.0..=0.5).contains(&self.lower_share) {
            return Some(("flow.lower_share", "must lie in [0, 0.5]"));
        }
        let limits = [
            ("flow.max_requests", self.max_requests == Some(0)),
            ("flow.max_bytes", self.max_bytes == Some(0)),
            ("flow.band.max_requests", self.band.max_requests == 0),
            ("flow.band.max_bytes", self.band.max_bytes == 0),
        ];
        let (field, _) = limits.into_iter().find(|(_, zero)| *zero)?;
        Some((field, "must not be zero"))
    }
}
