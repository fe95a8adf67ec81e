//! Configuration of flow control.

use napi_derive::napi;
use slotwise::{ConcurrencyMode, Fairness, HoldbackDomain, QueueOrder};

use crate::config::set;
use crate::endpoint::{one_of, word_for};
use crate::error::Unfit;
use crate::number::{count, duration, exact, finite, millis, size};

/// The queue's limits and order. A band holds the requests of one priority, and a flow those of one
/// fairness id in the band.
#[napi(object)]
#[derive(Debug, Default)]
pub struct FlowConfig {
    /// Requests that may wait, over all bands; with Infinity only the bands' limits apply. Default:
    /// 100,000.
    pub max_requests: Option<f64>,
    /// Bytes of requests that may wait, over all bands; Infinity as above. Default: 4,000,000,000.
    pub max_bytes: Option<f64>,
    /// What each band may hold.
    pub band: Option<BandLimits>,
    /// The flow of a band that is served first: fewest predicted seconds per weight; round robin;
    /// oldest request; or fewest recent seconds or tokens. Default: `'start_time'`.
    #[napi(
        ts_type = "'start_time' | 'round_robin' | 'global_strict' | 'least_attained_service' | 'least_attained_tokens'"
    )]
    pub fairness: Option<String>,
    /// The request of a flow that is served first: by arrival; by expiry; by the deadline of its
    /// first token; or by least work, less with age unless requests of the band expire. Default:
    /// `'shortest_work'`.
    #[napi(ts_type = "'fcfs' | 'edf' | 'slo_deadline' | 'shortest_work'")]
    pub order: Option<String>,
    /// Share of the dispatched seconds for lower bands while a higher one waits too, up to 0.5.
    /// Default: 0, with which lower bands can starve.
    pub lower_share: Option<f64>,
    /// Flows whose virtual times differ by at most this many milliseconds count as equal. Default:
    /// 0.
    pub look_ahead_ms: Option<f64>,
    /// Bands of different priority; beyond the limit, a request joins the next lower band. Default:
    /// 64.
    pub max_bands: Option<f64>,
    /// Flows that are remembered though nothing of them waits. Default: 10,000.
    pub max_idle_flows: Option<f64>,
    /// A request waits while its best endpoint has more milliseconds than this booked before it.
    /// Default: 250.
    pub max_queued_prefill_ms: Option<f64>,
    /// TTL in milliseconds of a request without its own. Default: 60,000.
    pub ttl_ms: Option<f64>,
    /// Milliseconds that a request waits for an endpoint, where there is none. Default: 60,000.
    pub no_endpoint_ttl_ms: Option<f64>,
    /// How busy the pool is.
    pub saturation: Option<SaturationPolicy>,
    /// How busy it may be for each band.
    pub usage_limit: Option<UsageLimitPolicy>,
    /// Holds back new sessions while no cache has room for their contexts; `{}` for its defaults.
    /// Default: absent.
    pub session_admission: Option<SessionAdmissionConfig>,
}

/// What a band may hold.
#[napi(object)]
#[derive(Debug, Default)]
pub struct BandLimits {
    /// Requests that may wait. Default: 5,000.
    pub max_requests: Option<f64>,
    /// Bytes of requests that may wait. Default: 1,000,000,000.
    pub max_bytes: Option<f64>,
}

/// How the pool's saturation is computed. Each type has fields of its own.
#[napi(object)]
#[derive(Debug, Default)]
pub struct SaturationPolicy {
    /// From predicted queued work and KV cache use; from load reports; or from requests in flight.
    /// Default: `'continuous'`.
    #[napi(ts_type = "'continuous' | 'utilization-detector' | 'concurrency-detector'")]
    pub r#type: Option<String>,
    /// Of `'continuous'`: milliseconds of booked prefill with which an endpoint is full. Default:
    /// 250.
    pub max_queued_prefill_ms: Option<f64>,
    /// Of `'continuous'`: share of the KV cache with which an endpoint is full. Default: 0.8.
    pub kv_limit: Option<f64>,
    /// Of `'utilization-detector'`: waiting requests with which an endpoint is full. Default: 5.
    pub queue_depth_threshold: Option<f64>,
    /// Of `'utilization-detector'`: share of the KV cache with which an endpoint is full. Default:
    /// 0.8.
    pub kv_cache_util_threshold: Option<f64>,
    /// Of `'utilization-detector'`: reports older than so many milliseconds are not used. Default:
    /// 200.
    pub metrics_staleness_threshold_ms: Option<f64>,
    /// Of `'concurrency-detector'`: what is counted. Default: `'requests'`.
    #[napi(ts_type = "'requests' | 'tokens' | 'hybrid'")]
    pub concurrency_mode: Option<String>,
    /// Of `'concurrency-detector'`: requests in flight with which an endpoint is full. Default:
    /// 100.
    pub max_concurrency: Option<f64>,
    /// Of `'concurrency-detector'`: their tokens with which it is. Default: 1,000,000.
    pub max_token_concurrency: Option<f64>,
    /// Of both detectors: how far a single endpoint may go beyond full, as a share. Default: 0.
    pub headroom: Option<f64>,
}

