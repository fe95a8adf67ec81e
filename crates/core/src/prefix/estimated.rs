//! Estimated cache contents: blocks that requests leave, and when the estimate ends.

use alloc::vec::Vec;

use super::address::{Address, Stretch};
use super::block_state::State;
use super::event::EngineHash;
use super::hash::BlockHash;
use super::holding::{Change, Holding};
use super::index::PrefixIndex;
use super::last_uses::LastUses;
use super::limits::{BlockUse, CacheSpec};
use super::unconfirmed::Unconfirmed;
use crate::time::Instant;

impl PrefixIndex {
    /// Changes the description of an endpoint's cache, and evicts estimated blocks beyond its
    /// capacity.
    pub(crate) fn resize(&mut self, slot: u32, cache: CacheSpec) {
        self.take_to_have(slot, cache);
        self.fit(slot);
    }

    /// Records that a request used `chain`: its blocks are the most recently used, and blocks
    /// beyond the capacity are evicted. If the index has no space for it, nothing changes. Computes
    /// in **O(runs of the chain)**, and **O(blocks)** for new ones.
    pub(crate) fn record_use(&mut self, slot: u32, chain: &[BlockHash], used: BlockUse) {
        self.use_blocks(slot, chain, used, |_, _, _| {});
    }

    /// Records that a request uses `chain`, whose block `at` and all before it are expected in the
    /// cache. Returns their [last uses](Self::last_uses) until now, without another walk.
    pub(crate) fn record_expected_use(
        &mut self,
        slot: u32,
        chain: &[BlockHash],
        used: BlockUse,
        at: usize,
    ) -> Option<LastUses> {
        if !self.has_ample_room(chain.len()) || chain.len() <= at {
            let uses = self.last_uses(slot, chain, at);
            self.record_use(slot, chain, used);
            return uses;
        }
        let mut uses = self.member(slot).map(|_| LastUses::default());
        self.use_blocks(slot, chain, used, |holding, begin, stretch| {
            if let Some(uses) = &mut uses {
                uses.note(holding, (begin, stretch), at);
            }
        });
        uses
    }

    /// Records the use. `observe` sees each stretch up to the first unknown block and its place in
    /// the chain, before the stretch changes.
    #[inline]
    fn use_blocks(
        &mut self,
        slot: u32,
        chain: &[BlockHash],
        used: BlockUse,
        mut observe: impl FnMut(&Holding, usize, Stretch),
    ) {
        if !self.make_room(slot, None, chain, &[]) {
            return;
        }
        let Some(order) = self.member(slot).map(|member| member.cache.order) else { return };
        let mut way = core::mem::take(&mut self.way);
        self.alter_runs(slot, |holding, runs| {
            let number = holding.begin_use();
            let (mut at, mut before, mut known) = (0, None, true);
            while at < chain.len() {
                let found = runs.stretch(None, chain, at);
                known &= found.is_some();
                let stretch = found.unwrap_or_else(|| runs.create(before, chain, at));
                if known {
                    observe(holding, at, stretch);
                }
                let is_new = found.is_none() && stretch.from == 0;
                let change = holding.record_use(stretch, is_new, number, used);
                if let Some(Change { run, before, after }) = change {
                    runs.settle(run, slot, before, after);
                }
                way.push(stretch.run);
                at += stretch.len();
                before = Some(stretch.last());
            }
            holding.end_use(number, &way, order);
        });
        way.clear();
        self.way = way;
        self.fit(slot);
        self.keep_within_limit(slot);
    }

