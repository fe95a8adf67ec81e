//! Where a request goes, and what is reserved for it.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use super::decision::{Dispatch, RejectReason, Rejected};
use super::explain::Exclusion;
use super::{Evidence, InFlight, Scheduler};
use crate::endpoint::EndpointId;
use crate::pool::{Claim, Slot};
use crate::prefix::{BlockHash, Namespace, Use};
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
        let decided = self.weigh(now, request, &reading, self.config.alternatives, |_, _| {});
        let answer = match decided {
            Ok(ranked) => Ok(self.dispatch(now, request, &mut reading, &ranked)),
            Err(rejected) => {
                self.counters.reject(rejected.reason);
                Err(rejected)
            }
        };
        self.scratch = reading;
        answer
    }

    /// Hashes the prompt for each block size in the pool, and looks up who holds how much of it.
    pub(super) fn read(&self, request: &Request<'_>, reading: &mut Reading) {
        let namespace = Namespace::new(request.model).adapter(request.adapter).salt(request.cache_salt);
        let limit = self.config.max_prompt_blocks;
        reading.model = self.hasher.name(request.model);
        reading.adapter = request.adapter.map(|name| self.hasher.name(name));
        let chains = &mut reading.chains;
        match request.prompt {
            Prompt::Text(text) => {
                reading.tokens = self.bytes_per_token.tokens(reading.model, text.len());
                chains.reset(self.pool.block_sizes(), |block_size, chain| {
                    let bytes = block_size.get() as usize * 4;
                    chain.block_tokens = self.bytes_per_token.tokens(reading.model, bytes).max(1);
                    self.hasher.text(namespace, text, block_size, limit, &mut chain.hashes);
                });
            }
            Prompt::Tokens(ids) => {
                reading.tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                chains.reset(self.pool.block_sizes(), |block_size, chain| {
                    chain.block_tokens = block_size.get();
                    self.hasher.tokens(namespace, ids, block_size, limit, &mut chain.hashes);
                });
            }
            Prompt::Blocks { hashes, block_size, tokens } => {
                reading.tokens = tokens;
                let full = (tokens / block_size) as usize;
                chains.reset([block_size].into_iter(), |block_size, chain| {
                    chain.block_tokens = block_size.get();
                    chain.hashes.extend_from_slice(&hashes[..hashes.len().min(limit).min(full)]);
                });
                chains.any_block_size = true;
            }
        }
        reading.best_hit = 0;
        for chain in chains.iter_mut() {
            chain.depths.resize(self.pool.slots(), 0);
            let (depths, mut deepest) = (&mut chain.depths, 0);
            self.prefixes.levels(&chain.hashes, |depth, endpoints| {
                deepest = deepest.max(depth);
                for slot in endpoints.iter() {
                    depths[slot as usize] = depths[slot as usize].max(depth);
                }
            });
            reading.best_hit = reading.best_hit.max(hit_tokens(deepest, chain.block_tokens, reading.tokens));
        }
        reading.identity = match (request.session, chains.iter_mut().next().and_then(|c| c.hashes.last())) {
            (Some(session), _) => self.hasher.name(session),
            (None, Some(last)) => last.0,
            // Nothing tells this prompt from another: its number does, so that such prompts spread.
            (None, None) => self.next_request,
        };
    }

    /// Weighs all endpoints and ranks the best `alternatives + 1`. `each` sees every endpoint with its assessment.
    pub(super) fn weigh(
        &self,
        now: Instant,
        request: &Request<'_>,
        reading: &Reading,
        alternatives: usize,
        mut each: impl FnMut(&Slot, &Assessment),
    ) -> Result<Ranked, Rejected> {
        let mut ranked = Ranked { best: Vec::with_capacity(alternatives.min(self.pool.len()) + 1) };
        let mut refusal: Option<(Exclusion, Option<Seconds>)> = None;
        for slot in self.pool.iter() {
            let assessment = self.assess(now, request, reading, slot);
            each(slot, &assessment);
            match assessment.excluded {
                None => ranked.offer(slot.id, assessment, alternatives + 1),
                Some(why) => {
                    let wait = matches!(why, Exclusion::Full | Exclusion::TooLate)
                        .then(|| self.until_change(slot, assessment.wait));
                    let shortest = match refusal {
                        Some((before, best)) if before == why => {
                            best.map_or(wait, |b| wait.map(|w| w.min(b)))
                        }
                        _ => wait,
                    };
                    if refusal.is_none_or(|(before, _)| why >= before) {
                        refusal = Some((why, shortest));
                    }
                }
            }
        }
        let Some((_, best)) = ranked.best.first() else {
            let (why, after) = refusal.unwrap_or((Exclusion::Draining, None));
            return Err(Rejected { reason: why.into(), retry_after: after.map(Seconds::to_duration) });
        };
        let shed_above = Seconds::from(self.config.shed_above);
        if request.priority.is_sheddable() && best.wait > shed_above {
            let after = Some((best.wait - shed_above).to_duration());
            return Err(Rejected { reason: RejectReason::Shed, retry_after: after });
        }
        if self.requests.len() >= self.config.max_in_flight {
            return Err(Rejected { reason: RejectReason::Saturated, retry_after: None });
        }
        Ok(ranked)
    }

    /// What one endpoint costs the request, or why it cannot have it.
    fn assess(&self, now: Instant, request: &Request<'_>, reading: &Reading, slot: &Slot) -> Assessment {
        let foreign = slot.reports.estimate(now, self.pool.reports(), self.config.report_lifetime);
        let hit = reading.hit(slot);
        let miss = reading.tokens - hit;
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
            hit,
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

    /// How long until an endpoint that is full or behind can look different: its backlog, or the next completion.
    fn until_change(&self, slot: &Slot, wait: Seconds) -> Seconds {
        let completion = self.mean_residence.get() / f64::from(slot.book.in_flight().max(1));
        if wait > Seconds::ZERO { wait } else { Seconds::new(completion) }
    }

    /// Reserves the best endpoint, and notes what the request will leave in its cache.
    fn dispatch(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        reading: &mut Reading,
        ranked: &Ranked,
    ) -> Dispatch {
        let (endpoint, best) = &ranked.best[0];
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.reuse.observe(reading.best_hit, reading.tokens);
        self.counters.dispatch(reading.tokens, best.hit);
        let text = match request.prompt {
            Prompt::Text(text) => Some((reading.model, text.len() as u64)),
            _ => None,
        };
        let (chain, block_tokens) =
            self.pool.get(*endpoint).map_or((Vec::new(), 1), |slot| reading.take(slot));
        let adapter = reading.adapter.zip(request.adapter).map(|(key, name)| (key, name.into()));
        let prompt = Placed {
            chain,
            block_tokens,
            text,
            tokens: reading.tokens,
            adapter,
            confirmable: text.is_none(),
        };
        if let Some(in_flight) = self.place(now, *endpoint, best.hit, prompt) {
            self.requests.insert(id.0, in_flight);
        }
        Dispatch {
            request: id,
            endpoint: *endpoint,
            alternatives: ranked.best[1..].iter().map(|(id, _)| *id).collect(),
            prompt_tokens: reading.tokens,
            cached_tokens: best.hit,
            best_cached_tokens: reading.best_hit.max(best.hit),
            cost: best.terms.total(),
            queued: Duration::ZERO,
        }
    }

    /// Books a prompt on an endpoint where `hit` of its tokens are expected in the cache.
    pub(super) fn place(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        hit: u32,
        prompt: Placed,
    ) -> Option<InFlight> {
        let slot = self.pool.get(endpoint).ok()?;
        let described = slot.prefill.work(prompt.tokens - hit, hit);
        let work = (described * slot.speed.factor()).to_duration();
        let first_pending = slot.book.first_pending();
        let claim = Claim {
            work,
            tokens: prompt.tokens,
            adapter: prompt.adapter.as_ref().map(|(key, name)| (*key, &**name)),
        };
        let evidence = self.evidence(endpoint, &prompt, hit, first_pending);
        let reservation = self.pool.reserve(now, endpoint, claim, self.mean_output.get()).ok()?;
        self.mean_work.observe(described.get());
        let used = Use { stamp: reservation.order(), block_tokens: prompt.block_tokens, now };
        self.prefixes.assume(endpoint.slot, &prompt.chain, used);
        Some(InFlight { reservation, dispatched: now, hit, evidence, prompt })
    }

    /// When the blocks that are expected in the cache were last used, if they are certain to be computed: what a request
    /// that is still pending will bring says nothing about evictions.
    fn evidence(
        &self,
        endpoint: EndpointId,
        prompt: &Placed,
        hit: u32,
        first_pending: Option<u64>,
    ) -> Option<Evidence> {
        let last = (hit / prompt.block_tokens.max(1)).checked_sub(1)?;
        let used = |at: u32| {
            let hash = prompt.chain.get(at as usize)?;
            self.prefixes.last_use(endpoint.slot, *hash)
        };
        let (first_block, last_block) = (used(0)?, used(last)?);
        let computed = |stamp: u64| first_pending.is_none_or(|pending| stamp < pending);
        let first_block = if computed(first_block) { first_block } else { last_block };
        computed(last_block).then_some(Evidence { first_block, last_block })
    }
}

