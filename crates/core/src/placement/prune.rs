//! The search for the cheapest endpoints, pruned by lower bounds of their costs.
//!
//! Weighing one endpoint takes as long as bounding the costs of a dozen. The search descends from
//! chunks to words to slots, in order of their lower bounds. It skips every group whose bound is
//! not below the worst cost of the ranking, so no skipped endpoint can be among the best.
//!
//! Endpoints that have more of the prompt cached cost less. So each level is searched with its own
//! bound, and last the level of all endpoints. The bound of a group counts all its endpoints, of
//! which few may be in the level. Then the load classes of these rule out those with too much load,
//! and the others are bounded one by one.

use alloc::vec::Vec;
use core::hint;
use core::ops::{BitOr, Range};

use super::assess::Known;
use super::chains::{Level, LevelId};
use super::lookup::Lookup;
use super::present_load::PresentLoad;
use super::query::{Query, Work};
use super::ranking_key::RankingKey;
use super::span::CachedPrefix;
use super::tie_break::{TieBreaker, TieRank};
use crate::fleet::Fleet;
use crate::pool::{BestCase, Bounds, CHUNK, InFlightLoad, LoadClass, Members, Slot, WORD, ones};
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
    /// Every endpoint may use the levels that are searched.
    serves_all: bool,
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

/// The lower bounds of groups and endpoints that the search has found but not yet visited. A group
/// is named by its first slot. The buffers are reused for the next search.
#[derive(Debug, Default)]
pub(crate) struct SearchFrontier {
    /// Endpoints that are bounded one by one.
    few: Vec<u32>,
    chunks: Vec<RankingKey>,
    words: Vec<RankingKey>,
    slots: Vec<RankingKey>,
}

/// The few members of a group with the least draws, in the order of these.
#[derive(Debug)]
struct Winners {
    list: [(u64, u32); FEW_WINNERS],
    count: usize,
    /// The greatest draw, once there are that many.
    last: u64,
}

/// Usually the endpoints of a decision, and one more that is above their bar.
const FEW_WINNERS: usize = 4;
/// Up to this many holders are bounded one by one.
const FEW: usize = 64;
/// So are this many of more holders, of a level or of a chunk, if load classes leave no more below
/// the bar. Groups rule out few of these: their best cases count idle endpoints that hold nothing.
const FEW_LEFT: usize = 256;