/// How full the pool may be for each band: while it is fuller, the band's requests wait. Each type
/// has fields of its own.
#[napi(object)]
#[derive(Debug, Default)]
pub struct UsageLimitPolicy {
    /// One ceiling for all bands; steps from the highest band to the lowest; or steps that grow
    /// with the saturation. Default: `'static'`.
    #[napi(ts_type = "'static' | 'priority-holdback' | 'soft-reflective'")]
    pub r#type: Option<String>,
    /// Of `'static'`: the saturation with which bands close. Default: 1.
    pub limit: Option<f64>,
    /// Of `'priority-holdback'`, which needs it: the saturation with which the lowest band closes.
    pub min_usage_limit: Option<f64>,
    /// Of `'priority-holdback'`: the one with which the highest closes. Default: 1.
    pub max_usage_limit: Option<f64>,
    /// Of `'priority-holdback'`: those between them close in equal steps by rank, or in proportion
    /// to their priorities. Default: `'rank'`.
    #[napi(ts_type = "'rank' | 'value'")]
    pub domain: Option<String>,
}

/// The working-set guard, which holds back new sessions while no endpoint's cache has room for
/// another context.
#[napi(object)]
#[derive(Debug, Default)]
pub struct SessionAdmissionConfig {
    /// Initial share of an endpoint's KV cache for the contexts of its active sessions; learned
    /// from then on. Default: 0.8.
    pub share: Option<f64>,
    /// The share never becomes smaller. Default: 0.6.
    pub share_min: Option<f64>,
    /// The share never becomes larger, unless `share` is larger itself. Default: 0.8.
    pub share_max: Option<f64>,
    /// Initial milliseconds that a session without requests in flight stays active; learned from
    /// then on. Default: 30,000.
    pub idle_time_ms: Option<f64>,
    /// The idle time never becomes shorter. Default: 5,000.
    pub idle_time_min_ms: Option<f64>,
    /// The idle time never becomes longer. Default: 900,000.
    pub idle_time_max_ms: Option<f64>,
    /// Sessions that are remembered, about 250 bytes each. Default: 65,536.
    pub max_sessions: Option<f64>,
}

impl FlowConfig {
    /// What was given, over `base` for the rest.
    pub(crate) fn over(self, base: slotwise::FlowConfig) -> Result<slotwise::FlowConfig, Unfit> {
        let mut flow = base;
        if let Some(most) = self.max_requests {
            flow.max_requests =
                limit(most).map(|most| size("flow.maxRequests", most)).transpose()?;
        }
        if let Some(most) = self.max_bytes {
            flow.max_bytes = limit(most).map(|most| exact("flow.maxBytes", most)).transpose()?;
        }
        let (band, limits) = (&mut flow.band, self.band.unwrap_or_default());
        set! {
            band.max_requests => limits.max_requests, size, "flow.band.maxRequests";
            band.max_bytes => limits.max_bytes, exact, "flow.band.maxBytes";
        }
        if let Some(word) = self.fairness {
            flow.fairness = one_of("flow.fairness", &word, &FAIRNESS)?;
        }
        if let Some(word) = self.order {
            flow.order = one_of("flow.order", &word, &ORDER)?;
        }
        set! {
            flow.lower_share => self.lower_share, finite, "flow.lowerShare";
            flow.look_ahead => self.look_ahead_ms, duration, "flow.lookAheadMs";
            flow.max_bands => self.max_bands, size, "flow.maxBands";
            flow.max_idle_flows => self.max_idle_flows, size, "flow.maxIdleFlows";
            flow.max_queued_prefill => self.max_queued_prefill_ms, duration, "flow.maxQueuedPrefillMs";
            flow.ttl => self.ttl_ms, duration, "flow.ttlMs";
            flow.no_endpoint_ttl => self.no_endpoint_ttl_ms, duration, "flow.noEndpointTtlMs";
        }
        if let Some(policy) = self.saturation {
            flow.saturation = policy.try_into()?;
        }
        if let Some(policy) = self.usage_limit {
            flow.usage_limit = policy.try_into()?;
        }
        if let Some(admission) = self.session_admission {
            flow.session_admission = Some(admission.try_into()?);
        }
        Ok(flow)
    }
}