/// A prompt on its way to an endpoint.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its full blocks.
    pub(super) chain: Vec<BlockHash>,
    /// Tokens in a block.
    pub(super) block_tokens: u32,
    /// The model's key and the length in bytes, if it came as text.
    pub(super) text: Option<(u64, u64)>,
    /// Its length.
    pub(super) tokens: u32,
    /// Its adapter's key and name.
    pub(super) adapter: Option<(u64, alloc::boxed::Box<str>)>,
    /// Whether an engine's events can confirm its blocks.
    pub(super) confirmable: bool,
}

/// A request's prompt, hashed and looked up.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) tokens: u32,
    /// The most tokens that any endpoint holds.
    pub(super) best_hit: u32,
    model: u64,
    adapter: Option<u64>,
    chains: Chains,
    /// What equal prompts have in common, for ties.
    identity: u64,
}

/// The prompt in blocks of each size that the pool has.
#[derive(Debug, Default)]
struct Chains {
    list: Vec<Chain>,
    used: usize,
    /// The one chain serves all endpoints.
    any_block_size: bool,
}

#[derive(Debug)]
struct Chain {
    block_size: NonZeroU32,
    block_tokens: u32,
    hashes: Vec<BlockHash>,
    /// By slot, how many of the blocks the endpoint holds.
    depths: Vec<u32>,
}

