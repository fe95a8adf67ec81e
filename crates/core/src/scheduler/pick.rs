//! Where a request goes, and what is reserved for it.

use alloc::vec::Vec;
use core::time::Duration;

use super::Scheduler;
use super::in_flight::{Evidence, InFlight, PlacedPrompt, TextPrompt};
use crate::decision::{Dispatch, RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::placement::{
    self, CachedPrefix, Form, Lookup, Placement, Query, Ranking, Refusal, SearchFrontier, described_work,
};
use crate::pool::{Claim, Slot};
use crate::prefix::{BlockHash, Use};
use crate::profile::{CustomCost, Terms};
use crate::request::{CacheUse, Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Chooses the endpoint that costs this request the least, and reserves it there: when the call returns, the
    /// endpoint's account already includes the request. There is no queue: it goes now, or it is rejected.
    ///
    /// Ties go to the endpoint with fewer requests in flight, then by rendezvous hash of the session or prompt, so that
    /// equal prompts meet again.
    ///
    /// Computes in **O(prompt + levels × endpoints / 64)** and a look at the endpoints whose lower bounds are below the best cost,
    /// few as a rule. The prompt is hashed once for each block size in the pool, and twice where only some engines name their
    /// model. A level is a length of its prefix that some endpoints hold and others do not. A rejection computes in **O(endpoints)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why, and when another try may be worth it. Nothing has changed then but the count of rejections.
    ///
    /// # Example: a prompt goes where its prefix is
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Usage};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// for name in ["a", "b"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name))?;
    /// }
    /// let history = "You are a helpful assistant. ".repeat(100);
    /// let first = scheduler.pick(now, &Request::new("llama").text(&history))?;
    /// let next_turn = history + "And what about Rust?";
    /// let second = scheduler.pick(now, &Request::new("llama").text(&next_turn))?;
    /// assert_eq!(second.endpoint, first.endpoint);
    /// assert!(second.cached_tokens > 700);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick(&mut self, now: Instant, request: &Request<'_>) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier| {
            placement::place(fleet, query, &fleet.profile(), frontier)
        })
    }

    /// [`pick`](Self::pick) with a cost of the caller's own: what `cost` says of an endpoint takes the place of the sum of
    /// its terms. Everything else is the same: who is left out, how ties fall, what is reserved.
    ///
    /// An infinite cost is a last resort, a NaN is nothing, and so is what is below zero.
    ///
    /// # Errors
    ///
    /// As for `pick`.
    ///
    /// # Example: a zone that costs extra
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Seconds};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// let near = scheduler.add_endpoint(now, Endpoint::new("near"))?;
    /// let far = scheduler.add_endpoint(now, Endpoint::new("far"))?;
    /// let request = Request::new("llama").tokens(&[1; 100]);
    /// for _ in 0..3 {
    ///     let dispatch = scheduler.pick_by(now, &request, |endpoint, terms| {
    ///         terms.total() + if endpoint == far { Seconds::new(0.5) } else { Seconds::ZERO }
    ///     })?;
    ///     assert_eq!(dispatch.endpoint, near);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick_by(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        cost: impl Fn(EndpointId, &Terms) -> Seconds,
    ) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier| {
            let profile = CustomCost { prices: &fleet.config.weights, cost: &cost };
            placement::place(fleet, query, &profile, frontier)
        })
    }

    fn choose(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        place: impl Fn(&Fleet, Query<'_>, &mut SearchFrontier) -> Placement,
    ) -> Result<Dispatch, Rejected> {
        let now = self.advance(now);
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.lookup.read(&self.fleet, request, self.next_request);
        let query = Query::immediate(now, request, &scratch.lookup);
        let Placement { ranking, refusal, .. } = place(&self.fleet, query, &mut scratch.frontier);
        let answer = match self.admit(request, &ranking, refusal) {
            Ok(()) => {
                let id = RequestId(self.next_request);
                let suspect = self.fleet.suspect(request);
                let dispatch =
                    self.dispatch(now, id, request.adapter, suspect, &mut scratch.lookup, &ranking);
                self.next_request += u64::from(dispatch.is_ok());
                if dispatch.is_ok() {
                    self.counters.queue_time.observe(Duration::ZERO);
                }
                dispatch
            }
            Err(rejected) => Err(rejected),
        };
        let own = self.own_work(&scratch.lookup);
        self.scratch = scratch;
        answer.map_err(|rejected| {
            self.counters.reject(rejected.reason);
            self.spread(now, request.priority, own, rejected)
        })
    }

    /// Whether the best endpoint gets the request.
    pub(super) fn admit(
        &self,
        request: &Request<'_>,
        ranking: &Ranking,
        refusal: Refusal,
    ) -> Result<(), Rejected> {
        if request.has_long_name() {
            return Err(Rejected { reason: RejectReason::NameTooLong, retry_after: None });
        }
        let Some(((_, best), _)) = ranking.split() else { return Err(refusal.into_rejected()) };
        let shed_above = Seconds::from(self.fleet.config.shed_above);
        if request.priority.is_sheddable() && best.wait > shed_above {
            let after = Some((best.wait - shed_above).to_duration());
            return Err(Rejected { reason: RejectReason::Shed, retry_after: after });
        }
        if self.requests.len() >= self.fleet.config.max_in_flight {
            let after = Some(self.slots.interval(self.requests.len()).to_duration());
            return Err(Rejected { reason: RejectReason::Saturated, retry_after: after });
        }
        Ok(())
    }

    /// Reserves the best endpoint, and notes what the request will leave in its cache.
    pub(super) fn dispatch(
        &mut self,
        now: Instant,
        id: RequestId,
        adapter: Option<&str>,
        suspect: Option<u64>,
        lookup: &mut Lookup,
        ranking: &Ranking,
    ) -> Result<Dispatch, Rejected> {
        let gone = Rejected::NO_ENDPOINTS;
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
        let (tokens, cache_use) = (lookup.tokens, lookup.cache_use);
        let prompt = PlacedPrompt { chain, span, tokens, cache_use, layout, text, adapter };
        let mut in_flight = self.book(now, *endpoint, best.cached, prompt).ok_or(gone)?;
        (in_flight.predicted, in_flight.suspect) = (best.first_token_in, suspect);

        self.requests.insert(id, in_flight);
        self.fleet.reuse.observe(lookup.best_hit, lookup.tokens);
        self.counters.dispatch(lookup.tokens, best.cached.tokens);
        Ok(Dispatch {
            request: id,
            endpoint: *endpoint,
            alternatives: alternatives.collect(),
            prompt_tokens: lookup.tokens,
            cached_tokens: best.cached.tokens,
            best_cached_tokens: lookup.best_hit,
            cost: best.cost,
            first_token_in: best.first_token_in,
            queued: Duration::ZERO,
        })
    }

    /// Books a prompt on an endpoint that has `found` of it in its cache.
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
        let (output, backoff_periods) = (self.fleet.mean_output.get(), self.fleet.backoff_periods());
        let reservation = self.fleet.pool.reserve(now, endpoint, claim, output, backoff_periods).ok()?;
        self.fleet.mean_work.observe(described.get());
        let block_tokens = prompt.span.block_tokens();
        let used = Use { stamp: reservation.order(), block_tokens, now, computed: false };
        self.fleet.prefixes.assume(endpoint.slot, &prompt.chain, used);
        if self.requests.blocks().saturating_add(prompt.chain.len()) > self.fleet.config.max_in_flight_blocks
        {
            prompt.chain = Vec::new();
        }
        let (started, fare, session) = (None, None, None);
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
            fare,
            session,
        })
    }

    /// When the blocks that are expected in the cache were last used. What is still on its way says nothing about
    /// evictions.
    fn evidence(&self, slot: &Slot, chain: &[BlockHash], cached: CachedPrefix) -> Option<Evidence> {
        let last = (cached.blocks as usize).checked_sub(1)?;
        let used = |at: usize| self.fleet.prefixes.last_use(slot.id.slot, chain, at);
        let last_block = used(last)?;
        Some(Evidence { first_block: used(0).unwrap_or(last_block), last_block })
    }
}