impl TryFrom<SaturationPolicy> for slotwise::SaturationPolicy {
    type Error = Unfit;

    fn try_from(given: SaturationPolicy) -> Result<Self, Unfit> {
        let kind = given.r#type.as_deref().unwrap_or(CONTINUOUS);
        one_of(
            "flow.saturation.type",
            kind,
            &[(CONTINUOUS, ()), (UTILIZATION, ()), (CONCURRENCY, ())],
        )?;
        let detector = [UTILIZATION, CONCURRENCY].contains(&kind);
        fields_of(
            kind,
            &[
                (
                    "flow.saturation.maxQueuedPrefillMs",
                    given.max_queued_prefill_ms.is_some(),
                    kind == CONTINUOUS,
                ),
                ("flow.saturation.kvLimit", given.kv_limit.is_some(), kind == CONTINUOUS),
                (
                    "flow.saturation.queueDepthThreshold",
                    given.queue_depth_threshold.is_some(),
                    kind == UTILIZATION,
                ),
                (
                    "flow.saturation.kvCacheUtilThreshold",
                    given.kv_cache_util_threshold.is_some(),
                    kind == UTILIZATION,
                ),
                (
                    "flow.saturation.metricsStalenessThresholdMs",
                    given.metrics_staleness_threshold_ms.is_some(),
                    kind == UTILIZATION,
                ),
                (
                    "flow.saturation.concurrencyMode",
                    given.concurrency_mode.is_some(),
                    kind == CONCURRENCY,
                ),
                (
                    "flow.saturation.maxConcurrency",
                    given.max_concurrency.is_some(),
                    kind == CONCURRENCY,
                ),
                (
                    "flow.saturation.maxTokenConcurrency",
                    given.max_token_concurrency.is_some(),
                    kind == CONCURRENCY,
                ),
                ("flow.saturation.headroom", given.headroom.is_some(), detector),
            ],
        )?;
        match kind {
            CONTINUOUS => {
                let mut policy = slotwise::ContinuousSaturation::default();
                set! {
                    policy.max_queued_prefill => given.max_queued_prefill_ms, duration, "flow.saturation.maxQueuedPrefillMs";
                    policy.kv_limit => given.kv_limit, finite, "flow.saturation.kvLimit";
                }
                Ok(Self::Continuous(policy))
            }
            UTILIZATION => {
                let mut policy = slotwise::UtilizationDetector::default();
                set! {
                    policy.queue_depth_threshold =>
                        given.queue_depth_threshold, count, "flow.saturation.queueDepthThreshold";
                    policy.kv_cache_util_threshold =>
                        given.kv_cache_util_threshold, finite, "flow.saturation.kvCacheUtilThreshold";
                    policy.metrics_staleness_threshold =>
                        given.metrics_staleness_threshold_ms, duration, "flow.saturation.metricsStalenessThresholdMs";
                    policy.headroom => given.headroom, finite, "flow.saturation.headroom";
                }
                Ok(Self::UtilizationDetector(policy))
            }
            _ => {
                let mut policy = slotwise::ConcurrencyDetector::default();
                if let Some(word) = given.concurrency_mode {
                    policy.concurrency_mode =
                        one_of("flow.saturation.concurrencyMode", &word, &MODE)?;
                }
                set! {
                    policy.max_concurrency => given.max_concurrency, count, "flow.saturation.maxConcurrency";
                    policy.max_token_concurrency =>
                        given.max_token_concurrency, exact, "flow.saturation.maxTokenConcurrency";
                    policy.headroom => given.headroom, finite, "flow.saturation.headroom";
                }
                Ok(Self::ConcurrencyDetector(policy))
            }
        }
    }
}

