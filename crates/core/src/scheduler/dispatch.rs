//! Carries out a decision: reserves the endpoint, and records the blocks that the request leaves in
//! its cache.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use super::SharedPrefix;
use super::in_flight::{Evidence, InFlight, Legs, PlacedPrompt, TextPrompt};
use super::stats::StageSplit;
use crate::decision::{Dispatch, Leg, Rejected, Stage};
use crate::endpoint::EndpointId;
use crate::placement::{
    Assessment, CachedPrefix, Form, Lookup, PredictedLatency, Span, Work, described_work,
};
use crate::plan::Plan;
use crate::pool::{AnswerWeight, Claim, Slot};
use crate::prefix::{BlockHash, BlockUse, LastUses};
use crate::queueing::FlowCharge;
use crate::request::{CacheUse, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Reserves the planned endpoints for the prompt in the workspace. `charge` is that of a queued
    /// request.
    pub(super) fn dispatch(
        &mut self,
        now: Instant,
        id: RequestId,
        adapter: Option<&str>,
        suspect: Option<u64>,
        charge: Option<FlowCharge>,
        plan: &Plan,
    ) -> Result<Dispatch, Rejected> {
        let (gone, lookup) = (Rejected::NO_ENDPOINTS, &mut self.workspace.lookup);
        let ((endpoint, best), alternatives) = plan.answer.ranking.split().ok_or(gone)?;
        let chosen = &plan.answer.ranking.chosen;
        let slot = self.fleet.pool.get(*endpoint).map_err(|_| gone)?;
        let latency = PredictedLatency::of(&self.fleet, now, plan.work, lookup.tokens, slot, best);
        let prefiller = plan.prefill.as_ref().and_then(|leg| self.fleet.pool.get(leg.0).ok());
        let for_prefill = prefiller
            .map(|slot| placed_prompt(lookup, slot, adapter, |lookup| lookup.copy_for(slot)));
        let prompt = placed_prompt(lookup, slot, adapter, |lookup| lookup.take(slot));
        let (tokens, best_hit, streams) = (lookup.tokens, lookup.best_hit, lookup.streams);
        // The stall by another load passes, so it is no reason for one more copy. In the window, it
        // comes back.
        let passes = slot.loading > 0 && !slot.is_window;
        let loss = if passes { Seconds::ZERO } else { plan.answer.ranking.loss() };
        let key = lookup.adapter;
        let predicted = Some(best.first_token_in);
        let mut in_flight =
            self.book(now, *endpoint, best.cached, prompt, plan.work, predicted).ok_or(gone)?;
        (in_flight.suspect, in_flight.charge) = (suspect, charge);
        if let Some((leg, prompt)) = plan.prefill.as_deref().zip(for_prefill) {
            in_flight.hit = leg.1.cached.tokens;
            self.reserve_leg(now, &mut in_flight, Stage::Prefill, leg, prompt);
        }
        if let Some(leg) = &plan.encode {
            self.reserve_leg(now, &mut in_flight, Stage::Encode, leg, PlacedPrompt::none());
        }
        for (stage, alternatives) in Stage::ALL.into_iter().zip(&plan.leg_alternatives) {
            if let Some(leg) = in_flight.legs.get_mut(stage) {
                leg.alternatives.clone_from(alternatives);
            }
        }
        let computed_hit = in_flight.hit;
        if let Some(key) = key {
            self.fleet.adapters.observe(key, now, loss, in_flight.reservation.loads());
        }
        self.requests.insert(id, in_flight);
        if let Some(cycle) = self.workspace.cycle.as_mut().filter(|_| chosen.is_some()) {
            cycle.dispatched(&self.fleet, *endpoint);
        }
        self.fleet.reuse.observe(best_hit, tokens);
        self.counters.dispatch(tokens, computed_hit);
        if self.fleet.config.disaggregation.is_some() {
            self.counters.stages(StageSplit::of(plan.encode.is_some(), plan.prefill.is_some()));
        }
        let leg = |(endpoint_id, leg): &(EndpointId, Assessment)| Leg {
            endpoint_id: *endpoint_id,
            cached_tokens: leg.cached.tokens,
            cost: leg.cost,
            done_in: leg.first_token_in,
        };
        Ok(Dispatch {
            request_id: id,
            endpoint_id: *endpoint,
            alternatives: alternatives.collect(),
            prompt_tokens: tokens,
            cached_tokens: best.cached.tokens,
            best_cached_tokens: best_hit,
            cost: best.cost,
            score: chosen.as_ref().map(|choice| choice.score),
            first_token_in: best.first_token_in,
            predicted_ttft: latency.ttft,
            predicted_tpot: latency.tpot,
            queue_time: Duration::ZERO,
            streams,
            prefill: plan.prefill.as_deref().map(leg),
            encode: plan.encode.as_deref().map(leg),
        })
    }

    /// Reserves the endpoint of a stage before the answer.
    fn reserve_leg(
        &mut self,
        now: Instant,
        request: &mut InFlight,
        stage: Stage,
        (endpoint, planned): &(EndpointId, Assessment),
        mut prompt: PlacedPrompt,
    ) {
        prompt.reports_end = true;
        let work = if stage == Stage::Encode { Work::Encode } else { Work::Prompt };
        let predicted = Some(planned.first_token_in);
        if let Some(mut leg) = self.book(now, *endpoint, planned.cached, prompt, work, predicted) {
            leg.suspect = request.suspect;
            request.legs.set(stage, leg);
        }
    }

    /// Books a prompt on an endpoint that has `cached` of it in its cache. `predicted` is the time
    /// to the first token, if a placement predicts it.
    pub(super) fn book(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        cached: CachedPrefix,
        mut prompt: PlacedPrompt,
        stage: Work,
        predicted: Option<Seconds>,
    ) -> Option<Box<InFlight>> {
        let slot = self.fleet.pool.get(endpoint).ok()?;
        let (tokens, hit) = (prompt.tokens, cached.tokens);
        let computes_prompt = matches!(stage, Work::Prompt);
        let key = prompt.adapter.as_ref().map(|(key, _)| *key);
        let fleet = &self.fleet;
        let traits = key.map(|key| fleet.adapter_catalog.traits(key)).unwrap_or_default();
        let described = if computes_prompt {
            described_work(slot, tokens.saturating_sub(hit), cached) * traits.slowdown
        } else {
            Seconds::ZERO
        };
        let load = key
            .filter(|key| !slot.adapters.is_resident(*key))
            .map(|key| fleet.adapter_load(slot, key, fleet.adapters.outlook(key)));
        // The engine stands still while it loads, as it does for others during a prefill.
        let work = (described * slot.speed.factor() + load.unwrap_or_default()).to_duration();
        let adapter = prompt.adapter.as_ref().map(|(key, name)| (*key, &**name));
        let uncached_tokens = if computes_prompt { tokens.saturating_sub(hit) } else { 0 };
        let answer_weight = AnswerWeight::of(self.fleet.answers.weight(prompt.model));
        let adapter_slots = traits.slots;
        let reports_end = prompt.reports_end;
        let claim = Claim {
            work,
            tokens,
            uncached_tokens,
            adapter,
            adapter_slots,
            answer_weight,
            reports_end,
        };
        let predicted = predicted.unwrap_or_else(|| slot.in_flight.wait(now) + Seconds::from(work));
        let (output, backoff_periods) =
            (self.fleet.mean_output.get(), self.fleet.backoff_periods());
        let reservation =
            self.fleet.pool.reserve(now, endpoint, claim, output, backoff_periods).ok()?;
        if computes_prompt {
            self.fleet.mean_work.observe(described.get());
            self.fleet.arrivals.observe(now, described.get());
        }
        let block_tokens = prompt.span.block_tokens();
        let used = BlockUse { stamp: reservation.order(), block_tokens, now, computed: false };
        let evidence = self.use_blocks(endpoint.slot, &prompt.chain, used, cached);
        if let Some(shared) = &mut self.shared {
            let blocks = prompt.chain.clone();
            shared.note_prefix(SharedPrefix { endpoint_id: endpoint, blocks, block_tokens });
        }
        if self.requests.blocks().saturating_add(prompt.chain.len())
            > self.fleet.config.max_in_flight_blocks
        {
            prompt.chain = Vec::new();
        }
        let (started, charge, session) = (None, None, None);
        let suspect = None;
        Some(Box::new(InFlight {
            reservation,
            dispatched: now,
            started,
            running: 0.0,
            hit,
            predicted,
            suspect,
            evidence,
            prompt,
            charge,
            session,
            prefilled_elsewhere: matches!(stage, Work::Answer { .. }),
            legs: Legs::default(),
            alternatives: Vec::new(),
        }))
    }

    /// Records the use of a prompt's blocks, of which the endpoint has `cached`. Returns when those
    /// were last used. Blocks of requests in flight are no evidence of evictions.
    fn use_blocks(
        &mut self,
        slot: u32,
        chain: &[BlockHash],
        used: BlockUse,
        cached: CachedPrefix,
    ) -> Option<Evidence> {
        let prefixes = &mut self.fleet.prefixes;
        let Some(last) = (cached.blocks as usize).checked_sub(1) else {
            prefixes.record_use(slot, chain, used);
            return None;
        };
        let LastUses { first, last } = prefixes.record_expected_use(slot, chain, used, last)?;
        let last_block = last?;
        Some(Evidence { first_block: first.unwrap_or(last_block), last_block })
    }
}

/// The prompt in the lookup, for an endpoint; `blocks` copies or takes the blocks.
fn placed_prompt(
    lookup: &mut Lookup,
    slot: &Slot,
    adapter: Option<&str>,
    blocks: impl FnOnce(&mut Lookup) -> (Vec<BlockHash>, Span),
) -> PlacedPrompt {
    let (mut chain, span) = blocks(lookup);
    if lookup.cache_use == CacheUse::Unread {
        chain = Vec::new();
    }
    let layout = Some(slot.layout).filter(|_| lookup.form != Form::Blocks);
    let text = match lookup.form {
        Form::Text { bytes } => Some(TextPrompt { flow: lookup.flow, bytes }),
        Form::Tokens | Form::Blocks => None,
    };
    let adapter = lookup.adapter.zip(adapter).map(|(key, name)| (key, name.into()));
    let Lookup { model, tokens, cache_use, streams: reports_end, .. } = *lookup;
    PlacedPrompt { chain, span, model, tokens, cache_use, reports_end, layout, text, adapter }
}
