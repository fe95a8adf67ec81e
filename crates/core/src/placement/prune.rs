//! The search for the cheapest endpoints, pruned by lower bounds of their costs.
//!
//! Weighing one endpoint takes as long as bounding the costs of a dozen. The search descends from
//! chunks to words to slots, in order of their lower bounds. It skips every group whose bound is
//! not below the worst cost of the ranking, so no skipped endpoint can be among the best.
//!
//! Endpoints that have more of the prompt cached cost less. So each level is searched with its own
//! bound, and last the level of all endpoints. The bound of a group counts all its endpoints; where
//! few of them are in the level, their load classes rule out those with too much load.

use alloc::vec::Vec;

use super::chains::{Level, LevelId};
use super::lookup::Lookup;
use super::query::{Query, Work};
use super::ranking_key::RankingKey;
use super::span::CachedPrefix;
use super::tie_break::{TieBreaker, TieRank};
use crate::fleet::Fleet;
use crate::pool::{BestCase, Bounds, CHUNK, InFlightLoad, LoadClass, Slot, WORD};
use crate::prefix::EndpointSet;
use crate::profile::{CostBound, LeastInputs};
use crate::time::{Instant, Seconds};

/// One search. `look` weighs an endpoint, and returns the key below which others must be to enter
/// the ranking, once the ranking is full.
#[derive(Debug)]
pub(super) struct PrunedSearch<'a, B, L> {
    fleet: &'a Fleet,
    now: Instant,
    bounds: &'a Bounds,
    lookup: &'a Lookup,
    /// Tokens that the endpoint's KV cache holds for the request.
    tokens: u32,
    computes_prompt: bool,
    /// The progress of heads at work: see [`InFlightLoad::progress`].
    progress: f64,
    bound: &'a B,
    ties: TieBreaker<'a>,
    look: L,
    bar: Option<RankingKey>,
    /// Costs of this many nanoseconds are above the bar's.
    limit: f64,
    /// What the request computes on the endpoints of the level that is searched.
    missing: Missing,
    /// The lower bound of the cost in this level without load, in seconds.
    floor: f64,
    /// Endpoints of this level with more load are above the bar.
    most_load: LoadClass,
}

/// Groups and endpoints that the search has bounded but not yet visited. A bound's slot is the
/// first of its group. The buffers are reused for the next search.
#[derive(Debug, Default)]
pub(crate) struct SearchFrontier {
    /// Endpoints that are bounded one by one.
    few: Vec<u32>,
    chunks: Vec<RankingKey>,
    words: Vec<RankingKey>,
    slots: Vec<RankingKey>,
}

/// Up to this many holders that may be below the bar are bounded one by one.
const FEW: usize = 64;

impl<'a, B: CostBound, L: FnMut(&Slot, CachedPrefix) -> Option<RankingKey>> PrunedSearch<'a, B, L> {
    pub(super) fn new(
        fleet: &'a Fleet,
        query: Query<'a>,
        bounds: &'a Bounds,
        bound: &'a B,
        look: L,
    ) -> Self {
        let Query { lookup, work, .. } = query;
        Self {
            fleet,
            now: query.now,
            bounds,
            lookup,
            tokens: if let Work::Encode = work { 0 } else { lookup.tokens },
            computes_prompt: matches!(work, Work::Prompt),
            progress: InFlightLoad::progress(query.now),
            bound,
            ties: TieBreaker::for_prompt(fleet, lookup),
            look,
            bar: None,
            limit: f64::INFINITY,
            missing: Missing::default(),
            floor: 0.0,
            most_load: LoadClass::LAST,
        }
    }

    /// Weighs every endpoint that may be below the bar, and few others.
    pub(super) fn search(&mut self, frontier: &mut SearchFrontier) {
        // Holders first: a cheap holder rules out most of the other endpoints.
        for of_all in [false, true] {
            let levels =
                self.lookup.levels().filter(|(_, level)| level.holders().is_none() == of_all);
            for (id, level) in levels {
                self.missing = Missing::new(self.tokens, level.cached);
                self.set_floor(level);
                match level.holders() {
                    Some(holders) if self.are_few(holders, &mut frontier.few) => {
                        self.each(id, level, frontier);
                    }
                    _ => self.chunks(id, level, frontier),
                }
            }
        }
    }

