//! What caches are assumed to hold: what requests leave there, and when it is no longer believed.

use alloc::vec::Vec;

use super::hash::BlockHash;
use super::holding::State;
use super::index::{Member, PrefixIndex};
use super::limits::Use;
use super::runs::Stretch;
use crate::time::Instant;

/// Blocks that an engine should have told us of by now.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    due: Instant,
    slot: u32,
    joined: u64,
    stamp: u64,
    chain: Vec<BlockHash>,
}

impl PrefixIndex {
    /// A request leaves `chain` in the endpoint's cache: its blocks are the most recently used ones now, and what no
    /// longer fits is given up. Computes in **O(runs on the way)**, and **O(blocks)** for those that nobody holds yet.
    pub fn assume(&mut self, slot: u32, chain: &[BlockHash], used: Use) {
        let chain = &chain[..self.affordable(slot, chain)];
        let Some(number) = self.member_mut(slot).map(|member| member.holding.begin_use()) else { return };
        let mut way = core::mem::take(&mut self.way);
        self.enter(slot, None, chain, 0, |holding, Stretch { run, from, to }| {
            way.push(run);
            holding.assume(run, from, to, number, used)
        });
        if let Some(member) = self.member_mut(slot) {
            member.holding.end_use(number, &way, member.cache.order);
        }
        way.clear();
        self.way = way;
        self.fit(slot);
    }

    /// How many blocks of `chain`, from the first on, there is room for.
    fn affordable(&mut self, slot: u32, chain: &[BlockHash]) -> usize {
        if self.used() + chain.len() <= self.limits.entries {
            return chain.len();
        }
        let new = chain.iter().filter(|hash| !self.holds(slot, **hash)).count();
        self.make_room(new);
        let mut room = self.limits.entries.saturating_sub(self.used());
        let affordable = chain.iter().take_while(|hash| {
            if self.holds(slot, **hash) {
                return true;
            }
            let free = room > 0;
            room -= usize::from(free);
            free
        });
        affordable.count()
    }

    /// The use `stamp` came to nothing: blocks of `chain` that nobody has used since, and that never were there, are not
    /// there now.
    pub fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.forget(slot, chain, |state| state.used == stamp && !state.computed);
    }

    /// The engine of this endpoint publishes events and has computed the blocks of the use `stamp`: those that it does
    /// not confirm within [`IndexLimits::confirm_within`](crate::prefix::IndexLimits::confirm_within) are forgotten, unless they were used since.
    pub fn expect_confirmation(&mut self, slot: u32, chain: Vec<BlockHash>, stamp: u64, now: Instant) {
        let joined = self.member(slot).map(|member| member.joined);
        if let Some(joined) = joined.filter(|_| !chain.is_empty()) {
            let due = now + self.limits.confirm_within;
            self.unconfirmed_blocks += chain.len();
            self.unconfirmed.push_back(Unconfirmed { due, slot, joined, stamp, chain });
        }
    }

    /// Forgets what should have been confirmed before `now` and was not, and the oldest of it when there is too much.
    pub fn expire(&mut self, now: Instant) {
        let full = |index: &Self| index.unconfirmed_blocks > index.limits.entries;
        while self.unconfirmed.front().is_some_and(|first| first.due <= now || full(self)) {
            let Some(late) = self.unconfirmed.pop_front() else { return };
            self.unconfirmed_blocks -= late.chain.len();
            if self.member(late.slot).is_some_and(|member| member.joined == late.joined) {
                self.forget(late.slot, &late.chain, |state| state.used == late.stamp && !state.stored());
            }
        }
    }

    /// A block whose last use was `stamp` has turned out to be gone. The cache gives up blocks in order, so
    /// all that it was assumed to hold and that was not used since is gone too. It still counts as warm: it was wanted.
    pub fn forget_unused_since(&mut self, slot: u32, stamp: u64) {
        while self
            .member_mut(slot)
            .and_then(|member| member.holding.oldest())
            .is_some_and(|used| used <= stamp)
        {
            self.give_up(slot, u32::MAX, true);
        }
    }

    fn forget(&mut self, slot: u32, chain: &[BlockHash], when: impl Fn(&State) -> bool) {
        let mut at = 0;
        while at < chain.len() {
            let Some(Stretch { run, from, to }) = self.runs.stretch(chain, at) else {
                at += 1;
                continue;
            };
            self.alter(slot, |holding| Some(holding.forget(run, from, to, &when)));
            at += (to - from) as usize;
        }
    }

    /// Gives up blocks, in the cache's order, until what is assumed fits.
    pub(super) fn fit(&mut self, slot: u32) {
        while let Some(member) = self.member_mut(slot) {
            let over = member.holding.assumed_tokens().saturating_sub(u64::from(member.cache.capacity));
            if over == 0 {
                return;
            }
            let blocks = member.holding.blocks_to_give_up(over);
            if self.give_up(slot, blocks, false) == 0 {
                return;
            }
        }
    }

    /// Gives up at most `blocks` blocks that the endpoint used least recently.
    fn give_up(&mut self, slot: u32, blocks: u32, lost: bool) -> u32 {
        let assumed = |index: &Self| index.member(slot).map_or(0, |member| member.holding.assumed_blocks());
        let before = assumed(self);
        self.alter(slot, |holding| holding.give_up(blocks, lost));
        (before - assumed(self)) as u32
    }

    /// Makes room for `needed` entries: the endpoint that is assumed to hold most gives up some of its oldest blocks, until
    /// there is room. Whether there is. Computes in **O(endpoints)** for each sixteenth of an endpoint that is given up.
    pub(super) fn make_room(&mut self, needed: usize) -> bool {
        while self.used() + needed > self.limits.entries {
            let assumed = |member: &Member| member.holding.assumed_blocks();
            let held = self.endpoints.iter().map(|member| member.as_deref().map_or(0, assumed));
            let Some((most, slot)) = held.zip(0u32..).max_by_key(|(blocks, slot)| (*blocks, u32::MAX - slot))
            else {
                return false;
            };
            if most == 0 {
                return false;
            }
            let mut left = u32::try_from(most.div_ceil(16)).unwrap_or(u32::MAX);
            while left > 0 {
                match self.give_up(slot, left, false) {
                    0 => return false,
                    given_up => left -= given_up,
                }
            }
        }
        true
    }

    /// Entries that nobody gives up.
    pub(super) fn fixed_entries(&self) -> usize {
        let fixed: usize = self.endpoints.iter().flatten().map(|member| member.holding.fixed_entries()).sum();
        fixed + self.runs.dead()
    }
}
