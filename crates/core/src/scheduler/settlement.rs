//! The end of a request: its charge, its reservation, and what is learned from it.

use alloc::boxed::Box;

use super::Scheduler;
use super::in_flight::{InFlight, PlacedPrompt};
use super::peers::SharedPrefix;
use crate::placement::running;
use crate::pool::{Outcome, OutcomeContext, Reservation, Shortfall};
use crate::prefix::BlockUse;
use crate::request::{CacheUse, Usage};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Charges a request's flow the actual cost, and marks its session idle.
    ///
    /// Reported answer tokens count in full, however the request ended. A prefill that may be
    /// unfinished is charged at most the time since the dispatch. A prefill that never reached the
    /// endpoint is free. So a client gains nothing by disconnecting early.
    pub(super) fn settle(&mut self, now: Instant, request: &InFlight, end: End) {
        let usage = end.usage();
        let tokens = request.prompt.tokens;
        let reported = u32::try_from(request.reservation.answer_tokens()).unwrap_or(u32::MAX);
        let answer = usage.and_then(|usage| usage.completion_tokens).unwrap_or(0).max(reported);
        if let Some(charge) = request.charge {
            let cached =
                usage.and_then(|usage| request.cached_as_predicted(usage)).unwrap_or(request.hit);
            let whole =
                self.fleet.config.prefill.work(tokens.saturating_sub(cached), cached.min(tokens));
            let prefill = match end {
                End::Completed(_) => whole,
                End::Abandoned if request.started.is_some() => whole,
                End::Abandoned => whole.min(now.saturating_since(request.dispatched).into()),
                End::NeverBegun => Seconds::ZERO,
            };
            let read = if matches!(end, End::NeverBegun) { 0 } else { tokens };
            let work = prefill + self.fleet.output_cost(answer);
            let actual = self.fleet.config.flow.fairness.service(work, read, answer);
            self.queueing.settle(charge, actual);
            if let Some(shared) = &mut self.shared {
                shared.correct(charge, actual);
            }
        }
        if let (Some(session), Some(admission)) =
            (request.session, self.queueing.session_admission_mut())
        {
            admission.end(now, session, tokens.saturating_add(answer));
            if let Some(cached) = usage.and_then(|usage| request.cached_as_predicted(usage)) {
                admission.observe(request.hit, cached);
            }
        }
    }

    /// Ends a request without an answer: settles its charge and releases its reservation.
    pub(super) fn abandon(&mut self, now: Instant, request: Box<InFlight>, end: End) {
        self.settle(now, &request, end);
        self.withdraw_or_leave(now, request);
    }

    /// Releases a reservation. The blocks stay in the cache if the request had a first token.
    pub(super) fn withdraw_or_leave(&mut self, now: Instant, request: Box<InFlight>) {
        let endpoint = request.reservation.endpoint();
        if request.reservation.started() {
            self.leave_blocks(now, request);
        } else {
            self.withdraw(now, request.reservation, &request.prompt);
        }
        self.queueing.endpoint_changed(&self.fleet, endpoint);
    }

    /// Records the outcome as evidence of the endpoint's health.
    pub(super) fn record_outcome(&mut self, now: Instant, request: &InFlight, outcome: Outcome) {
        let (endpoint, order) = (request.reservation.endpoint(), request.reservation.order());
        let context =
            OutcomeContext { endpoint, order, flow: request.suspect, since: request.dispatched };
        self.fleet.pool.record_outcome(now, context, outcome, self.fleet.backoff_periods());
    }

    /// Releases a reservation without a first token: its blocks are not in the cache.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        reservation: Reservation,
        prompt: &PlacedPrompt,
    ) {
        let endpoint = reservation.endpoint();
        if self.fleet.pool.get(endpoint).is_ok() {
            self.fleet.prefixes.forget_use(endpoint.slot, &prompt.chain, reservation.order());
        }
        self.fleet.pool.release(now, reservation, false);
    }

    /// Releases a reservation whose blocks are in the endpoint's cache.
    ///
    /// Engines keep the blocks of live requests, so for the eviction order they were used until
    /// now.
    pub(super) fn leave_blocks(&mut self, now: Instant, mut request: Box<InFlight>) {
        self.expect_confirmation(now, &mut request);
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            // The endpoint's layout may have changed by an update or a KV event.
            if request.prompt.is_for(slot.layout) {
                let block_tokens = request.prompt.span.block_tokens();
                let used = BlockUse { stamp: slot.next_use(), block_tokens, now, computed: true };
                self.fleet.prefixes.record_use(slot.id.slot, &request.prompt.chain, used);
                if let Some(shared) = &mut self.shared {
                    let (endpoint_id, blocks) = (slot.id, request.prompt.chain.clone());
                    shared.note_prefix(SharedPrefix { endpoint_id, blocks, block_tokens });
                }
            }
        }
        self.fleet.pool.release(now, request.reservation, true);
    }

    /// Starts the time in which KV events must confirm the prompt's computed blocks.
    pub(super) fn expect_confirmation(&mut self, now: Instant, request: &mut InFlight) {
        // Events carry token ids, so they cannot confirm text.
        if request.prompt.text.is_some() || request.prompt.chain.is_empty() {
            return;
        }
        let endpoint = request.reservation.endpoint();
        let here =
            self.fleet.pool.get(endpoint).is_ok_and(|slot| request.prompt.is_for(slot.layout));
        if here && self.fleet.prefixes.has_kv_events(endpoint.slot) {
            let chain = core::mem::take(&mut request.prompt.chain);
            self.fleet.prefixes.expect_confirmation(
                endpoint.slot,
                chain,
                request.reservation.order(),
                now,
            );
        }
    }

    pub(super) fn learn_speed(&mut self, now: Instant, request: &InFlight) {
        let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) else { return };
        // The latency of a request that waited for KV blocks is no evidence of speed.
        let roomy =
            (slot.in_flight.kv_tokens() as f64) < KV_BLOCKED * f64::from(slot.kv_cache_tokens);
        // Nor is one behind prompts of peers, whose first tokens are not known here.
        let alone = slot.reports.peers().prefilling == 0;
        if self.fleet.config.learn_speed && roomy && alone {
            let begun = slot
                .in_flight
                .first_token_at()
                .map_or(request.dispatched, |at| at.max(request.dispatched));
            let service = Seconds::from(now.saturating_since(begun));
            let miss = request.prompt.tokens.saturating_sub(request.hit);
            let adapter = request.prompt.adapter.as_ref().map(|(key, _)| *key);
            let traits = adapter.map(|key| self.fleet.adapter_catalog.traits(key));
            let traits = traits.unwrap_or_default();
            let predicted = slot.prefill.service(miss, request.hit) * traits.slowdown;
            if slot.loading == 0 {
                slot.speed.observe(now, service, predicted);
            }
            let prefill = predicted * slot.speed.factor();
            // A first token in the same step as the one before has no service time of its own.
            if slot.loading == 1 && request.reservation.loads() && service >= prefill {
                let described = traits.load_time(slot.adapter_load_time);
                if let Some(adapter) = adapter {
                    self.fleet.adapters.observe_load(adapter, service - prefill, described);
                }
            }
        }
    }

    pub(super) fn learn(&mut self, now: Instant, request: &InFlight, usage: Usage) {
        self.fleet.mean_residence.observe(now.saturating_since(request.dispatched).as_secs_f64());
        self.queueing.retry_slots_mut().observe(now.saturating_since(request.dispatched));
        // A whole answer has its first token at its end.
        let started = request.started.filter(|_| request.reservation.reports_end());
        if let (Some(started), Ok(slot)) =
            (started, self.fleet.pool.get_mut(request.reservation.endpoint()))
        {
            slot.answer_time.observe(now.saturating_since(started).as_secs_f64());
            self.learn_decode_time(now, started, request, usage);
        }
        if let Some(tokens) = usage.completion_tokens {
            self.fleet.mean_output.observe(f64::from(tokens));
            self.fleet.answers.observe(request.prompt.model, tokens);
        }
        self.learn_prompt(request, usage);
    }

    /// Learns the time per output token from a completed answer, and the mean number of running
    /// answers at its begin and its end.
    fn learn_decode_time(
        &mut self,
        now: Instant,
        started: Instant,
        request: &InFlight,
        usage: Usage,
    ) {
        let Some(later) = usage.completion_tokens.and_then(|tokens| tokens.checked_sub(1)) else {
            return;
        };
        if later == 0 || !self.fleet.config.learn_speed {
            return;
        }
        let running = (request.running + self.running_beside(now, request)) / 2.0;
        let time = Seconds::new(now.saturating_since(started).as_secs_f64() / f64::from(later));
        let predicted = self.fleet.decode_time.predict(running, time);
        self.fleet.decode_time.observe(running, time);
        if let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) {
            slot.decode_factor.observe(time, predicted);
        }
    }

    /// Running answers on the endpoint of a running request, this one included.
    pub(super) fn running_beside(&self, now: Instant, request: &InFlight) -> f64 {
        let slot = self.fleet.pool.get(request.reservation.endpoint());
        slot.map_or(1.0, |slot| running(&self.fleet, now, slot))
    }

    /// Learns from what the engine reported about a prompt.
    pub(super) fn learn_prompt(&mut self, request: &InFlight, usage: Usage) {
        if let (Some(text), Some(tokens)) = (request.prompt.text, usage.prompt_tokens) {
            let model = request.prompt.model;
            self.fleet.bytes_per_token.observe(model, text.flow, text.bytes, tokens);
        }
        if let Some(cached) = request.cached_as_predicted(usage) {
            self.counters.report_cached(request.hit, cached);
            self.correct(request, cached);
        }
    }

    /// Corrects the estimate of a cache after an engine found fewer cached tokens than predicted.
    /// Once a second answer agrees, blocks unused for as long are dropped.
    fn correct(&mut self, request: &InFlight, cached: u32) {
        let block = request.prompt.span.block_tokens();
        let slack = block.saturating_add(request.prompt.span.tokens() / SLACK_SHARE);
        let Some(evidence) = request.evidence else { return };
        let Ok(slot) = self.fleet.pool.get_mut(request.reservation.endpoint()) else { return };
        if cached.saturating_add(slack) >= request.hit {
            slot.evictions.found(evidence.last_block);
            return;
        }
        let unused_since = if cached < block { evidence.first_block } else { evidence.last_block };
        let observed = Shortfall { unused_since, placed: request.reservation.order() };
        let Some(agreed) = slot.evictions.observe(observed) else { return };
        self.fleet.prefixes.forget_unused_since(slot.id.slot, agreed);
        self.counters.corrections += 1;
    }
}

