//! The prefix index: for every endpoint, the exact length of the longest prefix that it holds.
//!
//! [`Runs`] say what there is to hold and who holds it; each endpoint has a [`Holding`] that says why it does and what it
//! gives up next. Whatever changes a holding is settled with the runs at once. A hole ends an endpoint's match, also where it
//! still holds deeper blocks.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::assumed::Unconfirmed;
use super::event::EngineHash;
use super::hash::BlockHash;
use super::holding::{Change, Holding, State};
use super::keyed::Keyed;
use super::limits::{Cache, IndexFull, IndexLimits};
use super::runs::{RunId, Runs, Stretch};
use super::set::EndpointSet;
use super::warm::WarmWindow;
use crate::time::Instant;

/// What every endpoint of a pool holds in its KV cache. Endpoints are slots: small numbers, given by the caller.
///
/// ```
/// use slotwise::prefix::{BlockHash, Cache, IndexLimits, PrefixIndex, Use};
/// use slotwise::Instant;
///
/// let mut index = PrefixIndex::new(0, IndexLimits::default());
/// let chain = [1, 2, 3, 4].map(BlockHash);
/// for slot in [0, 1] {
///     index.join(slot, Cache { capacity: 1_000, ..Cache::default() }).expect("two are few");
/// }
/// let used = Use { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: false };
/// index.assume(0, &chain, used);
/// index.assume(1, &chain[..2], used);
///
/// let mut levels = Vec::new();
/// index.levels(&chain, |depth, endpoints| levels.push((depth, endpoints.iter().collect())));
/// assert_eq!(levels, [(2, vec![1]), (4, vec![0])]);
/// ```
#[derive(Debug)]
pub struct PrefixIndex {
    pub(super) runs: Runs,
    pub(super) endpoints: Vec<Option<Box<Member>>>,
    /// Pairs of endpoint and block, and of endpoint and engine name.
    pub(super) entries: usize,
    pub(super) unconfirmed: VecDeque<Unconfirmed>,
    pub(super) unconfirmed_blocks: usize,
    joined: u64,
    keyed: Keyed,
    pub(super) limits: IndexLimits,
    /// Runs on the way of one prompt: kept to be used again.
    pub(super) way: Vec<RunId>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) holding: Holding,
    pub(super) cache: Cache,
    /// Tells members apart that had the same slot.
    pub(super) joined: u64,
}