impl<'a, B, L> PrunedSearch<'a, B, L>
where
    B: CostBound,
    L: FnMut(&Slot, Known) -> Option<RankingKey>,
{
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
            serves_all: lookup.has_one_chain(),
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
                let SearchFrontier { few, slots, .. } = frontier;
                if self.are_few(level, 0..u32::MAX, |_| true, few) {
                    self.each(id, level, few, slots);
                } else {
                    self.all(id, level, frontier);
                }
            }
        }
    }

    /// Whether few holders in these words may be below the bar, which are put into `few`. `may`
    /// rules out whole words.
    #[inline(always)]
    fn are_few(
        &self,
        level: &Level,
        words: Range<u32>,
        may: impl Fn(u32) -> bool,
        few: &mut Vec<u32>,
    ) -> bool {
        few.clear();
        let Some(holders) = level.holders() else { return false };
        if holders.len() > FEW && self.most_load == LoadClass::LAST {
            return false;
        }
        for (word, slots) in holders.words(words) {
            let slots = self.within(word, slots);
            if slots != 0 && may(word) {
                few.extend(ones(slots).map(|at| word * WORD + at));
            }
            if few.len() > FEW_LEFT {
                return false;
            }
        }
        true
    }

    /// The same for the words of a chunk.
    fn are_few_in_chunk(&self, level: &Level, chunk: u32, few: &mut Vec<u32>) -> bool {
        let (first, words) = (chunk / WORD, self.bounds.words_of(chunk));
        let may = |word: u32| {
            // The chunk is below the bar, and so are words that are as good.
            let bit = 1 << (word - first);
            words.at_best & bit != 0
                || words.best_cases(bit).any(|(_, word)| self.nanos(word) < self.limit)
        };
        self.are_few(level, first..first + CHUNK / WORD, may, few)
    }

    /// Searches `few` endpoints of a level.
    fn each(&mut self, id: LevelId, level: &Level, few: &[u32], keys: &mut Vec<RankingKey>) {
        keys.clear();
        if self.has_chunks() {
            // Not in the nearer caches: the cache misses overlap here.
            let in_flight = |slot: &u32| self.bounds.slot(*slot).in_flight;
            hint::black_box(few.iter().map(in_flight).fold(0, BitOr::bitor));
        }
        for slot in few.iter().copied() {
            let rank = || Some(self.ties.rank(slot, self.tie_key(id, slot)?));
            keys.extend(self.key(self.bounds.slot(slot), slot, rank));
        }
        while let Some(key) = take_least(keys) {
            self.weigh(id, level.cached, &key);
            keys.retain(|key| self.is_below(key));
        }
    }

    /// Searches all endpoints of a level.
    fn all(&mut self, id: LevelId, level: &Level, frontier: &mut SearchFrontier) {
        let SearchFrontier { few, chunks, words, slots } = frontier;
        for (best_case, members) in self.bounds.regions() {
            let Some(region) = self.key(best_case, members.first, || Some(TieRank::default()))
            else {
                continue;
            };
            self.visit(
                (&region, members, u64::MAX),
                chunks,
                |search, chunk| Some(search.ties.chunk(chunk)),
                TieRank::of_chunk,
                |search, chunk| {
                    // The bar is lower after each chunk, and few holders may be left below it.
                    if search.has_chunks() && search.are_few_in_chunk(level, chunk.slot, few) {
                        search.each(id, level, few, slots);
                    } else {
                        search.words(id, level, chunk, words, slots);
                    }
                },
            );
        }
    }

    /// Whether the pool has several chunks.
    fn has_chunks(&self) -> bool {
        self.bounds.len() > CHUNK
    }

    /// Searches the endpoints of a level that are in this chunk.
    fn words(
        &mut self,
        id: LevelId,
        level: &Level,
        chunk: &RankingKey,
        words: &mut Vec<RankingKey>,
        slots: &mut Vec<RankingKey>,
    ) {
        let first = chunk.slot / WORD;
        let mut members = 0;
        if level.holders().is_none() && self.most_load == LoadClass::LAST {
            members = u64::MAX;
        } else {
            level.words(first, CHUNK / WORD, |word, slots| {
                members |= u64::from(self.within(word, slots) != 0) << (word - first);
            });
        }
        self.visit(
            (chunk, self.bounds.words_of(chunk.slot), members),
            words,
            |search, word| Some(search.ties.word(word)),
            TieRank::of_word,
            |search, word| search.slots(id, level, word, slots),
        );
    }

    /// Searches the endpoints of a level that are in this word.
    fn slots(
        &mut self,
        id: LevelId,
        level: &Level,
        word: &RankingKey,
        slots: &mut Vec<RankingKey>,
    ) {
        let number = word.slot / WORD;
        self.visit(
            (word, self.bounds.slots_of(word.slot), self.within(number, level.word(number))),
            slots,
            |search, slot| Some(search.ties.endpoint(search.tie_key(id, slot)?)),
            TieRank::of_endpoint,
            |search, slot| search.weigh(id, level.cached, slot),
        );
    }

    /// Visits the members of a group whose bits are set, best first, while they may be below the
    /// bar. `draw` draws a member's lot, if the level may be its own, and `rank` adds it to the
    /// rank of its group.
    #[inline(always)]
    fn visit(
        &mut self,
        (group, members, bits): (&RankingKey, Members<'_>, u64),
        others: &mut Vec<RankingKey>,
        draw: impl Fn(&Self, u32) -> Option<u64>,
        rank: impl Fn(TieRank, u64) -> TieRank,
        mut visit: impl FnMut(&mut Self, &RankingKey),
    ) {
        // Members as good as their group have its bound, and only their ranks differ: on an idle
        // pool, all are.
        let at_best = bits & members.at_best;
        let mut left = at_best;
        'best: while left != 0 {
            let mut first = Winners::default();
            for at in ones(left) {
                match draw(self, members.slot(at)) {
                    Some(draw) => first.add(draw, at),
                    None => left &= !(1 << at),
                }
            }
            for (drawn, at) in first {
                left &= !(1 << at);
                let (rendezvous, slot) = (rank(group.rendezvous, drawn), members.slot(at));
                let key = RankingKey { rendezvous, slot, ..*group };
                if !self.is_below(&key) {
                    break 'best;
                }
                visit(self, &key);
            }
        }
        others.clear();
        for (slot, best_case) in members.best_cases(bits & !at_best) {
            let ranked = || Some(rank(group.rendezvous, draw(self, slot)?));
            others.extend(self.key(best_case, slot, ranked));
        }
        while let Some(key) = take_least(others) {
            visit(self, &key);
            others.retain(|key| self.is_below(key));
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

    /// Weighs an endpoint, if it may be below the bar.
    fn weigh(&mut self, id: LevelId, cached: CachedPrefix, key: &RankingKey) {
        let Some(slot) = self.fleet.pool.at(key.slot) else { return };
        // An endpoint in several levels comes up several times, once in its own.
        if !self.lookup.is_own_level(slot, id) {
            return;
        }
        let load = PresentLoad::of(self.fleet, self.now, slot);
        if self.may_be_below(slot, &load) {
            self.bar = (self.look)(slot, Known { cached, load, rendezvous: key.rendezvous });
            if let Some(bar) = self.bar {
                self.limit = above(bar.cost);
                self.set_most_load();
            }
        }
    }

    /// Whether the endpoint may be below the bar under this load. Its best case counts less
    /// external load, since it holds for longer.
    fn may_be_below(&self, slot: &Slot, load: &PresentLoad) -> bool {
        if self.bar.is_none() || !self.fleet.pool.has_forecast() {
            return true;
        }
        let best_case = self.bounds.slot(slot.id.slot).with_load(load.kv_tokens, load.running);
        Seconds::in_nanos(self.cost(&best_case, load.wait.get())) < self.limit
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

    /// The key of the endpoint in this slot for its tie rank, if the level may be its own.
    #[inline]
    fn tie_key(&self, id: LevelId, slot: u32) -> Option<u64> {
        let tie = self.fleet.pool.tie(slot);
        (self.serves_all || self.lookup.may_serve(id, tie.layout)).then_some(tie.key)
    }

    /// The lower bound of the key of an endpoint or of a group that begins at `slot`, if it is
    /// below the bar. Most are not below the bar in their cost, so the rest is computed for few.
    #[inline(always)]
    fn key(
        &self,
        best_case: &BestCase,
        slot: u32,
        rendezvous: impl FnOnce() -> Option<TieRank>,
    ) -> Option<RankingKey> {
        let nanos = self.nanos(best_case);
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

impl Winners {
    /// Adds a member that comes after the others, if it is one of the few.
    #[inline(always)]
    fn add(&mut self, draw: u64, member: u32) {
        if draw >= self.last && self.count == FEW_WINNERS {
            return;
        }
        let mut place = self.count.min(FEW_WINNERS - 1);
        while place > 0 && draw < self.list[place - 1].0 {
            self.list[place] = self.list[place - 1];
            place -= 1;
        }
        self.list[place] = (draw, member);
        self.count = (self.count + 1).min(FEW_WINNERS);
        self.last = self.list[FEW_WINNERS - 1].0;
    }
}

impl Default for Winners {
    fn default() -> Self {
        Self { list: [(u64::MAX, 0); FEW_WINNERS], count: 0, last: u64::MAX }
    }
}

impl IntoIterator for Winners {
    type Item = (u64, u32);
    type IntoIter = core::iter::Take<core::array::IntoIter<(u64, u32), FEW_WINNERS>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().take(self.count)
    }
}

/// Takes the least key out.
fn take_least(keys: &mut Vec<RankingKey>) -> Option<RankingKey> {
    let (mut least, mut at) = (keys.first()?, 0);
    for (other, key) in keys.iter().enumerate() {
        if key < least {
            (least, at) = (key, other);
        }
    }
    Some(keys.swap_remove(at))
}