    /// Reverts the use `stamp`: removes blocks of `chain` that were never computed and not used
    /// since.
    pub(crate) fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.forget(slot, chain, |state| state.used == stamp && !state.computed);
    }

    /// Starts the time within which KV events must confirm the blocks of the use `stamp`. Blocks
    /// that are neither confirmed within
    /// [`IndexLimits::confirm_within`](crate::prefix::IndexLimits::confirm_within) nor used again
    /// are removed.
    pub(crate) fn expect_confirmation(
        &mut self,
        slot: u32,
        chain: Vec<BlockHash>,
        stamp: u64,
        now: Instant,
    ) {
        let joined = self.member(slot).map(|member| member.joined);
        let Some(joined) = joined.filter(|_| !chain.is_empty()) else { return };
        let bytes = chain.capacity() * size_of::<BlockHash>();
        let needed =
            |index: &Self| bytes + (index.unconfirmed.capacity() + 4) * size_of::<Unconfirmed>();
        if self.give_way(|index| index.exceeds(needed(index))) {
            let due = now + self.limits.confirm_within;
            self.unconfirmed_bytes += bytes;
            self.unconfirmed.push_back(Unconfirmed { due, slot, joined, stamp, chain });
        } else {
            self.forget(slot, &chain, |state| state.used == stamp && !state.stored());
        }
    }

    /// Removes blocks whose confirmation is overdue at `now`, and the oldest unconfirmed ones above
    /// their limit.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.expire_first(now) {}
    }

    /// Expires the oldest unconfirmed prompt. Returns whether one was due.
    pub(super) fn expire_first(&mut self, now: Instant) -> bool {
        let full = self.unconfirmed_bytes > self.limits.bytes / UNCONFIRMED_SHARE;
        let late = self.unconfirmed.front().is_some_and(|first| first.due <= now || full);
        let Some(late) = late.then(|| self.unconfirmed.pop_front()).flatten() else { return false };
        self.unconfirmed_bytes -= late.chain.capacity() * size_of::<BlockHash>();
        if self.member(late.slot).is_some_and(|member| member.joined == late.joined) {
            self.forget(late.slot, &late.chain, |state| {
                state.used == late.stamp && !state.stored()
            });
        }
        true
    }

    /// Removes all estimated blocks last used at `stamp` or before, since a cache evicts in order.
    /// They still count as warm: they were in demand.
    pub(crate) fn forget_unused_since(&mut self, slot: u32, stamp: u64) {
        while self.forget_some_unused_since(slot, stamp, u32::MAX) {}
    }

    /// Removes at most `blocks` of those blocks. Returns whether there were any.
    pub(super) fn forget_some_unused_since(&mut self, slot: u32, stamp: u64, blocks: u32) -> bool {
        let oldest = self.member_mut(slot).and_then(|member| member.holding.oldest());
        oldest.is_some_and(|used| used <= stamp) && self.give_up(slot, blocks, true) > 0
    }

    fn forget(&mut self, slot: u32, chain: &[BlockHash], when: impl Fn(&State) -> bool) {
        let mut at = 0;
        while at < chain.len() {
            let Some(stretch) = self.runs.stretch(None, chain, at) else {
                at += 1;
                continue;
            };
            self.alter(slot, |holding| Some(holding.forget(stretch, &when)));
            at += stretch.len();
        }
        self.keep_within_limit(slot);
    }

    /// Evicts blocks in the cache's order until the estimate fits.
    pub(super) fn fit(&mut self, slot: u32) {
        while self.fit_some(slot, u32::MAX) {}
    }

    /// Evicts at most `blocks` of those blocks. Returns whether there were any.
    pub(super) fn fit_some(&mut self, slot: u32, blocks: u32) -> bool {
        let Some(member) = self.member_mut(slot) else { return false };
        let over =
            member.holding.estimated_tokens().saturating_sub(u64::from(member.cache.capacity));
        if over == 0 {
            return false;
        }
        let blocks = member.holding.blocks_to_give_up(over).min(blocks);
        self.give_up(slot, blocks, false) > 0
    }

    /// Evicts at most `blocks` of the endpoint's least recently used blocks.
    pub(super) fn give_up(&mut self, slot: u32, blocks: u32, lost: bool) -> u32 {
        let estimated =
            |index: &Self| index.member(slot).map_or(0, |member| member.holding.estimated_blocks());
        let before = estimated(self);
        self.alter(slot, |holding| holding.give_up(blocks, lost));
        (before - estimated(self)) as u32
    }

    /// Frees memory for an endpoint to hold `chain` behind `before` under these names. Returns
    /// whether there is enough.
    pub(super) fn make_room(
        &mut self,
        slot: u32,
        before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
    ) -> bool {
        self.give_way(|index| index.lacks_room(slot, before, chain, names))
    }

    /// Whether the memory for that may be insufficient.
    pub(super) fn lacks_room(
        &self,
        slot: u32,
        before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
    ) -> bool {
        !self.has_ample_room(chain.len()) && self.exceeds(self.growth(slot, before, chain, names))
    }

    /// Whether this number of blocks fits in any case, even if all tables double.
    pub(super) fn has_ample_room(&self, blocks: usize) -> bool {
        2 * self.allocated() + AMPLE * (blocks + AMPLE) <= self.limits.bytes
    }

    /// Whether this number of additional bytes exceeds the limit.
    fn exceeds(&self, more: usize) -> bool {
        self.allocated() + more > self.limits.bytes
    }

    /// Evicts the oldest blocks of the endpoint with the largest estimate while memory is
    /// insufficient. Returns whether there is enough. Computes in **O(log endpoints)** for each
    /// sixteenth of an endpoint, and for each evicted block.
    pub(super) fn give_way(&mut self, lacks_room: impl Fn(&Self) -> bool) -> bool {
        while lacks_room(self) {
            let Some((slot, mut left)) = self.giver() else { return false };
            while left > 0 {
                match self.give_up(slot, left, false) {
                    0 => return false,
                    given_up => left -= given_up,
                }
            }
        }
        true
    }

    /// The endpoint with the largest estimate, and a sixteenth of it in blocks.
    pub(super) fn giver(&self) -> Option<(u32, u32)> {
        self.estimates.winner().map(|(slot, most)| (slot, most.div_ceil(16)))
    }

    /// A removal in the middle of a span needs memory for two spans. Without it, the endpoint's
    /// contents are cleared.
    pub(super) fn keep_within_limit(&mut self, slot: u32) {
        if !self.give_way(|index| index.exceeds(0)) {
            if let Some(member) = self.member(slot) {
                self.begin(slot, member.cache, member.holding.is_precise());
            }
        }
    }
}

/// Upper limit of a block's bytes; also the number of blocks that is negligible.
const AMPLE: usize = 1_024;
/// Divisor of the index's limit for unconfirmed blocks.
const UNCONFIRMED_SHARE: usize = 8;