impl PrefixIndex {
    /// An empty index. The seed keys its table against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        let keyed = Keyed::new(seed);
        Self {
            runs: Runs::new(keyed),
            endpoints: Vec::new(),
            entries: 0,
            unconfirmed: VecDeque::new(),
            unconfirmed_blocks: 0,
            joined: 0,
            keyed,
            limits,
            way: Vec::new(),
        }
    }

    /// The endpoint at `slot` begins, with nothing in its cache. What an earlier one there held is forgotten.
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if there are not so many [slots](IndexLimits::slots).
    pub fn join(&mut self, slot: u32, cache: Cache) -> Result<(), IndexFull> {
        if slot as usize >= self.limits.slots {
            return Err(IndexFull);
        }
        self.begin(slot, cache, false);
        Ok(())
    }

    /// The endpoint's cache is other than was thought. What no longer fits is given up.
    pub fn resize(&mut self, slot: u32, cache: Cache) {
        if let Some(member) = self.member_mut(slot) {
            member.cache = cache;
            self.fit(slot);
        }
    }

    /// The endpoint's cache is another one, and empty; whether its engine publishes events stays as it was.
    pub fn restart(&mut self, slot: u32, cache: Cache) {
        if let Some(precise) = self.member(slot).map(|member| member.holding.is_precise()) {
            self.begin(slot, cache, precise);
        }
    }

    /// The endpoint is gone, with all it held. Computes in **O(blocks that it held)**.
    pub fn leave(&mut self, slot: u32) {
        let Some(member) = self.endpoints.get_mut(slot as usize).and_then(Option::take) else { return };
        self.entries -= member.holding.entries();
        for (run, stretches) in member.holding.runs() {
            self.runs.settle(run, slot, stretches, &[]);
        }
    }

    /// The engine said that its cache is empty. Computes in **O(blocks that it held)**.
    pub fn clear(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).map(|member| member.cache) {
            self.begin(slot, cache, true);
        }
    }

    /// Who holds how much of `chain`, as levels: an endpoint holds as many blocks, from the first on, as the *deepest* level
    /// says that it is in. An endpoint that is in none holds nothing. Computes in **O(runs on the way)**, and in as many
    /// levels as there are different depths.
    pub fn levels(&self, chain: &[BlockHash], visit: impl FnMut(u32, &EndpointSet)) {
        self.runs.levels(chain, visit);
    }

    /// How many blocks of `chain`, from the first on, the endpoint holds. Computes in **O(runs on the way)**.
    pub fn depth(&self, slot: u32, chain: &[BlockHash]) -> u32 {
        let Some(member) = self.member(slot) else { return 0 };
        let mut depth = 0;
        while let Some(stretch) = self.runs.stretch(chain, depth) {
            let held = member.holding.held_until(stretch.run, stretch.from).min(stretch.to) - stretch.from;
            depth += held as usize;
            if (held as usize) < stretch.len() {
                break;
            }
        }
        u32::try_from(depth).unwrap_or(u32::MAX)
    }

    /// The block that the endpoint's engine calls `name`, or called so until lately.
    pub fn named(&self, slot: u32, name: EngineHash) -> Option<BlockHash> {
        self.member(slot)?.holding.names.get(name)
    }

    /// The last use of a block on this endpoint, if the block is certain to have been there: one that is still on its way
    /// says nothing about what a cache has given up.
    pub fn last_use(&self, slot: u32, hash: BlockHash) -> Option<u64> {
        self.state(slot, hash).filter(|state| state.computed).map(|state| state.used)
    }

    /// Whether the endpoint's engine publishes events.
    pub fn is_precise(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.is_precise())
    }

    /// Tokens of the blocks that the endpoint holds: those that it is assumed to, and those that it says.
    pub fn tokens(&self, slot: u32) -> (u64, u64) {
        self.member(slot)
            .map_or((0, 0), |member| (member.holding.assumed_tokens(), member.holding.stored_tokens()))
    }

    /// Tokens of the blocks that were used within the warm window, and that the endpoint holds or has lost against
    /// expectation. Computes in **O(1)**.
    pub fn warm_tokens(&self, slot: u32, now: Instant) -> u64 {
        self.member(slot).map_or(0, |member| member.holding.warm_tokens(now))
    }

    /// Pairs of an endpoint and a block, and of an endpoint and an engine's name for one.
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Says which invariant is broken, if one is: for tests. Computes in **O(everything)**.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), &'static str> {
        self.runs.check()?;
        for (slot, member) in (0..).zip(&self.endpoints) {
            let Some(member) = member else { continue };
            let mut here: Vec<_> = member.holding.runs().collect();
            here.sort_unstable();
            let there: Vec<_> = self.runs.held_by(slot).collect();
            if !here.into_iter().eq(there.iter().map(|(run, stretches)| (*run, &stretches[..]))) {
                return Err("runs and holdings agree on who holds what");
            }
            member.holding.check()?;
        }
        let entries: usize = self.endpoints.iter().flatten().map(|member| member.holding.entries()).sum();
        if entries == self.entries { Ok(()) } else { Err("entries add up") }
    }

    /// Whether nobody holds anything.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn begin(&mut self, slot: u32, cache: Cache, precise: bool) {
        self.leave(slot);
        let at = slot as usize;
        if at >= self.endpoints.len() {
            self.endpoints.resize_with(at + 1, || None);
        }
        self.joined += 1;
        let holding = Holding::new(self.keyed, WarmWindow::new(self.limits.warm_window), precise);
        self.endpoints[at] = Some(Box::new(Member { holding, cache, joined: self.joined }));
    }

    pub(super) fn become_precise(&mut self, slot: u32) {
        if !self.is_precise(slot) {
            self.clear(slot);
        }
    }

    /// Changes what an endpoint holds, and settles it with the runs.
    pub(super) fn alter(
        &mut self,
        slot: u32,
        change: impl for<'h> FnOnce(&'h mut Holding) -> Option<Change<'h>>,
    ) {
        let Some(member) = self.endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let held = member.holding.entries();
        if let Some(Change { run, before, after }) = change(&mut member.holding) {
            self.runs.settle(run, slot, before, after);
        }
        self.entries = self.entries + member.holding.entries() - held;
    }

    /// Changes what an endpoint holds of `chain` from `begin` on, a stretch at a time. Blocks that nobody holds are made, behind
    /// the block before them: `parent`, where the chain begins.
    pub(super) fn enter(
        &mut self,
        slot: u32,
        parent: Option<BlockHash>,
        chain: &[BlockHash],
        begin: usize,
        mut change: impl for<'h> FnMut(&'h mut Holding, Stretch) -> Change<'h>,
    ) {
        let mut at = begin;
        while at < chain.len() {
            let before = at.checked_sub(1).map_or(parent, |before| Some(chain[before]));
            let stretch = self.runs.stretch(chain, at).unwrap_or_else(|| self.runs.create(chain, at, before));
            self.alter(slot, |holding| Some(change(holding, stretch)));
            at += stretch.len();
        }
    }

    /// What counts against the limit.
    pub(super) const fn used(&self) -> usize {
        self.entries + self.runs.dead()
    }

    pub(super) fn holds(&self, slot: u32, hash: BlockHash) -> bool {
        self.state(slot, hash).is_some()
    }

    pub(super) fn state(&self, slot: u32, hash: BlockHash) -> Option<State> {
        let address = self.runs.address(hash)?;
        self.member(slot)?.holding.state(address.run, address.offset)
    }

    pub(super) fn member(&self, slot: u32) -> Option<&Member> {
        self.endpoints.get(slot as usize)?.as_deref()
    }

    pub(super) fn member_mut(&mut self, slot: u32) -> Option<&mut Member> {
        self.endpoints.get_mut(slot as usize)?.as_deref_mut()
    }
}
