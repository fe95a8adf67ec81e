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

/// What the time to first token is predicted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstToken {
    /// Tokens that the request computes.
    pub(super) miss: u32,
    /// Cached tokens before them.
    pub(super) hit: u32,
    /// The time to the first token as costs count it: without the overheads of the engine's steps.
    pub(super) first_token_in: Seconds,
    /// Of that, the wait for space in the KV cache.
    pub(super) room: Seconds,
}

impl FirstToken {
    /// The predicted time to the first token: requests before this one take their space in the KV
    /// cache first.
    pub(super) fn predicted(self, fleet: &Fleet, now: Instant, work: Work, slot: &Slot) -> Seconds {
        // Their tokens, from the time of their prefill.
        let per_token = (slot.prefill.per_token * slot.speed.factor()).get();
        let booked = Seconds::from(slot.in_flight.booked()).get();
        let ahead = if per_token > 0.0 { booked / per_token } else { 0.0 };
        self.ttft(fleet, now, work, slot, ahead)
    }

    /// The earliest time that is plausible: the space is taken in no order. Only a request that is
    /// late even so is refused.
    pub(super) fn earliest(self, fleet: &Fleet, now: Instant, work: Work, slot: &Slot) -> Seconds {
        self.ttft(fleet, now, work, slot, 0.0)
    }

    /// The costs' time, with the overheads of the prefill's own steps and half of the step that an
    /// engine with running answers is in. The request at the engine's head progresses as predicted,
    /// and a fresh report replaces the estimate of the KV cache.
    fn ttft(self, fleet: &Fleet, now: Instant, work: Work, slot: &Slot, ahead: f64) -> Seconds {
        let Work::Prompt = work else { return self.first_token_in };
        let (miss, hit) = (self.miss, self.hit);
        let overhead = slot.prefill.service(miss, hit) - slot.prefill.work(miss, hit);
        let busy = slot.in_flight.running() > 0;
        let step = if busy { predicted_tpot(fleet, now, slot) * 0.5 } else { Seconds::ZERO };
        let progress = slot.in_flight.wait(now) - slot.in_flight.expected_wait(now);
        let room = self.room - self.reported_room(fleet, now, slot, ahead).min(self.room);
        self.first_token_in - progress - room + overhead * slot.speed.factor() + step
    }

    /// The wait for space in the KV cache by a fresh report of it, in which prompts that running
    /// requests share count once. `ahead` tokens are taken first.
    fn reported_room(self, fleet: &Fleet, now: Instant, slot: &Slot, ahead: f64) -> Seconds {
        if self.room <= Seconds::ZERO {
            return Seconds::ZERO;
        }
        let lifetime = fleet.config.report_lifetime;
        let Some(usage) = slot.reports.kv_usage(now, lifetime) else { return self.room };
        let capacity = f64::from(slot.kv_cache_tokens);
        let used = usage * capacity;
        slot.wait_for_tokens(used, used + ahead + f64::from(self.miss), fleet.config.kv_limit)
    }
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
    let external = slot.reports.external(now, fleet.pool.reports(), slot.kv_cache_tokens, lifetime);
    f64::from(slot.in_flight.running()) + external.running
}
