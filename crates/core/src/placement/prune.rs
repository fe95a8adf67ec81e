//! The search for the cheapest endpoints, pruned by lower bounds of their costs.
//!
//! Weighing one endpoint takes as long as bounding the costs of a dozen. The search descends from
//! chunks to words to slots, in order of their lower bounds. It skips every group whose bound is
//! not below the worst cost of the ranking, so no skipped endpoint can be among the best.
//!
//! Endpoints that have more of the prompt cached cost less. So each level is searched with its own
//! bound, and last the level of all endpoints.

use alloc::vec::Vec;

use super::chains::{Level, LevelId};
use super::lookup::Lookup;
use super::query::{Query, Work};
use super::ranking_key::RankingKey;
use super::span::CachedPrefix;
use super::tie_break::{TieBreaker, TieRank};
use crate::fleet::Fleet;
use crate::pool::{BestCase, CHUNK, Slot, WORD};
use crate::prefix::EndpointSet;
use crate::profile::{CostBound, LeastInputs};
use crate::time::Seconds;

/// One search. `look` weighs an endpoint, and returns the key below which others must be to enter
/// the ranking, once the ranking is full.
#[derive(Debug)]
pub(super) struct PrunedSearch<'a, B, L> {
    fleet: &'a Fleet,
    lookup: &'a Lookup,
    /// Tokens that the endpoint's KV cache holds for the request.
    tokens: u32,
    computes_prompt: bool,
    bound: &'a B,
    ties: TieBreaker<'a>,
    look: L,
    bar: Option<RankingKey>,
}

/// Groups and endpoints that the search has bounded but not yet visited. A bound's slot is the
/// first of its group. The buffers are reused for the next search.
#[derive(Debug, Default)]
pub(crate) struct SearchFrontier {
    chunks: Vec<RankingKey>,
    words: Vec<RankingKey>,
    slots: Vec<RankingKey>,
}

/// Up to this many holders are bounded one by one.
const FEW: usize = 32;

impl<'a, B: CostBound, L: FnMut(&Slot, CachedPrefix) -> Option<RankingKey>> PrunedSearch<'a, B, L> {
    pub(super) fn new(fleet: &'a Fleet, query: Query<'a>, bound: &'a B, look: L) -> Self {
        let Query { lookup, work, .. } = query;
        let ties = TieBreaker::for_prompt(fleet, lookup);
        let tokens = if let Work::Encode = work { 0 } else { lookup.tokens };
        let computes_prompt = matches!(work, Work::Prompt);
        Self { fleet, lookup, tokens, computes_prompt, bound, ties, look, bar: None }
    }

    /// Weighs every endpoint that may be below the bar, and few others.
    pub(super) fn search(&mut self, frontier: &mut SearchFrontier) {
        // Holders first: a cheap holder rules out most of the other endpoints.
        for of_all in [false, true] {
            let levels =
                self.lookup.levels().filter(|(_, level)| level.holders().is_none() == of_all);
            for (id, level) in levels {
                match level.holders() {
                    Some(holders) if holders.len() <= FEW => {
                        self.each(id, level, holders, &mut frontier.slots);
                    }
                    _ => self.chunks(id, level, frontier),
                }
            }
        }
    }

    fn each(
        &mut self,
        id: LevelId,
        level: &Level,
        holders: &EndpointSet,
        slots: &mut Vec<RankingKey>,
    ) {
        let bounds = self.fleet.pool.bounds();
        slots.clear();
        for slot in holders.iter() {
            let best_case = bounds.slot(slot);
            slots.extend(self.key(best_case, slot, level, || {
                self.draw(id, slot, |key| self.ties.rank(slot, key))
            }));
        }
        self.look_at(slots, id, level.cached);
    }