/// The end of a request, for the charge to its flow.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Completed(Usage),
    Abandoned,
    /// The request never reached the endpoint.
    NeverBegun,
}

impl End {
    const fn usage(self) -> Option<Usage> {
        match self {
            Self::Completed(usage) => Some(usage),
            Self::Abandoned | Self::NeverBegun => None,
        }
    }
}

impl InFlight {
    /// The reported cached tokens in units of the prediction. The length of a text prompt is an
    /// estimate, so only the cached *share* can be compared.
    fn cached_as_predicted(&self, usage: Usage) -> Option<u32> {
        // Engines count blocks that came from another endpoint as cached.
        let read = self.prompt.cache_use == CacheUse::Read && !self.prefilled_elsewhere;
        let cached = usage.cached_tokens.filter(|_| read)?;
        if self.prompt.text.is_none() {
            return Some(cached);
        }
        let counted = usage.prompt_tokens.filter(|tokens| *tokens > 0)?;
        let scaled = u64::from(cached) * u64::from(self.prompt.span.tokens()) / u64::from(counted);
        Some(u32::try_from(scaled).unwrap_or(u32::MAX))
    }
}

/// Share of the KV cache above which requests wait for blocks.
const KV_BLOCKED: f64 = 0.9;
/// The length of a text prompt is an estimate: a deviation of 1/16 is no evidence.
const SLACK_SHARE: u32 = 16;
