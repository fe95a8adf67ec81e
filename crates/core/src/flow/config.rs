//! How much may wait, and in which order it goes.

use core::time::Duration;

use super::saturation::SaturationPolicy;
use super::session_admission::SessionAdmissionConfig;
use super::usage_limit::UsageLimitPolicy;

/// The waiting room: how much may wait in it, and who goes first.
///
/// Requests wait in *bands* of equal priority, and in a band in *flows*, one for each fairness id.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct FlowConfig {
    /// Requests that may wait, over all bands; without a limit, those of the bands are the only ones.
    pub max_requests: Option<usize>,
    /// Bytes of requests that may wait, over all bands.
    pub max_bytes: Option<u64>,
    /// What each band may hold.
    pub band: BandLimits,
    /// Bands of different priority. A request whose band would be one more joins the next lower one, above zero or below it as
    /// it was: a decision looks at every band. Those of priority 0 and -1 are there in any case.
    pub max_bands: usize,
    /// Which flow of a band goes first.
    pub fairness: Fairness,
    /// Which request of a flow goes first.
    pub order: QueueOrder,
    /// Share of the dispatched seconds that goes to the bands below the highest that has candidates, in [0, 0.5]; of it, the same
    /// share to those below the second, and so on. Zero is strict priority: lower bands may starve.
    pub lower_share: f64,
    /// Flows whose virtual times differ by no more than this are equally near to their turns, so that another reason, such as a
    /// warm cache, may choose among them. Zero never lets it. For [`Fairness::StartTime`] only.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub look_ahead: Duration,
    /// Flows that are remembered though nothing of them waits, because they have had more than their turn.
    pub max_idle_flows: usize,
    /// A request waits while its best endpoint has more than this booked before it. In simulations, 0.1 to 0.5 s were as good; it must
    /// exceed two round trips and one step of the engine.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub max_queued_prefill: Duration,
    /// How long a request waits that does not say.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub ttl: Duration,
    /// How long a request waits for an endpoint, from when the last one left or, if it comes later, from its own coming; and no
    /// longer than it waits in any case.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub no_endpoint_ttl: Duration,
    /// How busy the pool is.
    pub saturation: SaturationPolicy,
    /// How busy it may be for each band.
    pub usage_limit: UsageLimitPolicy,
    /// Holds back new sessions while no cache has room for their contexts.
    pub session_admission: Option<SessionAdmissionConfig>,
}

/// What a band may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct BandLimits {
    /// Requests that may wait.
    pub max_requests: usize,
    /// Bytes of requests that may wait.
    pub max_bytes: u64,
}

/// Which flow of a band goes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Fairness {
    /// Start-time fair queueing (Goyal, Vin and Cheng, 1996): the flow that has had the fewest predicted seconds for its weight. The
    /// prediction is put right when a request completes.
    #[default]
    StartTime,
    /// Flows take turns, as many as their weights say, however long their requests are.
    RoundRobin,
    /// Fairness ids do not count: all requests of a band are one queue.
    GlobalStrict,
    /// The flow that has had the fewest predicted seconds for its weight lately: what it has had is halved every minute.
    LeastAttainedService,
}

/// Which request of a flow goes first. Equal ones go as they came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum QueueOrder {
    /// First come, first served.
    #[default]
    Fcfs,
    /// Earliest deadline first: the request that would expire first. Those that never expire go last.
    Edf,
    /// The request whose first token is due first. Those without a due time go last.
    SloDeadline,
    /// The least predicted work, a second of waiting counting as a tenth of a second less of it, so that nobody waits for ever.
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
    /// Whether every band may always dispatch, as far as saturation goes: a pool in which every endpoint has its hold booked has room for
    /// nobody in any case.
    pub(crate) fn never_closes(&self) -> bool {
        self.saturation == SaturationPolicy::default()
            && self.usage_limit == UsageLimitPolicy::default()
    }

    /// The first field that cannot be used, and what it must be.
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