impl TryFrom<UsageLimitPolicy> for slotwise::UsageLimitPolicy {
    type Error = Unfit;

    fn try_from(given: UsageLimitPolicy) -> Result<Self, Unfit> {
        let kind = given.r#type.as_deref().unwrap_or(STATIC);
        one_of("flow.usageLimit.type", kind, &[(STATIC, ()), (HOLDBACK, ()), (REFLECTIVE, ())])?;
        fields_of(
            kind,
            &[
                ("flow.usageLimit.limit", given.limit.is_some(), kind == STATIC),
                (
                    "flow.usageLimit.minUsageLimit",
                    given.min_usage_limit.is_some(),
                    kind == HOLDBACK,
                ),
                (
                    "flow.usageLimit.maxUsageLimit",
                    given.max_usage_limit.is_some(),
                    kind == HOLDBACK,
                ),
                ("flow.usageLimit.domain", given.domain.is_some(), kind == HOLDBACK),
            ],
        )?;
        match kind {
            STATIC => {
                let mut policy = slotwise::StaticUsageLimit::default();
                set! { policy.limit => given.limit, finite, "flow.usageLimit.limit"; }
                Ok(Self::Static(policy))
            }
            HOLDBACK => {
                let least = given.min_usage_limit.unwrap_or(f64::NAN);
                let mut policy = slotwise::PriorityHoldback::new(finite(
                    "flow.usageLimit.minUsageLimit",
                    least,
                )?);
                if let Some(word) = given.domain {
                    policy.domain = one_of("flow.usageLimit.domain", &word, &DOMAIN)?;
                }
                set! { policy.max_usage_limit => given.max_usage_limit, finite, "flow.usageLimit.maxUsageLimit"; }
                Ok(Self::PriorityHoldback(policy))
            }
            _ => Ok(Self::SoftReflective(slotwise::SoftReflective::default())),
        }
    }
}

impl TryFrom<SessionAdmissionConfig> for slotwise::SessionAdmissionConfig {
    type Error = Unfit;

    fn try_from(given: SessionAdmissionConfig) -> Result<Self, Unfit> {
        let mut admission = Self::default();
        set! {
            admission.share => given.share, finite, "flow.sessionAdmission.share";
            admission.share_min => given.share_min, finite, "flow.sessionAdmission.shareMin";
            admission.share_max => given.share_max, finite, "flow.sessionAdmission.shareMax";
            admission.idle_time => given.idle_time_ms, duration, "flow.sessionAdmission.idleTimeMs";
            admission.idle_time_min => given.idle_time_min_ms, duration, "flow.sessionAdmission.idleTimeMinMs";
            admission.idle_time_max => given.idle_time_max_ms, duration, "flow.sessionAdmission.idleTimeMaxMs";
            admission.max_sessions => given.max_sessions, size, "flow.sessionAdmission.maxSessions";
        }
        Ok(admission)
    }
}

impl From<&slotwise::FlowConfig> for FlowConfig {
    fn from(flow: &slotwise::FlowConfig) -> Self {
        Self {
            max_requests: Some(flow.max_requests.map_or(f64::INFINITY, |most| most as f64)),
            max_bytes: Some(flow.max_bytes.map_or(f64::INFINITY, |most| most as f64)),
            band: Some(BandLimits {
                max_requests: Some(flow.band.max_requests as f64),
                max_bytes: Some(flow.band.max_bytes as f64),
            }),
            fairness: word_for(&flow.fairness, &FAIRNESS),
            order: word_for(&flow.order, &ORDER),
            lower_share: Some(flow.lower_share),
            look_ahead_ms: Some(millis(flow.look_ahead)),
            max_bands: Some(flow.max_bands as f64),
            max_idle_flows: Some(flow.max_idle_flows as f64),
            max_queued_prefill_ms: Some(millis(flow.max_queued_prefill)),
            ttl_ms: Some(millis(flow.ttl)),
            no_endpoint_ttl_ms: Some(millis(flow.no_endpoint_ttl)),
            saturation: Some(flow.saturation.into()),
            usage_limit: Some(flow.usage_limit.into()),
            session_admission: flow.session_admission.map(SessionAdmissionConfig::from),
        }
    }
}