    /// Whether few holders may be below the bar, which are put into `few`.
    fn are_few(&self, holders: &EndpointSet, few: &mut Vec<u32>) -> bool {
        few.clear();
        if holders.len() <= FEW {
            few.extend(holders.iter());
            return true;
        }
        if self.most_load == LoadClass::LAST {
            return false;
        }
        for (word, slots) in holders.words_from(0) {
            let mut members = self.within(word, slots);
            while members != 0 {
                few.push(word * WORD + members.trailing_zeros());
                members &= members - 1;
            }
            if few.len() > FEW {
                return false;
            }
        }
        true
    }

    fn each(&mut self, id: LevelId, level: &Level, frontier: &mut SearchFrontier) {
        let SearchFrontier { few, slots, .. } = frontier;
        slots.clear();
        for slot in few.iter().copied() {
            let best_case = self.bounds.slot(slot);
            let draw = || self.draw(id, slot, |key| self.ties.rank(slot, key));
            slots.extend(self.key(self.nanos(best_case), best_case, slot, draw));
        }
        self.look_at(slots, id, level.cached);
    }

    fn chunks(&mut self, id: LevelId, level: &Level, frontier: &mut SearchFrontier) {
        let SearchFrontier { chunks, words, slots, .. } = frontier;
        chunks.clear();
        let mut previous = Bounded::default();
        for (best_case, chunk) in self.bounds.chunks().iter().zip((0..).step_by(CHUNK as usize)) {
            if let Some(key) = self.key(previous.nanos(self, best_case), best_case, chunk, || {
                Some(self.ties.chunk_rank(chunk))
            }) {
                chunks.push(key);
            }
        }
        lead(chunks);
        for chunk in chunks.iter() {
            if self.is_below(chunk) {
                self.words(id, level, chunk, words, slots);
            }
        }
    }

    fn words(
        &mut self,
        id: LevelId,
        level: &Level,
        chunk: &RankingKey,
        words: &mut Vec<RankingKey>,
        slots: &mut Vec<RankingKey>,
    ) {
        let first = chunk.slot / WORD;
        let group =
            Group { first: chunk.slot, step: WORD, best_cases: self.bounds.words_of(chunk.slot) };
        let mut members = 0;
        level.words(first, group.best_cases.len() as u32, |word, slots| {
            members |= u64::from(self.within(word, slots) != 0) << (word - first);
        });
        let draw = |word| Some(self.ties.word_rank(chunk.rendezvous, word));
        self.bound_members(&group, members, draw, words);
        lead(words);
        for word in words.iter() {
            if self.is_below(word) {
                self.slots(id, level, word, slots);
            }
        }
    }

    fn slots(
        &mut self,
        id: LevelId,
        level: &Level,
        word: &RankingKey,
        slots: &mut Vec<RankingKey>,
    ) {
        let group =
            Group { first: word.slot, step: 1, best_cases: self.bounds.slots_of(word.slot) };
        let members = self.within(word.slot / WORD, level.word(word.slot / WORD));
        let draw = |slot| self.draw(id, slot, |key| self.ties.endpoint_rank(word.rendezvous, key));
        self.bound_members(&group, members, draw, slots);
        self.look_at(slots, id, level.cached);
    }

    /// Bounds the members of a group whose bits are set, and keeps the keys below the bar. `draw`
    /// is the tie rank of a member, if the level may be its own.
    #[inline(always)]
    fn bound_members(
        &self,
        group: &Group<'_>,
        mut members: u64,
        draw: impl Fn(u32) -> Option<TieRank>,
        keys: &mut Vec<RankingKey>,
    ) {
        keys.clear();
        let mut previous = Bounded::default();
        while let Some(best_case) = group.best_cases.get(members.trailing_zeros() as usize) {
            let slot = group.first + group.step * members.trailing_zeros();
            members &= members - 1;
            let nanos = previous.nanos(self, best_case);
            if let Some(key) = self.key(nanos, best_case, slot, || draw(slot)) {
                keys.push(key);
            }
        }
    }

