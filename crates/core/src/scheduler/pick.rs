//! Where a request goes, and what is reserved for it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::decision::{Dispatch, RejectReason, Rejected};
use super::explain::Exclusion;
use super::ranking::{Key, Ranking, Refusal};
use super::reading::{Found, Reading, Span};
use super::{Evidence, InFlight, Scheduler};
use crate::endpoint::EndpointId;
use crate::pool::{Claim, Slot};
use crate::prefix::{BlockHash, Use};
use crate::profile::{Facts, Terms};
use crate::request::{Prompt, Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Chooses the endpoint that costs this request the least, and reserves it there: when the call returns, the
    /// endpoint's account already includes the request. There is no queue: it goes now, or it is rejected.
    ///
    /// Ties go to the endpoint with fewer requests in flight, then by rendezvous hash of the session or prompt, so that
    /// equal prompts meet again. Computes in **O(prompt + endpoints)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why, and when another try may be worth it. Nothing has changed then.
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
        let now = self.advance(now);
        let mut reading = core::mem::take(&mut self.scratch);
        self.read(request, &mut reading);
        let mut ranking = Ranking::new(self.config.alternatives.saturating_add(1));
        let chosen = self.weigh(now, request, &reading, &mut ranking, |_, _| {});
        let answer = match chosen {
            Ok(()) => self.dispatch(now, request, &mut reading, &ranking),
            Err(rejected) => Err(rejected),
        };
        self.scratch = reading;
        answer.inspect_err(|rejected| self.counters.reject(rejected.reason))
    }

    /// Weighs all endpoints and ranks those that can have the request. `each` sees every endpoint with its assessment.
    pub(super) fn weigh(
        &self,
        now: Instant,
        request: &Request<'_>,
        reading: &Reading,
        ranking: &mut Ranking,
        mut each: impl FnMut(&Slot, &Assessment),
    ) -> Result<(), Rejected> {
        let mut refusal = Refusal::default();
        for slot in self.pool.iter() {
            let assessment = self.assess(now, request, reading, slot);
            each(slot, &assessment);
            match assessment.excluded {
                None => ranking.offer(slot.id, assessment),
                Some(why) => refusal.note(why, self.until_change(why, slot, assessment.wait)),
            }
        }
        let Some(((_, best), _)) = ranking.split() else { return Err(refusal.into_rejected()) };
        let shed_above = Seconds::from(self.config.shed_above);
        if request.priority.is_sheddable() && best.wait > shed_above {
            let after = Some((best.wait - shed_above).to_duration());
            return Err(Rejected { reason: RejectReason::Shed, retry_after: after });
        }
        if self.requests.len() >= self.config.max_in_flight {
            return Err(Rejected { reason: RejectReason::Saturated, retry_after: None });
        }
        Ok(())
    }

    /// What one endpoint costs the request, or why it cannot have it.
    fn assess(&self, now: Instant, request: &Request<'_>, reading: &Reading, slot: &Slot) -> Assessment {
        let foreign = slot.reports.estimate(now, self.pool.reports(), self.config.report_lifetime);
        let found = reading.found(slot);
        let (hit, miss) = (found.tokens, reading.tokens.saturating_sub(found.tokens));
        let facts = Facts {
            wait: slot.wait(now, foreign, self.mean_work.get()),
            work: slot.prefill.work(miss, hit) * slot.speed.factor(),
            recompute: slot.prefill.per_token_of(reading.tokens) * f64::from(miss),
            reuse: self.reuse.probability(),
            miss: f64::from(miss),
            tokens: f64::from(reading.tokens),
            warm: self.prefixes.warm_tokens(slot.id.slot, now) as f64,
            kv_tokens: slot.book.kv_tokens() as f64 + foreign.kv_tokens,
            capacity: f64::from(slot.kv_capacity),
            running: f64::from(slot.book.running()) + foreign.running,
            adapter: reading.adapter.map_or(Seconds::ZERO, |key| {
                let residence = Seconds::new(self.mean_residence.get());
                slot.adapters.cost(key, now, slot.adapter_load, residence)
            }),
        };
        let terms = self.config.weights.terms(&facts);
        Assessment {
            found,
            terms,
            wait: facts.wait,
            work: facts.work,
            key: Key {
                cost: terms.total().to_nanos(),
                in_flight: slot.book.in_flight(),
                rendezvous: self.hasher.mix(reading.identity, slot.key),
            },
            excluded: self.exclusion(now, request, reading, slot, &facts),
        }
    }

    fn exclusion(
        &self,
        now: Instant,
        request: &Request<'_>,
        reading: &Reading,
        slot: &Slot,
        facts: &Facts,
    ) -> Option<Exclusion> {
        let needed = f64::from(reading.tokens) + f64::from(request.expected_output);
        let full = slot.endpoint.max_in_flight.is_some_and(|most| slot.book.in_flight() >= most.get());
        let late = |deadline| now + (facts.wait + facts.work).to_duration() > deadline;
        if !slot.endpoint.suits(request.model, request.role, request.labels) {
            Some(Exclusion::NotServed)
        } else if slot.draining {
            Some(Exclusion::Draining)
        } else if needed > self.config.kv_limit * facts.capacity {
            Some(Exclusion::TooLarge)
        } else if full {
            Some(Exclusion::Full)
        } else if request.deadline.is_some_and(late) {
            Some(Exclusion::TooLate)
        } else {
            None
        }
    }

    /// How long until an excluded endpoint may look different, if waiting helps: its backlog, or its next completion.
    fn until_change(&self, why: Exclusion, slot: &Slot, wait: Seconds) -> Option<Seconds> {
        match why {
            Exclusion::NotServed | Exclusion::Draining | Exclusion::TooLarge => None,
            _ if wait > Seconds::ZERO => Some(wait),
            // Nothing is before the request: its own prefill takes too long.
            Exclusion::TooLate => None,
            Exclusion::Full => {
                Some(Seconds::new(self.mean_residence.get() / f64::from(slot.book.in_flight().max(1))))
            }
        }
    }

    /// Reserves the best endpoint, and notes what the request will leave in its cache.
    fn dispatch(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        reading: &mut Reading,
        ranking: &Ranking,
    ) -> Result<Dispatch, Rejected> {
        let gone = Rejected { reason: RejectReason::NoEndpoints, retry_after: None };
        let ((endpoint, best), alternatives) = ranking.split().ok_or(gone)?;
        let (chain, span) = self.pool.get(*endpoint).map(|slot| reading.take(slot)).map_err(|_| gone)?;
        let text = match request.prompt {
            Prompt::Text(text) => Some((reading.model, text.len() as u64)),
            _ => None,
        };
        let adapter = reading.adapter.zip(request.adapter).map(|(key, name)| (key, name.into()));
        let prompt = Placed { chain, span, text, adapter };
        let in_flight = self.place(now, *endpoint, best.found, prompt).ok_or(gone)?;

        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(id.0, in_flight);
        self.reuse.observe(reading.best_hit, reading.tokens);
        self.counters.dispatch(reading.tokens, best.found.tokens);
        Ok(Dispatch {
            request: id,
            endpoint: *endpoint,
            alternatives: alternatives.collect(),
            prompt_tokens: reading.tokens,
            cached_tokens: best.found.tokens,
            best_cached_tokens: reading.best_hit,
            cost: best.terms.total(),
            queued: Duration::ZERO,
        })
    }

    /// Books a prompt on an endpoint that has `found` of it in its cache.
    pub(super) fn place(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        found: Found,
        prompt: Placed,
    ) -> Option<InFlight> {
        let slot = self.pool.get(endpoint).ok()?;
        let (tokens, hit) = (prompt.span.tokens(), found.tokens);
        let described = slot.prefill.work(tokens.saturating_sub(hit), hit);
        let work = (described * slot.speed.factor()).to_duration();
        let evidence = self.evidence(slot, &prompt.chain, found);
        let adapter = prompt.adapter.as_ref().map(|(key, name)| (*key, &**name));
        let claim = Claim { work, tokens, adapter };
        let reservation = self.pool.reserve(now, endpoint, claim, self.mean_output.get()).ok()?;
        self.mean_work.observe(described.get());
        let used = Use { stamp: reservation.order(), block_tokens: prompt.span.block_tokens(), now };
        self.prefixes.assume(endpoint.slot, &prompt.chain, used);
        Some(InFlight { reservation, dispatched: now, hit, evidence, prompt })
    }

    /// When the blocks that are expected in the cache were last used, if they are certain to be there: what a request
    /// that is still pending will bring says nothing about evictions.
    fn evidence(&self, slot: &Slot, chain: &[BlockHash], found: Found) -> Option<Evidence> {
        let last = (found.blocks as usize).checked_sub(1)?;
        let used = |at: usize| self.prefixes.last_use(slot.id.slot, *chain.get(at)?);
        let (first_block, last_block) = (used(0)?, used(last)?);
        let computed = |stamp: u64| slot.book.first_pending().is_none_or(|pending| stamp < pending);
        let first_block = if computed(first_block) { first_block } else { last_block };
        computed(last_block).then_some(Evidence { first_block, last_block })
    }
}

/// A prompt on its way to an endpoint.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its full blocks.
    pub(super) chain: Vec<BlockHash>,
    /// How long it is.
    pub(super) span: Span,
    /// The model's key and the length in bytes, if it came as text.
    pub(super) text: Option<(u64, u64)>,
    /// Its adapter's key and name.
    pub(super) adapter: Option<(u64, Box<str>)>,
}

/// What one endpoint is worth to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assessment {
    pub(super) found: Found,
    pub(super) terms: Terms,
    pub(super) wait: Seconds,
    pub(super) work: Seconds,
    pub(super) key: Key,
    pub(super) excluded: Option<Exclusion>,
}
