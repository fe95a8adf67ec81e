//! The predicted latency of a request on an endpoint: its time to first token, and per output
//! token.

use super::query::Work;
use crate::fleet::Fleet;
use crate::pool::Slot;
use crate::time::{Instant, Seconds};

/// The predicted latency of one request on one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PredictedLatency {
    /// Time to the first token.
    pub(crate) ttft: Seconds,
    /// Mean time per output token after it.
    pub(crate) tpot: Seconds,
}

/// The predicted time to the first token of a request that computes `miss` tokens of its prompt
/// after `hit` cached ones, given the same without the overheads of the engine's steps.
///
/// The overheads are those of the prefill's own steps, and half of the step that an engine with
/// running answers is in.
pub(super) fn predicted_ttft(
    fleet: &Fleet,
    now: Instant,
    work: Work,
    slot: &Slot,
    (miss, hit): (u32, u32),
    first_token_in: Seconds,
) -> Seconds {
    let Work::Prompt = work else { return first_token_in };
    let overhead = slot.prefill.service(miss, hit) - slot.prefill.work(miss, hit);
    let busy = slot.in_flight.running() > 0;
    let step = if busy { predicted_tpot(fleet, now, slot) * 0.5 } else { Seconds::ZERO };
    first_token_in + overhead * slot.speed.factor() + step
}

/// The predicted time per output token of one more answer on the endpoint.
pub(super) fn predicted_tpot(fleet: &Fleet, now: Instant, slot: &Slot) -> Seconds {
    let running = running(fleet, now, slot) + f64::from(slot.in_flight.pending()) + 1.0;
    let step = slot.prefill.per_step + slot.prefill.min_step;
    fleet.decode_time.predict(running, step * slot.speed.factor()) * slot.decode_factor.get()
}

/// Running answers on the endpoint: this gateway's, and external ones.
pub(crate) fn running(fleet: &Fleet, now: Instant, slot: &Slot) -> f64 {
    let lifetime = fleet.config.report_lifetime;
    let external = slot.reports.estimate(now, fleet.pool.reports(), slot.kv_cache_tokens, lifetime);
    f64::from(slot.in_flight.running()) + external.running
}