    /// Of some slots of a word, those whose least load is not too high.
    #[inline(always)]
    fn within(&self, word: u32, slots: u64) -> u64 {
        if self.most_load == LoadClass::LAST {
            return slots;
        }
        slots & self.bounds.loaded_up_to(word, self.most_load)
    }

    /// Weighs endpoints in the order of their bounds while these are below the bar.
    fn look_at(&mut self, slots: &mut Vec<RankingKey>, id: LevelId, cached: CachedPrefix) {
        while let Some(at) = least(slots) {
            let key = slots.swap_remove(at);
            let Some(slot) = self.fleet.pool.at(key.slot) else { continue };
            // An endpoint in several levels comes up several times, once in its own.
            if self.lookup.level_of(slot) == Some(id) && self.may_be_below(slot) {
                self.bar = (self.look)(slot, cached);
                if let Some(bar) = self.bar {
                    self.limit = above(bar.cost);
                    self.set_most_load();
                    slots.retain(|key| *key < bar);
                }
            }
        }
    }

    /// Whether the endpoint may be below the bar with its external load at this time. Its best case
    /// counts less of it, since it holds for longer.
    fn may_be_below(&self, slot: &Slot) -> bool {
        if self.bar.is_none() || !self.fleet.pool.has_forecast() {
            return true;
        }
        let Fleet { pool, config, mean_work, answers, .. } = self.fleet;
        let (capacity, lifetime) = (slot.kv_cache_tokens, config.report_lifetime);
        let external = slot.reports.external(self.now, pool.reports(), capacity, lifetime);
        let wait = slot.wait(self.now, external, mean_work.get()).get();
        let kv_tokens = slot.in_flight.kv_tokens() as f64 + external.kv_tokens;
        let running = slot.in_flight.weighted_running() + external.running * answers.mean_weight();
        let best_case = self.bounds.slot(slot.id.slot).with_load(kv_tokens, running);
        Seconds::in_nanos(self.cost(&best_case, wait)) < self.limit
    }

    /// Computes the lower bound of the cost in a level without load, and the highest load of an
    /// endpoint below the bar.
    fn set_floor(&mut self, level: &Level) {
        self.floor = if level.holders().is_some() || self.fleet.pool.has_forecast() {
            let mut unloaded = self.bounds.best();
            unloaded.kv_tokens = 0.0;
            self.cost(&unloaded, 0.0)
        } else {
            // Groups have no other members, so their own bounds are as good where loads are equal.
            f64::NEG_INFINITY
        };
        self.set_most_load();
    }

    /// Computes the highest load of an endpoint below the bar. A nanosecond and a billionth
    /// outweigh the rounding.
    fn set_most_load(&mut self) {
        let most = (self.limit * 1e-9 - self.floor) / self.bound.per_load();
        let most = if most.is_nan() { f64::INFINITY } else { most * (1.0 + 1e-9) + 1e-9 };
        self.most_load = LoadClass::of(most);
    }

    fn is_below(&self, key: &RankingKey) -> bool {
        self.bar.is_none_or(|bar| *key < bar)
    }

    /// The tie rank of the endpoint in this slot, if the level may be its own.
    #[inline]
    fn draw(&self, id: LevelId, slot: u32, lot: impl FnOnce(u64) -> TieRank) -> Option<TieRank> {
        let tie = self.fleet.pool.tie(slot);
        self.lookup.may_serve(id, tie.layout).then(|| lot(tie.key))
    }