impl From<slotwise::SaturationPolicy> for SaturationPolicy {
    fn from(policy: slotwise::SaturationPolicy) -> Self {
        match policy {
            slotwise::SaturationPolicy::Continuous(policy) => Self {
                r#type: Some(CONTINUOUS.into()),
                max_queued_prefill_ms: Some(millis(policy.max_queued_prefill)),
                kv_limit: Some(policy.kv_limit),
                ..Self::default()
            },
            slotwise::SaturationPolicy::UtilizationDetector(policy) => Self {
                r#type: Some(UTILIZATION.into()),
                queue_depth_threshold: Some(policy.queue_depth_threshold.into()),
                kv_cache_util_threshold: Some(policy.kv_cache_util_threshold),
                metrics_staleness_threshold_ms: Some(millis(policy.metrics_staleness_threshold)),
                headroom: Some(policy.headroom),
                ..Self::default()
            },
            slotwise::SaturationPolicy::ConcurrencyDetector(policy) => Self {
                r#type: Some(CONCURRENCY.into()),
                concurrency_mode: word_for(&policy.concurrency_mode, &MODE),
                max_concurrency: Some(policy.max_concurrency.into()),
                max_token_concurrency: Some(policy.max_token_concurrency as f64),
                headroom: Some(policy.headroom),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl From<slotwise::UsageLimitPolicy> for UsageLimitPolicy {
    fn from(policy: slotwise::UsageLimitPolicy) -> Self {
        match policy {
            slotwise::UsageLimitPolicy::Static(policy) => {
                Self { r#type: Some(STATIC.into()), limit: Some(policy.limit), ..Self::default() }
            }
            slotwise::UsageLimitPolicy::PriorityHoldback(policy) => Self {
                r#type: Some(HOLDBACK.into()),
                min_usage_limit: Some(policy.min_usage_limit),
                max_usage_limit: Some(policy.max_usage_limit),
                domain: word_for(&policy.domain, &DOMAIN),
                ..Self::default()
            },
            slotwise::UsageLimitPolicy::SoftReflective(_) => {
                Self { r#type: Some(REFLECTIVE.into()), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

impl From<slotwise::SessionAdmissionConfig> for SessionAdmissionConfig {
    fn from(admission: slotwise::SessionAdmissionConfig) -> Self {
        Self {
            share: Some(admission.share),
            share_min: Some(admission.share_min),
            share_max: Some(admission.share_max),
            idle_time_ms: Some(millis(admission.idle_time)),
            idle_time_min_ms: Some(millis(admission.idle_time_min)),
            idle_time_max_ms: Some(millis(admission.idle_time_max)),
            max_sessions: Some(admission.max_sessions as f64),
        }
    }
}

const FAIRNESS: [(&str, Fairness); 5] = [
    ("start_time", Fairness::StartTime),
    ("round_robin", Fairness::RoundRobin),
    ("global_strict", Fairness::GlobalStrict),
    ("least_attained_service", Fairness::LeastAttainedService),
    ("least_attained_tokens", Fairness::LeastAttainedTokens),
];
const ORDER: [(&str, QueueOrder); 4] = [
    ("fcfs", QueueOrder::Fcfs),
    ("edf", QueueOrder::Edf),
    ("slo_deadline", QueueOrder::SloDeadline),
    ("shortest_work", QueueOrder::ShortestWork),
];
const MODE: [(&str, ConcurrencyMode); 3] = [
    ("requests", ConcurrencyMode::Requests),
    ("tokens", ConcurrencyMode::Tokens),
    ("hybrid", ConcurrencyMode::Hybrid),
];
const DOMAIN: [(&str, HoldbackDomain); 2] =
    [("rank", HoldbackDomain::Rank), ("value", HoldbackDomain::Value)];

const CONTINUOUS: &str = "continuous";
const UTILIZATION: &str = "utilization-detector";
const CONCURRENCY: &str = "concurrency-detector";
const STATIC: &str = "static";
const HOLDBACK: &str = "priority-holdback";
const REFLECTIVE: &str = "soft-reflective";

/// A limit that is none if it is infinite.
fn limit(most: f64) -> Option<f64> {
    (most != f64::INFINITY).then_some(most)
}

/// Refuses the first of (field, whether it was given, whether the type has it) that means nothing
/// there.
fn fields_of(kind: &str, fields: &[(&str, bool, bool)]) -> Result<(), Unfit> {
    match fields.iter().find(|(_, given, had)| *given && !had) {
        Some((field, ..)) => Err(Unfit::word(field, "left to another type", kind)),
        None => Ok(()),
    }
}