    fn chunks(&mut self, id: LevelId, level: &Level, frontier: &mut SearchFrontier) {
        let SearchFrontier { chunks, words, slots } = frontier;
        chunks.clear();
        for (best_case, chunk) in
            self.fleet.pool.bounds().chunks().iter().zip((0..).step_by(CHUNK as usize))
        {
            chunks.extend(self.key(best_case, chunk, level, || Some(self.ties.chunk_rank(chunk))));
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
        let (first, drawn) = (chunk.slot, chunk.rendezvous);
        words.clear();
        let best_cases = self.fleet.pool.bounds().words_of(first);
        for (best_case, word) in best_cases.iter().zip((first..).step_by(WORD as usize)) {
            if level.word(word / WORD) != 0 {
                words.extend(
                    self.key(best_case, word, level, || Some(self.ties.word_rank(drawn, word))),
                );
            }
        }
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
        let (first, drawn) = (word.slot, word.rendezvous);
        let best_cases = self.fleet.pool.bounds().slots_of(first);
        let mut members = level.word(first / WORD);
        slots.clear();
        while let Some(best_case) = best_cases.get(members.trailing_zeros() as usize) {
            let slot = first + members.trailing_zeros();
            members &= members - 1;
            let draw = || self.draw(id, slot, |key| self.ties.endpoint_rank(drawn, key));
            slots.extend(self.key(best_case, slot, level, draw));
        }
        self.look_at(slots, id, level.cached);
    }

    /// Weighs endpoints in the order of their bounds while these are below the bar.
    fn look_at(&mut self, slots: &mut Vec<RankingKey>, id: LevelId, cached: CachedPrefix) {
        while let Some(at) = least(slots) {
            let key = slots.swap_remove(at);
            let Some(slot) = self.fleet.pool.at(key.slot) else { continue };
            // An endpoint in several levels comes up several times, once in its own.
            if self.lookup.level_of(slot) == Some(id) {
                self.bar = (self.look)(slot, cached);
                if let Some(bar) = self.bar {
                    slots.retain(|key| *key < bar);
                }
            }
        }
    }

    fn is_below(&self, key: &RankingKey) -> bool {
        self.bar.is_none_or(|bar| *key < bar)
    }

    /// The tie rank of the endpoint in this slot, if the level may be its own.
    #[inline]
    fn draw(&self, id: LevelId, slot: u32, lot: impl FnOnce(u64) -> TieRank) -> Option<TieRank> {
        let tie = self.fleet.pool.tie(slot);
        self.lookup.serves(id, tie.layout).then(|| lot(tie.key))
    }

    /// The lower bound of the key of an endpoint or of a group that begins at `slot`, if it is
    /// below the bar.
    #[inline(always)]
    fn key(
        &self,
        best_case: &BestCase,
        slot: u32,
        level: &Level,
        rendezvous: impl FnOnce() -> Option<TieRank>,
    ) -> Option<RankingKey> {
        if !best_case.is_open() {
            return None;
        }
        let cost = self.cost(best_case, level.cached);
        if self.bar.is_some_and(|bar| cost > bar.cost) {
            return None;
        }
        let key =
            RankingKey { cost, in_flight: best_case.in_flight, rendezvous: rendezvous()?, slot };
        self.is_below(&key).then_some(key)
    }

    /// The lower bound of the request's cost in nanoseconds, with this prefix cached.
    #[inline(always)]
    fn cost(&self, best_case: &BestCase, cached: CachedPrefix) -> u64 {
        let tokens = self.tokens;
        let work = if self.computes_prompt {
            best_case.work(tokens.saturating_sub(cached.tokens), cached.tokens)
        } else {
            Seconds::ZERO
        };
        let least = LeastInputs {
            wait: best_case.least_wait,
            work,
            tokens: f64::from(tokens),
            kv_tokens: best_case.kv_tokens,
            capacity: best_case.capacity,
            running: best_case.running,
        };
        // NaN counts as zero, which excludes no endpoint.
        Seconds::new(self.bound.at_least(&least)).to_nanos()
    }
}

/// Moves the group with the least bound to the front: it sets the bar for the others.
fn lead(groups: &mut [RankingKey]) {
    if let Some(at) = least(groups) {
        groups.swap(0, at);
    }
}

fn least(keys: &[RankingKey]) -> Option<usize> {
    let least = keys.iter().enumerate().min_by(|(_, a), (_, b)| a.cmp(b));
    least.map(|(at, _)| at)
}
