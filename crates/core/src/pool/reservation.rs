//! Reservations: the claims of requests on endpoints, from dispatch to release.

use core::time::Duration;

use super::health::BackoffPeriods;
use super::in_flight::AnswerWeight;
use super::{Pool, UnknownEndpoint};
use crate::endpoint::EndpointId;
use crate::time::Instant;

/// A request's claim on an endpoint: its place in the queue, its prefill, its KV tokens, its
/// adapter.
///
/// A reservation can be neither copied nor created elsewhere, and [`Pool::release`] consumes it, so
/// each is released exactly once.
#[derive(Debug)]
pub(crate) struct Reservation {
    endpoint: EndpointId,
    order: u64,
    started: bool,
    prompt_tokens: u64,
    answer_tokens: u64,
    adapter: Option<u64>,
    answer_weight: AnswerWeight,
    reports_end: bool,
    /// Tokens that count as in flight until the first token.
    uncached_tokens: u32,
    /// Whether it loads the adapter.
    loads: bool,
}

/// The resources that a reservation claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Predicted prefill.
    pub(crate) work: Duration,
    /// Tokens of the prompt.
    pub(crate) tokens: u32,
    /// Of these, the tokens that the endpoint is expected to compute.
    pub(crate) uncached_tokens: u32,
    /// The adapter's key and name.
    pub(crate) adapter: Option<(u64, &'a str)>,
    /// Slots that the adapter takes.
    pub(crate) adapter_slots: usize,
    /// How much a delay of its answer counts.
    pub(crate) answer_weight: AnswerWeight,
    /// Whether the end of its prefill is reported.
    pub(crate) reports_end: bool,
}

impl Pool {
    /// Reserves capacity on the endpoint `id`.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        id: EndpointId,
        claim: Claim<'_>,
        expected_output_tokens: f64,
        backoff_periods: BackoffPeriods,
    ) -> Result<Reservation, UnknownEndpoint> {
        let dispatches = self.dispatches;
        let slot = self.get_mut(id)?;
        slot.health.dispatched(now, dispatches, backoff_periods);
        slot.counters.dispatched += 1;
        let order = slot.next_use();
        let unreported = (!claim.reports_end).then_some(claim.answer_weight);
        slot.in_flight.reserve(now, order, claim.work, claim.tokens, unreported);
        slot.reports.watch(&slot.in_flight, expected_output_tokens);
        if let Some(view) = &mut slot.engine_view {
            view.dispatched(now, order, claim.uncached_tokens);
        }
        let loads = claim
            .adapter
            .is_some_and(|(key, name)| slot.adapters.begin(key, name, claim.adapter_slots, now));
        slot.counters.adapter_loads += u64::from(loads);
        slot.loading += u32::from(loads);
        self.dispatches += 1;
        self.reschedule_opening(id);
        self.refresh_bounds(id);
        Ok(Reservation {
            endpoint: id,
            order,
            started: false,
            prompt_tokens: u64::from(claim.tokens),
            answer_tokens: 0,
            adapter: claim.adapter.map(|(key, _)| key),
            answer_weight: claim.answer_weight,
            reports_end: claim.reports_end,
            loads,
            uncached_tokens: claim.uncached_tokens,
        })
    }

    /// Records the first token: the request leaves the prefill queue and runs. A second call has no
    /// effect.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        reservation: &mut Reservation,
        expected_output_tokens: f64,
    ) {
        if core::mem::replace(&mut reservation.started, true) {
            return;
        }
        if let Ok(slot) = self.get_mut(reservation.endpoint) {
            slot.in_flight.finish_prefill(now, reservation.order);
            if reservation.reports_end {
                slot.in_flight.first_token(now);
            }
            slot.in_flight.run(reservation.answer_weight);
            if let Some(view) = &mut slot.engine_view {
                view.started(reservation.order, reservation.uncached_tokens);
            }
            slot.loading = slot.loading.saturating_sub(u32::from(reservation.loads));
            slot.reports.watch(&slot.in_flight, expected_output_tokens);
            slot.answered(reservation.adapter);
        }
        self.at_work = true;
        self.refresh_bounds(reservation.endpoint);
    }

    /// Records that the answer grew by `tokens`.
    pub(crate) fn grow(
        &mut self,
        reservation: &mut Reservation,
        tokens: u32,
        expected_output_tokens: f64,
    ) {
        reservation.answer_tokens += u64::from(tokens);
        if let Ok(slot) = self.get_mut(reservation.endpoint) {
            slot.in_flight.grow(tokens);
            slot.reports.watch(&slot.in_flight, expected_output_tokens);
        }
        self.refresh_bounds(reservation.endpoint);
    }

    /// Releases a reservation, also after its endpoint was removed. `served` is whether the
    /// endpoint computed anything for the request.
    pub(crate) fn release(&mut self, now: Instant, reservation: Reservation, served: bool) {
        let Ok(slot) = self.get_mut(reservation.endpoint) else { return };
        if reservation.started {
            slot.in_flight.finish_running(reservation.answer_weight);
        } else {
            slot.in_flight.finish_prefill(now, reservation.order);
            slot.loading = slot.loading.saturating_sub(u32::from(reservation.loads));
        }
        if let Some(view) = &mut slot.engine_view {
            let waiting = u32::from(!reservation.started) * reservation.uncached_tokens;
            view.ended(reservation.order, waiting);
        }
        slot.in_flight.shrink(reservation.prompt_tokens, reservation.answer_tokens);
        if served {
            slot.answered(reservation.adapter);
        }
        if let Some(key) = reservation.adapter {
            slot.adapters.end(key, now);
        }
        self.refresh_bounds(reservation.endpoint);
    }

    /// Adds a request in flight to the view of its engine, in the order of dispatch.
    pub(crate) fn view(&mut self, dispatched: Instant, reservation: &Reservation) {
        let Ok(slot) = self.get_mut(reservation.endpoint) else { return };
        let Some(view) = &mut slot.engine_view else { return };
        view.dispatched(dispatched, reservation.order, reservation.uncached_tokens);
        if reservation.started {
            view.started(reservation.order, reservation.uncached_tokens);
        }
    }
}

impl Reservation {
    pub(crate) const fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Its number among the uses of the endpoint's cache; it rises from dispatch to dispatch.
    pub(crate) const fn order(&self) -> u64 {
        self.order
    }

    /// Tokens of the answer that were reported.
    pub(crate) const fn answer_tokens(&self) -> u64 {
        self.answer_tokens
    }

    /// Whether it loads its adapter.
    pub(crate) const fn loads(&self) -> bool {
        self.loads
    }

    /// Whether the end of its prefill is reported, before the end of its answer.
    pub(crate) const fn reports_end(&self) -> bool {
        self.reports_end
    }

    /// Whether the first token was reported.
    pub(crate) const fn started(&self) -> bool {
        self.started
    }
}
