//! Where a request goes, and what is reserved for it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::explain::Exclusion;
use super::glance::{Frontier, Glance};
use super::ranking::{Key, Lift, Ranking, Refusal};
use super::reading::{Form, Found, Reading, Span};
use super::rendezvous::Lots;
use super::{Evidence, InFlight, Scheduler};
use crate::decision::{Dispatch, RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::pool::{BlockLayout, Claim, HealthState, Slot};
use crate::prefix::{BlockHash, Use};
use crate::profile::{Facts, Terms};
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
        self.choose(now, request, |this, asked, frontier, ranking| {
            this.weigh_promising(asked, frontier, ranking)
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
        self.choose(now, request, |this, asked, _, ranking| this.weigh_all(asked, ranking, &cost, |_, _| {}))
    }

    fn choose(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        weigh: impl Fn(&Self, Asked<'_>, &mut Frontier, &mut Ranking) -> Refusal,
    ) -> Result<Dispatch, Rejected> {
        let now = self.advance(now);
        let mut scratch = core::mem::take(&mut self.scratch);
        self.read(request, &mut scratch.reading);
        let mut asked = Asked { now, request, reading: &scratch.reading, starts: false, lift: Lift::Nothing };
        let mut ranking = Ranking::new(self.fleet.config.alternatives.saturating_add(1));
        let mut refusal = weigh(self, asked, &mut scratch.frontier, &mut ranking);
        while ranking.is_empty() {
            let Some(lift) = refusal.next_lift(asked.lift) else { break };
            asked.lift = lift;
            refusal = weigh(self, asked, &mut scratch.frontier, &mut ranking);
        }
        let answer = match self.admit(request, &ranking, refusal) {
            Ok(()) => {
                let id = RequestId(self.next_request);
                let suspect = self.fleet.suspect(request);
                let dispatch =
                    self.dispatch(now, id, request.adapter, suspect, &mut scratch.reading, &ranking);
                self.next_request += u64::from(dispatch.is_ok());
                if dispatch.is_ok() {
                    self.counters.queue_time.observe(Duration::ZERO);
                }
                dispatch
            }
            Err(rejected) => Err(rejected),
        };
        let own = self.own_work(&scratch.reading);
        self.scratch = scratch;
        answer.map_err(|rejected| {
            self.counters.reject(rejected.reason);
            self.spread(now, request.priority, own, rejected)
        })
    }

    /// Weighs endpoints as long as they may be among the best, and ranks those that can have the request. If none can, all say
    /// why.
    pub(super) fn weigh_promising(
        &self,
        asked: Asked<'_>,
        frontier: &mut Frontier,
        ranking: &mut Ranking,
    ) -> Refusal {
        if asked.lift == Lift::Nothing {
            self.search(asked, frontier, ranking, |_| true);
        }
        if ranking.is_empty() {
            self.weigh_all(asked, ranking, &|_, terms| terms.total(), |_, _| {})
        } else {
            Refusal::default()
        }
    }

    /// The same among some of the endpoints, of which perhaps none can have it.
    pub(super) fn search(
        &self,
        asked: Asked<'_>,
        frontier: &mut Frontier,
        ranking: &mut Ranking,
        among: impl Fn(&Slot) -> bool,
    ) {
        let look = |slot: &Slot, found| {
            if among(slot) {
                let assessment = self.assess(asked, slot, found, &|_, terms| terms.total());
                if assessment.excluded.is_none() {
                    ranking.offer(slot.id, assessment);
                }
            }
            ranking.bar()
        };
        Glance::new(self, asked.reading, look).search(frontier);
    }

    /// Weighs all endpoints and ranks those that can have the request. `each` sees every one.
    pub(super) fn weigh_all(
        &self,
        asked: Asked<'_>,
        ranking: &mut Ranking,
        cost: &impl Fn(EndpointId, &Terms) -> Seconds,
        mut each: impl FnMut(&Slot, &Assessment),
    ) -> Refusal {
        let mut refusal = Refusal::default();
        for slot in self.fleet.pool.iter() {
            let assessment = self.assess(asked, slot, asked.reading.found(slot), cost);
            each(slot, &assessment);
            match assessment.excluded {
                None => ranking.offer(slot.id, assessment),
                Some(why) => refusal.note(why, self.until_change(asked, why, slot, &assessment)),
            }
        }
        refusal
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

    /// What one endpoint costs the request that has `found` so much of it, or why it cannot have it.
    fn assess(
        &self,
        asked: Asked<'_>,
        slot: &Slot,
        found: Found,
        cost: &impl Fn(EndpointId, &Terms) -> Seconds,
    ) -> Assessment {
        let Asked { now, reading, .. } = asked;
        let lifetime = self.fleet.config.report_lifetime;
        let external = slot.reports.estimate(now, self.fleet.pool.reports(), slot.kv_capacity, lifetime);
        let found = reading.located(slot, found, &self.fleet.prefixes, &self.fleet.config.tiers);
        let miss = reading.tokens.saturating_sub(found.tokens);
        let (load, residence) = (slot.adapter_load, Seconds::new(self.fleet.mean_residence.get()));
        let adapter = reading.adapter.map(|key| {
            let delay = slot.adapters.delay(key, now, load, residence);
            (delay, slot.adapters.displacement(key, now, load))
        });
        let (adapter_delay, displacement) = adapter.unwrap_or_default();
        let wait = slot.wait(now, external, self.fleet.mean_work.get());
        let facts = Facts {
            // A price, and no more: an engine that notices that its client has left has nothing to do for it.
            wait: wait + Seconds::from(slot.in_flight.residue(now)),
            room: slot.wait_for_room(external, reading.tokens, self.fleet.config.kv_limit),
            work: work(slot, miss, found) * slot.speed.factor(),
            recompute: slot.prefill.per_token_of(reading.tokens) * f64::from(miss),
            reuse: self.fleet.reuse.probability(),
            miss: f64::from(miss),
            tokens: f64::from(reading.tokens),
            warm: self.fleet.prefixes.warm_tokens(slot.id.slot, now) as f64,
            kv_tokens: slot.in_flight.kv_tokens() as f64 + external.kv_tokens,
            capacity: f64::from(slot.kv_capacity),
            running: f64::from(slot.in_flight.running()) + external.running,
            adapter: adapter_delay + displacement,
            held_off: slot.health.held_off(now),
        };
        let first_token_in = wait + facts.room + facts.work + adapter_delay;
        let terms = self.fleet.config.weights.terms(&facts);
        let cost = cost(slot.id, &terms);
        Assessment {
            found,
            terms,
            cost,
            wait: wait + facts.room,
            first_token_in,
            key: Key {
                cost: cost.to_nanos(),
                in_flight: slot.in_flight.requests(),
                rendezvous: self.lots(reading).of(slot.id.slot, slot.key),
                slot: slot.id.slot,
            },
            excluded: self.exclusion(asked, slot, first_token_in),
        }
    }

    /// Who wins a tie for the prompt.
    pub(super) fn lots(&self, reading: &Reading) -> Lots<'_> {
        Lots::new(&self.fleet.hasher, reading.identity, self.fleet.pool.bounds().len())
    }

    fn exclusion(&self, asked: Asked<'_>, slot: &Slot, first_token_in: Seconds) -> Option<Exclusion> {
        let Asked { now, request, reading, starts, lift } = asked;
        let needed = f64::from(reading.longest);
        let room = self.fleet.config.kv_limit * f64::from(slot.kv_capacity);
        let late = |deadline| now + first_token_in.to_duration() > deadline;
        let leaves = slot.draining || request.exclude.contains(&slot.id);
        if reading.home.is_some_and(|home| home != slot.id || leaves) {
            Some(Exclusion::Elsewhere)
        } else if !slot.endpoint.suits(request.model, request.role, request.labels) {
            Some(Exclusion::NotServed)
        } else if request.exclude.contains(&slot.id) {
            Some(Exclusion::Excluded)
        } else if slot.draining {
            Some(Exclusion::Draining)
        } else if slot.reports.asleep() {
            Some(Exclusion::Sleeping)
        } else if needed > room {
            Some(Exclusion::TooLarge)
        } else if starts && !self.may_start(slot, reading.tokens) {
            Some(Exclusion::NoSession)
        } else if slot.is_full() {
            Some(Exclusion::Full)
        } else if request.deadline.is_some_and(late) {
            Some(Exclusion::TooLate)
        } else {
            let held = slot.health.excludes(now, slot.in_flight.requests(), self.fleet.pool.dispatches())?;
            let (why, lifted) = match held {
                HealthState::Ramping => (Exclusion::Ramping, Lift::Ramping),
                _ => (Exclusion::BackedOff, Lift::BackedOff),
            };
            (lift < lifted).then_some(why)
        }
    }

    /// How long until an excluded endpoint could have a request like this one, if waiting helps.
    fn until_change(
        &self,
        asked: Asked<'_>,
        why: Exclusion,
        slot: &Slot,
        assessment: &Assessment,
    ) -> Option<Seconds> {
        match why {
            Exclusion::Elsewhere
            | Exclusion::NotServed
            | Exclusion::Excluded
            | Exclusion::Draining
            | Exclusion::Sleeping
            | Exclusion::TooLarge
            | Exclusion::NoSession => None,
            Exclusion::BackedOff | Exclusion::Ramping => Some(slot.health.held_off(asked.now)),
            // Its next completion.
            Exclusion::Full => Some(Seconds::new(
                self.fleet.mean_residence.get() / f64::from(slot.in_flight.requests().max(1)),
            )),
            // As long as the first token would be late, unless its own prefill is what takes too long.
            Exclusion::TooLate => {
                let slack = Seconds::from(asked.request.deadline?.saturating_since(asked.now));
                let late = assessment.first_token_in - slack;
                (late <= assessment.wait).then_some(late)
            }
        }
    }

    /// Reserves the best endpoint, and notes what the request will leave in its cache.
    pub(super) fn dispatch(
        &mut self,
        now: Instant,
        id: RequestId,
        adapter: Option<&str>,
        suspect: Option<u64>,
        reading: &mut Reading,
        ranking: &Ranking,
    ) -> Result<Dispatch, Rejected> {
        let gone = Rejected::NO_ENDPOINTS;
        let ((endpoint, best), alternatives) = ranking.split().ok_or(gone)?;
        let (mut chain, span) =
            self.fleet.pool.get(*endpoint).map(|slot| reading.take(slot)).map_err(|_| gone)?;
        if reading.cache_use == CacheUse::Unread {
            chain = Vec::new();
        }
        let layout = self.fleet.pool.get(*endpoint).ok().map(|slot| slot.layout);
        let layout = layout.filter(|_| reading.form != Form::Blocks);
        let text = match reading.form {
            Form::Text { flow, bytes } => Some(TextPrompt { model: reading.model, flow, bytes }),
            Form::Tokens | Form::Blocks => None,
        };
        let adapter = reading.adapter.zip(adapter).map(|(key, name)| (key, name.into()));
        let (tokens, cache_use) = (reading.tokens, reading.cache_use);
        let prompt = Placed { chain, span, tokens, cache_use, layout, text, adapter };
        let mut in_flight = self.place(now, *endpoint, best.found, prompt).ok_or(gone)?;
        (in_flight.predicted, in_flight.suspect) = (best.first_token_in, suspect);

        self.track(id, in_flight);
        self.fleet.reuse.observe(reading.best_hit, reading.tokens);
        self.counters.dispatch(reading.tokens, best.found.tokens);
        Ok(Dispatch {
            request: id,
            endpoint: *endpoint,
            alternatives: alternatives.collect(),
            prompt_tokens: reading.tokens,
            cached_tokens: best.found.tokens,
            best_cached_tokens: reading.best_hit,
            cost: best.cost,
            first_token_in: best.first_token_in,
            queued: Duration::ZERO,
        })
    }

    /// Books a prompt on an endpoint that has `found` of it in its cache.
    pub(super) fn place(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        found: Found,
        mut prompt: Placed,
    ) -> Option<InFlight> {
        let slot = self.fleet.pool.get(endpoint).ok()?;
        let (tokens, hit) = (prompt.tokens, found.tokens);
        let described = work(slot, tokens.saturating_sub(hit), found);
        let work = (described * slot.speed.factor()).to_duration();
        let evidence = self.evidence(slot, &prompt.chain, found);
        let adapter = prompt.adapter.as_ref().map(|(key, name)| (*key, &**name));
        let claim = Claim { work, tokens, adapter };
        let predicted = slot.in_flight.wait(now) + Seconds::from(work);
        let (output, backoff_periods) = (self.fleet.mean_output.get(), self.fleet.backoff_periods());
        let reservation = self.fleet.pool.reserve(now, endpoint, claim, output, backoff_periods).ok()?;
        self.fleet.mean_work.observe(described.get());
        let block_tokens = prompt.span.block_tokens();
        let used = Use { stamp: reservation.order(), block_tokens, now, computed: false };
        self.fleet.prefixes.assume(endpoint.slot, &prompt.chain, used);
        if self.blocks_in_flight.saturating_add(prompt.chain.len()) > self.fleet.config.max_in_flight_blocks {
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
    fn evidence(&self, slot: &Slot, chain: &[BlockHash], found: Found) -> Option<Evidence> {
        let last = (found.blocks as usize).checked_sub(1)?;
        let used = |at: usize| self.fleet.prefixes.last_use(slot.id.slot, chain, at);
        let last_block = used(last)?;
        Some(Evidence { first_block: used(0).unwrap_or(last_block), last_block })
    }

    /// Remembers a request until its end.
    pub(super) fn track(&mut self, id: RequestId, request: InFlight) {
        self.blocks_in_flight += request.prompt.chain.len();
        self.requests.insert(id.0, request);
    }

    /// No longer remembers a request.
    pub(super) fn untrack(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.requests.remove(&id.0)?;
        self.blocks_in_flight -= request.prompt.chain.len();
        Some(request)
    }
}

/// Seconds of described work to make a prompt ready: what misses is computed, what is in lower tiers is loaded.
fn work(slot: &Slot, miss: u32, found: Found) -> Seconds {
    slot.prefill.work(miss, found.tokens) + slot.prefill.per_token * found.reload
}

/// A request as it is weighed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) now: Instant,
    pub(super) request: &'a Request<'a>,
    pub(super) reading: &'a Reading,
    /// It begins a session, so the guard must agree.
    pub(super) starts: bool,
    /// Which endpoints are considered although they are held off.
    pub(super) lift: Lift,
}

/// A prompt on its way to an endpoint.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its full blocks.
    pub(super) chain: Vec<BlockHash>,
    /// How long it is.
    pub(super) span: Span,
    /// Tokens of all prompts, if it is the first of a batch.
    pub(super) tokens: u32,
    /// What the engine does with its cache for it.
    pub(super) cache_use: CacheUse,
    /// The endpoints' layout that the blocks are made for; none if they serve any.
    pub(super) layout: Option<BlockLayout>,
    /// Of a prompt that came as text.
    pub(super) text: Option<TextPrompt>,
    /// Its adapter's key and name.
    pub(super) adapter: Option<(u64, Box<str>)>,
}

/// What the token count of a text prompt teaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextPrompt {
    /// The model's key.
    pub(super) model: u64,
    /// The flow's key.
    pub(super) flow: u64,
    /// The length in bytes.
    pub(super) bytes: u64,
}

impl Placed {
    /// Whether its blocks mean anything on an endpoint with this layout.
    pub(super) fn is_for(&self, layout: BlockLayout) -> bool {
        self.layout.is_none_or(|own| own == layout)
    }
}

/// What one endpoint is worth to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assessment {
    pub(super) found: Found,
    pub(super) terms: Terms,
    /// What decides: their sum, or what the caller makes of them.
    pub(super) cost: Seconds,
    pub(super) wait: Seconds,
    pub(super) first_token_in: Seconds,
    pub(super) key: Key,
    pub(super) excluded: Option<Exclusion>,
}
