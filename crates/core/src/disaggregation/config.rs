//! The configuration of disaggregated serving.

use super::decider::Decider;
use crate::kv_transfer::KvTransferCost;

/// How requests are split over endpoints that encode, prefill and decode.
///
/// With this configuration, a [`Role::Unified`](crate::Role::Unified) request is answered by an
/// endpoint whose role includes decoding. If the prefill decider agrees, another endpoint whose
/// role includes prefilling computes the prompt first. Otherwise the decoding endpoint computes the
/// prompt itself.
///
/// ```
/// use slotwise::{
///     Config, Decider, DisaggregationConfig, Endpoint, Instant, Request, Role, Scheduler,
/// };
///
/// let mut config = Config::default();
/// let mut disaggregation = DisaggregationConfig::default();
/// disaggregation.prefill = Decider::AlwaysPd;
/// config.disaggregation = Some(disaggregation);
/// let mut scheduler = Scheduler::new(config)?;
///
/// let now = Instant::ORIGIN;
/// let prefiller = scheduler.add_endpoint(now, Endpoint::new("p").role(Role::Prefill))?;
/// let decoder = scheduler.add_endpoint(now, Endpoint::new("d").role(Role::Decode))?;
/// let dispatch = scheduler.pick(now, &Request::new("llama").tokens(&[1; 4_000]))?;
/// assert_eq!(dispatch.endpoint_id, decoder);
/// assert_eq!(dispatch.prefill.map(|leg| leg.endpoint_id), Some(prefiller));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct DisaggregationConfig {
    /// Decides whether another endpoint prefills.
    pub prefill: Decider,
    /// Decides whether another endpoint encodes the media of a request. It matters only in pools
    /// with endpoints whose role includes encoding.
    pub encode: Decider,
    /// The cost of moving a prompt's KV cache, for endpoints whose description omits it.
    pub kv_transfer: KvTransferCost,
}

impl Default for DisaggregationConfig {
    fn default() -> Self {
        Self {
            prefill: Decider::PredictedPd,
            encode: Decider::AlwaysMultimodal,
            kv_transfer: KvTransferCost::default(),
        }
    }
}
