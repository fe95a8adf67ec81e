//! Carries out a decision: reserves the endpoint, and records the blocks that the request leaves in
//! its cache.

use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use super::in_flight::{Evidence, InFlight, PlacedPrompt, TextPrompt};
use crate::decision::{Dispatch, Rejected};
use crate::endpoint::EndpointId;
use crate::placement::{CachedPrefix, Form, Ranking, described_work};
use crate::pool::{Claim, Slot};
use crate::prefix::{BlockHash, BlockUse};
use crate::request::{CacheUse, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Reserves the best endpoint of the ranking for the prompt in the workspace.
    pub(super) fn dispatch(
        &mut self,
        now: Instant,
        id: RequestId,
        adapter: Option<&str>,
        suspect: Option<u64>,
        ranking: &Ranking,
    ) -> Result<Dispatch, Rejected> {
        let (gone, lookup) = (Rejected::NO_ENDPOINTS, &mut self.workspace.lookup);
        let ((endpoint, best), alternatives) = ranking.split().ok_or(gone)?;
        let (mut chain, span) =
            self.fleet.pool.get(*endpoint).map(|slot| lookup.take(slot)).map_err(|_| gone)?;
        if lookup.cache_use == CacheUse::Unread {
            chain = Vec::new();
        }
        let layout = self.fleet.pool.get(*endpoint).ok().map(|slot| slot.layout);
        let layout = layout.filter(|_| lookup.form != Form::Blocks);
        let text = match lookup.form {
            Form::Text { flow, bytes } => Some(TextPrompt { model: lookup.model, flow, bytes }),
            Form::Tokens | Form::Blocks => None,
        };
        let adapter = lookup.adapter.zip(adapter).map(|(key, name)| (key, name.into()));
        let (tokens, cache_use, best_hit) = (lookup.tokens, lookup.cache_use, lookup.best_hit);
        let prompt = PlacedPrompt { chain, span, tokens, cache_use, layout, text, adapter };
        let mut in_flight = self.book(now, *endpoint, best.cached, prompt).ok_or(gone)?;
        (in_flight.predicted, in_flight.suspect) = (best.first_token_in, suspect);

        self.requests.insert(id, in_flight);
        self.fleet.reuse.observe(best_hit, tokens);
        self.counters.dispatch(tokens, best.cached.tokens);
        Ok(Dispatch {
            request_id: id,
            endpoint_id: *endpoint,
            alternatives: alternatives.collect(),
            prompt_tokens: tokens,
            cached_tokens: best.cached.tokens,
            best_cached_tokens: best_hit,
            cost: best.cost,
            first_token_in: best.first_token_in,
            queue_time: Duration::ZERO,
        })
    }

    /// Books a prompt on an endpoint that has `cached` of it in its cache.
    pub(super) fn book(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        cached: CachedPrefix,
        mut prompt: PlacedPrompt,
    ) -> Option<InFlight> {
        let slot = self.fleet.pool.get(endpoint).ok()?;
        let (tokens, hit) = (prompt.tokens, cached.tokens);
        let described = described_work(slot, tokens.saturating_sub(hit), cached);
        let work = (described * slot.speed.factor()).to_duration();
        let evidence = self.evidence(slot, &prompt.chain, cached);
        let adapter = prompt.adapter.as_ref().map(|(key, name)| (*key, &**name));
        let claim = Claim { work, tokens, adapter };
        let predicted = slot.in_flight.wait(now) + Seconds::from(work);
        let (output, backoff_periods) =
            (self.fleet.mean_output.get(), self.fleet.backoff_periods());
        let reservation =
            self.fleet.pool.reserve(now, endpoint, claim, output, backoff_periods).ok()?;
        self.fleet.mean_work.observe(described.get());
        let block_tokens = prompt.span.block_tokens();
        let used = BlockUse { stamp: reservation.order(), block_tokens, now, computed: false };
        self.fleet.prefixes.record_use(endpoint.slot, &prompt.chain, used);
        if self.requests.blocks().saturating_add(prompt.chain.len())
            > self.fleet.config.max_in_flight_blocks
        {
            prompt.chain = Vec::new();
        }
        let (started, charge, session) = (None, None, None);
        let suspect = None;
        Some(InFlight {
            reservation,
            dispatched: now,
            started,
            hit,
            predicted,
            suspect,
            evidence,
            prompt,
            charge,
            session,
        })
    }

    /// When the expected blocks were last used. Blocks of requests in flight are no evidence of
    /// evictions.
    fn evidence(&self, slot: &Slot, chain: &[BlockHash], cached: CachedPrefix) -> Option<Evidence> {
        let last = (cached.blocks as usize).checked_sub(1)?;
        let used = |at: usize| self.fleet.prefixes.last_use(slot.id.slot, chain, at);
        let last_block = used(last)?;
        Some(Evidence { first_block: used(0).unwrap_or(last_block), last_block })
    }
}