impl Reading {
    /// Tokens that the endpoint has cached: whole blocks, and never the whole prompt, since its last token is computed
    /// in any case.
    fn hit(&self, slot: &Slot) -> u32 {
        self.chains.of(slot).map_or(0, |chain| {
            let depth = chain.depths.get(slot.id.slot as usize).copied().unwrap_or(0);
            hit_tokens(depth, chain.block_tokens, self.tokens)
        })
    }

    /// The blocks for this endpoint, and the tokens in each.
    fn take(&mut self, slot: &Slot) -> (Vec<BlockHash>, u32) {
        let chain = self.chains.of_mut(slot);
        chain.map_or((Vec::new(), 1), |chain| (core::mem::take(&mut chain.hashes), chain.block_tokens))
    }
}

impl Chains {
    /// Empties the chains and fills one for each block size.
    fn reset(
        &mut self,
        block_sizes: impl Iterator<Item = NonZeroU32>,
        mut fill: impl FnMut(NonZeroU32, &mut Chain),
    ) {
        self.used = 0;
        self.any_block_size = false;
        for block_size in block_sizes {
            if self.used == self.list.len() {
                let (hashes, depths) = (Vec::new(), Vec::new());
                self.list.push(Chain { block_size, block_tokens: 1, hashes, depths });
            }
            let chain = &mut self.list[self.used];
            chain.block_size = block_size;
            chain.hashes.clear();
            chain.depths.clear();
            fill(block_size, chain);
            self.used += 1;
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.list[..self.used].iter_mut()
    }

    fn of(&self, slot: &Slot) -> Option<&Chain> {
        self.list[..self.used]
            .iter()
            .find(|c| self.any_block_size || c.block_size == slot.endpoint.block_size)
    }

    fn of_mut(&mut self, slot: &Slot) -> Option<&mut Chain> {
        let any = self.any_block_size;
        self.iter_mut().find(|chain| any || chain.block_size == slot.endpoint.block_size)
    }
}

/// Tokens in `depth` blocks, of which the last token of the prompt is never one.
pub(super) const fn hit_tokens(depth: u32, block_tokens: u32, tokens: u32) -> u32 {
    let computed = tokens.saturating_sub(1) / block_tokens;
    if depth < computed { depth * block_tokens } else { computed * block_tokens }
}

/// What one endpoint is worth to the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assessment {
    pub(super) hit: u32,
    pub(super) terms: Terms,
    pub(super) wait: Seconds,
    pub(super) work: Seconds,
    pub(super) key: Key,
    pub(super) excluded: Option<Exclusion>,
}

/// The order of endpoints: cost, then requests in flight, then chance that is the same for equal prompts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    cost: u64,
    in_flight: u32,
    rendezvous: u64,
}

/// The best endpoints, best first.
pub(super) struct Ranked {
    best: Vec<(EndpointId, Assessment)>,
}

impl Ranked {
    pub(super) fn first(&self) -> EndpointId {
        self.best[0].0
    }

    fn offer(&mut self, id: EndpointId, assessment: Assessment, room: usize) {
        let place =
            self.best.iter().rposition(|(_, better)| better.key <= assessment.key).map_or(0, |at| at + 1);
        if place < room {
            self.best.truncate(room - 1);
            self.best.insert(place, (id, assessment));
        }
    }
}