    /// The lower bound of the key of an endpoint or of a group that begins at `slot`, if it is
    /// below the bar. `nanos` is the lower bound of the cost. Most are not below the bar in their
    /// cost, so the rest is computed for few.
    #[inline(always)]
    fn key(
        &self,
        nanos: f64,
        best_case: &BestCase,
        slot: u32,
        rendezvous: impl FnOnce() -> Option<TieRank>,
    ) -> Option<RankingKey> {
        if nanos >= self.limit || !best_case.is_open() {
            return None;
        }
        // NaN counts as zero, which excludes no endpoint.
        let (cost, in_flight) = (nanos as u64, best_case.in_flight);
        if self.bar.is_some_and(|bar| (bar.cost, bar.in_flight) < (cost, in_flight)) {
            return None;
        }
        let key = RankingKey { cost, in_flight, rendezvous: rendezvous()?, slot };
        self.is_below(&key).then_some(key)
    }

    /// The lower bound of the request's cost in nanoseconds, in the level that is searched.
    #[inline(always)]
    fn nanos(&self, best_case: &BestCase) -> f64 {
        Seconds::in_nanos(self.cost(best_case, best_case.wait(self.progress)))
    }

    /// The same in seconds, after this wait.
    #[inline(always)]
    fn cost(&self, best_case: &BestCase, wait: f64) -> f64 {
        let work = if self.computes_prompt {
            best_case.work(self.missing.tokens, self.missing.pairs)
        } else {
            Seconds::ZERO
        };
        self.bound.at_least(&LeastInputs {
            wait,
            work,
            tokens: f64::from(self.tokens),
            kv_tokens: best_case.kv_tokens,
            capacity: f64::from(best_case.capacity),
            running: best_case.running,
        })
    }
}

/// Up to 64 members of a group, which begin at every `step`th slot.
#[derive(Debug)]
struct Group<'a> {
    first: u32,
    step: u32,
    best_cases: &'a [BestCase],
}

/// The lower bound of a cost, for the next group or endpoint: often it has the same best case, as
/// all have in an idle pool.
#[derive(Debug)]
struct Bounded<'a> {
    best_case: &'a BestCase,
    nanos: f64,
}

impl<'a> Bounded<'a> {
    /// The lower bound of the cost with this best case.
    #[inline(always)]
    fn nanos<B: CostBound, L: FnMut(&Slot, CachedPrefix) -> Option<RankingKey>>(
        &mut self,
        search: &PrunedSearch<'_, B, L>,
        best_case: &'a BestCase,
    ) -> f64 {
        if !best_case.is_same(self.best_case) {
            *self = Self { best_case, nanos: search.nanos(best_case) };
        }
        self.nanos
    }
}

impl Default for Bounded<'_> {
    fn default() -> Self {
        Self { best_case: &BestCase::CLOSED, nanos: f64::INFINITY }
    }
}

/// What a request computes where this much of it is cached.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    /// Tokens.
    tokens: f64,
    /// Pairs of these tokens and the tokens that they attend to, as in
    /// [`PrefillCost::work`](crate::PrefillCost::work).
    pairs: f64,
}

impl Missing {
    fn new(tokens: u32, cached: CachedPrefix) -> Self {
        let (missing, hit) = (tokens.saturating_sub(cached.tokens), f64::from(cached.tokens));
        let tokens = f64::from(missing);
        Self { tokens, pairs: tokens * (hit + tokens / 2.0) }
    }
}

/// The least number of nanoseconds that are more than `cost` when rounded. Floats are exact up to
/// 2^53.
fn above(cost: u64) -> f64 {
    if cost < 1 << 52 { (cost + 1) as f64 } else { f64::INFINITY }
}

/// Moves the group with the least bound to the front: it sets the bar for the others.
fn lead(groups: &mut [RankingKey]) {
    if let Some(at) = least(groups) {
        groups.swap(0, at);
    }
}

fn least(keys: &[RankingKey]) -> Option<usize> {
    let (mut least, mut at) = (keys.first()?, 0);
    for (other, key) in keys.iter().enumerate().skip(1) {
        if key < least {
            (least, at) = (key, other);
        }
    }
    Some(at)
}
