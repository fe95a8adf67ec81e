//! What caches are assumed to hold: what requests leave there, and when it is no longer believed.

use alloc::vec::Vec;

use super::address::Address;
use super::block_state::State;
use super::event::EngineHash;
use super::hash::BlockHash;
use super::index::{Member, PrefixIndex};
use super::limits::{BlockUse, CacheSpec};
use super::unconfirmed::Unconfirmed;
use crate::time::Instant;

impl PrefixIndex {
    /// The endpoint's cache is other than was thought. What no longer fits is given up.
    pub(crate) fn resize(&mut self, slot: u32, cache: CacheSpec) {
        self.take_to_have(slot, cache);
        self.fit(slot);
    }

    /// A request leaves `chain` in the endpoint's cache: its blocks are the most recently used ones now, and what no
    /// longer fits is given up. If the index has no room for it, it is as if the request had not been. Computes in **O(runs on the way)**,
    /// and **O(blocks)** for those that nobody holds yet.
    pub(crate) fn record_use(&mut self, slot: u32, chain: &[BlockHash], used: BlockUse) {
        if !self.make_room(slot, None, chain, &[]) {
            return;
        }
        let begin = |member: &mut Member| (member.holding.begin_use(), member.cache.order);
        let Some((number, order)) = self.member_mut(slot).map(begin) else { return };
        let mut way = core::mem::take(&mut self.way);
        let (mut at, mut before) = (0, None);
        while at < chain.len() {
            let stretch = self.runs.stretch(None, chain, at);
            let stretch = stretch.unwrap_or_else(|| self.runs.create(before, chain, at));
            self.alter(slot, |holding| Some(holding.record_use(stretch, number, used)));
            way.push(stretch.run);
            at += stretch.len();
            before = Some(stretch.last());
        }
        self.alter(slot, |holding| {
            holding.end_use(number, &way, order);
            None
        });
        way.clear();
        self.way = way;
        self.fit(slot);
        self.keep_within_limit(slot);
    }

    /// The use `stamp` came to nothing: blocks of `chain` that nobody has used since, and that never were there, are not
    /// there now.
    pub(crate) fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.forget(slot, chain, |state| state.used == stamp && !state.computed);
    }

    /// The engine of this endpoint publishes events and has computed the blocks of the use `stamp`: those that it does
    /// not confirm within [`IndexLimits::confirm_within`](crate::prefix::IndexLimits::confirm_within) are forgotten, unless they were used since.
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

    /// Forgets what should have been confirmed before `now` and was not, and the oldest of it when there is too much.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.expire_first(now) {}
    }

    /// Forgets the first that should have been: whether there was one.
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

    /// A block whose last use was `stamp` has turned out to be gone. The cache gives up blocks in order, so
    /// all that it was assumed to hold and that was not used since is gone too. It still counts as warm: it was wanted.
    pub(crate) fn forget_unused_since(&mut self, slot: u32, stamp: u64) {
        while self.forget_some_unused_since(slot, stamp, u32::MAX) {}
    }

    /// Forgets at most so many of those blocks: whether there were any.
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

    /// Gives up blocks, in the cache's order, until what is assumed fits.
    pub(super) fn fit(&mut self, slot: u32) {
        while self.fit_some(slot, u32::MAX) {}
    }

    /// Gives up at most so many of those blocks: whether there were any.
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

    /// Gives up at most `blocks` blocks that the endpoint used least recently.
    pub(super) fn give_up(&mut self, slot: u32, blocks: u32, lost: bool) -> u32 {
        let estimated =
            |index: &Self| index.member(slot).map_or(0, |member| member.holding.estimated_blocks());
        let before = estimated(self);
        self.alter(slot, |holding| holding.give_up(blocks, lost));
        (before - estimated(self)) as u32
    }

    /// Makes room for an endpoint to hold `chain` behind `before`, under these names: whether there is.
    pub(super) fn make_room(
        &mut self,
        slot: u32,
        before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
    ) -> bool {
        self.give_way(|index| index.lacks_room(slot, before, chain, names))
    }

    /// Whether there may be no room for that.
    pub(super) fn lacks_room(
        &self,
        slot: u32,
        before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
    ) -> bool {
        !self.has_ample_room(chain.len()) && self.exceeds(self.growth(slot, before, chain, names))
    }

    /// Whether so many blocks find room in any case: nothing more than doubles.
    pub(super) fn has_ample_room(&self, blocks: usize) -> bool {
        2 * self.allocated() + AMPLE * (blocks + AMPLE) <= self.limits.bytes
    }

    /// Whether so many bytes more would be too many.
    fn exceeds(&self, more: usize) -> bool {
        self.allocated() + more > self.limits.bytes
    }

    /// Makes room as long as it is lacking: the endpoint that is assumed to hold most gives up some of its oldest blocks. Whether there is
    /// room then. Computes in **O(endpoints)** for each sixteenth of an endpoint that is given up.
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

    /// Who is assumed to hold most, if anybody is, and a sixteenth of it in blocks.
    pub(super) fn giver(&self) -> Option<(u32, u32)> {
        let estimated = |member: &Member| member.holding.estimated_blocks();
        let held = self.endpoints.iter().map(|member| member.as_deref().map_or(0, estimated));
        let most = held.zip(0u32..).max_by_key(|(blocks, slot)| (*blocks, u32::MAX - slot));
        let (most, slot) = most.filter(|(most, _)| *most > 0)?;
        Some((slot, u32::try_from(most.div_ceil(16)).unwrap_or(u32::MAX)))
    }

    /// What is taken out of the middle of something leaves two pieces, which take more room. If there is none, the endpoint is taken
    /// to hold nothing.
    pub(super) fn keep_within_limit(&mut self, slot: u32) {
        if !self.give_way(|index| index.exceeds(0)) {
            if let Some(member) = self.member(slot) {
                self.begin(slot, member.cache, member.holding.is_precise());
            }
        }
    }
}

/// Bytes that a block takes at most, and blocks that are not worth counting.
const AMPLE: usize = 1_024;
/// The share of the index that unconfirmed blocks may take, as a divisor.
const UNCONFIRMED_SHARE: usize = 8;
