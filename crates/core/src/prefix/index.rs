//! The prefix index: for every endpoint, the exact length of the longest prefix that it holds.
//!
//! [`Runs`] say what there is to hold and who holds it; each endpoint has a [`Holding`] that says why it does and what it
//! gives up next. Whatever changes a holding is settled with the runs at once. A hole ends an endpoint's match, also where it
//! still holds deeper blocks.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::address::{Address, RunId, Stretch};
use super::engine_names::EngineNames;
use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::holding::{Change, Holding};
use super::keyed_state::KeyedState;
use super::limits::{CacheSpec, IndexFull, IndexLimits};
use super::runs::Runs;
use super::set::EndpointSet;
use super::unconfirmed::Unconfirmed;
use super::warm::WarmWindow;
use crate::time::Instant;

/// What every endpoint of a pool holds in its KV cache. Endpoints are slots: small numbers, given by the caller.
///
/// ```
/// use slotwise::Instant;
/// use slotwise::prefix::{BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, Tier};
///
/// let mut index = PrefixIndex::new(0, IndexLimits::default());
/// let chain = [1, 2, 3, 4].map(BlockHash); // our hashes, from a `PromptHasher`
/// let names = [11, 12, 13, 14].map(EngineHash); // the engines' hashes, from their KV events
/// let used = BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
/// for (slot, blocks) in [(0, 4), (1, 2)] {
///     index.join(slot, CacheSpec { capacity: 1_000, ..CacheSpec::default() }).expect("a free slot");
///     let stored = index.store(slot, None, &names[..blocks], &chain[..blocks], Tier::Gpu, used);
///     assert_eq!(stored, Ok(()));
/// }
///
/// let mut levels = Vec::new();
/// index.levels(&chain, |depth, endpoints| levels.push((depth, endpoints.iter().collect())));
/// assert_eq!(levels, [(2, vec![1]), (4, vec![0])]);
/// ```
#[derive(Debug)]
pub struct PrefixIndex {
    pub(super) runs: Runs,
    pub(super) endpoints: Vec<Option<Box<Member>>>,
    /// Pairs of an endpoint and a block that it holds.
    pub(super) pairs: usize,
    /// What the holdings have allocated.
    pub(super) allocated: usize,
    pub(super) unconfirmed: VecDeque<Unconfirmed>,
    /// What their chains have allocated.
    pub(super) unconfirmed_bytes: usize,
    pub(super) joined: u64,
    pub(super) hash_state: KeyedState,
    pub(super) limits: IndexLimits,
    /// Runs on the way of one prompt: kept to be used again.
    pub(super) way: Vec<RunId>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) holding: Holding,
    /// What the holding had allocated when it was last counted.
    counted: usize,
    pub(super) cache: CacheSpec,
    /// Tells members apart that had the same slot.
    pub(super) joined: u64,
}

impl PrefixIndex {
    /// An empty index. The seed keys its table against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        Self::with_key(KeyedState::new(seed), limits)
    }

    fn with_key(hash_state: KeyedState, limits: IndexLimits) -> Self {
        Self {
            runs: Runs::new(hash_state),
            endpoints: Vec::new(),
            pairs: 0,
            allocated: 0,
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
            joined: 0,
            hash_state,
            limits,
            way: Vec::new(),
        }
    }

    /// The endpoint at `slot` begins, with nothing in its cache. What an earlier one there held is forgotten.
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if there are not so many [slots](IndexLimits::slots).
    pub fn join(&mut self, slot: u32, cache: CacheSpec) -> Result<(), IndexFull> {
        if slot as usize >= self.limits.slots {
            return Err(IndexFull);
        }
        self.begin(slot, cache, false);
        Ok(())
    }

    /// The endpoint's cache is another one, and empty; whether its engine publishes events stays as it was.
    pub(crate) fn restart(&mut self, slot: u32, cache: CacheSpec) {
        if let Some(precise) = self.member(slot).map(|member| member.holding.is_precise()) {
            self.begin(slot, cache, precise);
        }
    }

    /// The endpoint is gone, with all it held. Computes in **O(blocks that it held)**.
    pub fn leave(&mut self, slot: u32) {
        drop(self.dismiss(slot));
    }

    /// The engine said that its cache is empty; whether the endpoint is precise stays as it was. Computes in
    /// **O(blocks that it held)**.
    pub fn clear(&mut self, slot: u32) {
        if let Some(member) = self.member(slot) {
            let (cache, precise) = (member.cache, member.holding.is_precise());
            self.begin(slot, cache, precise);
        }
    }

    /// The endpoint goes back to assumptions, with an empty cache: what its engine publishes cannot be used.
    pub(crate) fn become_estimated(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).map(|member| member.cache) {
            self.begin(slot, cache, false);
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
        for (at, stretch) in self.runs.walk(chain) {
            let held =
                member.holding.held_until(stretch.run, stretch.from).min(stretch.to) - stretch.from;
            depth = at + held as usize;
            if (held as usize) < stretch.len() {
                break;
            }
        }
        u32::try_from(depth).unwrap_or(u32::MAX)
    }

    /// How many of the first `depth` blocks of `chain`, all of which the endpoint holds, it has in each tier, the nearest first. A block
    /// counts where it is nearest. Computes in **O(runs on the way)**, and in O(1) if everything is in the first tier.
    pub(crate) fn tiers(
        &self,
        slot: u32,
        chain: &[BlockHash],
        depth: u32,
    ) -> [u32; Tier::ALL.len()] {
        let Some(member) = self.member(slot).filter(|member| member.holding.below() > 0) else {
            return [depth, 0, 0];
        };
        let mut tiers = [0; Tier::ALL.len()];
        for (at, stretch) in self.runs.walk(&chain[..chain.len().min(depth as usize)]) {
            debug_assert!(at < depth as usize, "the walk ends where the chain does");
            let here = member.holding.tiers(stretch);
            tiers.iter_mut().zip(here).for_each(|(sum, blocks)| *sum += blocks);
        }
        tiers
    }

    /// The last use of the block at a place in `chain` on this endpoint, if the block is certain to have been there: one that is still
    /// on its way says nothing about what a cache has given up.
    pub(crate) fn last_use(&self, slot: u32, chain: &[BlockHash], at: usize) -> Option<u64> {
        let (begin, stretch) =
            self.runs.walk(chain).find(|(begin, stretch)| at < begin + stretch.len())?;
        let address = stretch.first(at - begin + 1).last();
        let state = self.member(slot)?.holding.state(address);
        state.filter(|state| state.computed).map(|state| state.used)
    }

    /// Whether the engine calls its blocks by names that contradict those of other engines, so that the index must keep a dictionary
    /// for it alone. That costs memory, and says that the engines hash differently: for vLLM, set `PYTHONHASHSEED` to the same
    /// number everywhere.
    pub fn hash_mismatch(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.names.are_own())
    }

    /// Whether the endpoint's engine publishes events.
    pub fn has_kv_events(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.is_precise())
    }

    /// Tokens of the blocks that the endpoint holds: those that it is assumed to, and those that it says.
    pub fn tokens(&self, slot: u32) -> (u64, u64) {
        self.member(slot).map_or((0, 0), |member| {
            (member.holding.estimated_tokens(), member.holding.stored_tokens())
        })
    }

    /// Tokens of the blocks that were used within the warm window, and that the endpoint holds or has lost against
    /// expectation. Computes in **O(1)**.
    pub fn warm_tokens(&self, slot: u32, now: Instant) -> u64 {
        self.member(slot).map_or(0, |member| member.holding.warm_tokens(now))
    }

    /// Pairs of an endpoint and a block that it holds.
    pub const fn len(&self) -> usize {
        self.pairs
    }

    /// What the index has allocated for what endpoints hold, in bytes: never more than [`IndexLimits::bytes`]. Computes in **O(1)**.
    pub fn allocated(&self) -> usize {
        self.runs.allocated()
            + self.allocated
            + self.unconfirmed.capacity() * size_of::<Unconfirmed>()
            + self.unconfirmed_bytes
            + self.way.capacity() * size_of::<RunId>()
    }

    /// Whether nobody holds anything.
    pub const fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Whether there is an endpoint at this slot.
    pub(crate) fn is_member(&self, slot: u32) -> bool {
        self.member(slot).is_some()
    }

    /// An index like this one in which nobody is.
    pub(crate) fn emptied(&self) -> Self {
        Self::with_key(self.hash_state, self.limits.clone())
    }

    /// The key of its tables, which stands for the seed.
    pub(crate) const fn hash_state(&self) -> KeyedState {
        self.hash_state
    }

    /// An endpoint is at `slot` from now on, with nothing in its cache: the one that was there before.
    pub(super) fn begin(
        &mut self,
        slot: u32,
        cache: CacheSpec,
        precise: bool,
    ) -> Option<Box<Member>> {
        let before = self.dismiss(slot);
        self.joined += 1;
        let holding =
            Holding::new(self.hash_state, WarmWindow::new(self.limits.warm_window), precise);
        self.enter(slot, holding, cache, self.joined);
        before
    }

    /// The endpoint at an empty slot holds this; the runs know already.
    pub(super) fn enter(&mut self, slot: u32, holding: Holding, cache: CacheSpec, joined: u64) {
        let at = slot as usize;
        if at >= self.endpoints.len() {
            self.endpoints.resize_with(at + 1, || None);
        }
        let counted = holding.allocated();
        self.allocated += counted;
        self.pairs += holding.held();
        self.endpoints[at] = Some(Box::new(Member { holding, counted, cache, joined }));
    }

    pub(super) fn take_to_have(&mut self, slot: u32, cache: CacheSpec) {
        if let Some(member) = self.member_mut(slot) {
            member.cache = cache;
        }
    }

    /// Nobody is at `slot` any more: the endpoint that was.
    pub(super) fn dismiss(&mut self, slot: u32) -> Option<Box<Member>> {
        let member = self.endpoints.get_mut(slot as usize)?.take()?;
        self.pairs -= member.holding.held();
        self.allocated -= member.counted;
        for (run, stretches) in member.holding.runs() {
            self.runs.settle(run, slot, stretches, &[]);
        }
        Some(member)
    }

    pub(super) fn become_precise(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).filter(|m| !m.holding.is_precise()).map(|m| m.cache)
        {
            self.begin(slot, cache, true);
        }
    }

    /// Changes what an endpoint holds, and settles it with the runs.
    pub(super) fn alter(
        &mut self,
        slot: u32,
        change: impl for<'h> FnOnce(&'h mut Holding) -> Option<Change<'h>>,
    ) {
        let Some(member) = self.endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        let held = member.holding.held();
        if let Some(Change { run, before, after }) = change(&mut member.holding) {
            self.runs.settle(run, slot, before, after);
        }
        self.pairs = self.pairs + member.holding.held() - held;
        let allocated = member.holding.allocated();
        self.allocated =
            self.allocated + allocated - core::mem::replace(&mut member.counted, allocated);
    }

    /// Changes what an endpoint's engine calls its blocks.
    pub(super) fn rename<R>(
        &mut self,
        slot: u32,
        change: impl FnOnce(&mut EngineNames) -> R,
    ) -> Option<R> {
        let answer = change(&mut self.member_mut(slot)?.holding.names);
        self.alter(slot, |_| None);
        Some(answer)
    }

    /// How much more might be allocated, at most, when the endpoint comes to hold `chain` behind `before`, under these names.
    pub(super) fn growth(
        &self,
        slot: u32,
        before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
    ) -> usize {
        let (mut heads, mut new, mut stretches, mut bytes) = (Vec::new(), 0, 0, 0);
        let (mut behind, mut at) = (before, 0);
        while at < chain.len() {
            let stretch = self.runs.stretch(behind, chain, at);
            if let Some(stretch) = stretch {
                bytes += self.runs.unrest(stretch.run, slot);
                stretches += 1;
            } else {
                if behind.is_some() || at == 0 {
                    heads.push(chain[at]);
                    stretches += 1;
                }
                new += 1;
            }
            behind = stretch.map(Stretch::last);
            at += stretch.map_or(1, Stretch::len);
        }
        bytes += self.runs.growth(before, new, &heads, names);
        bytes +=
            self.member(slot).map_or(0, |member| member.holding.growth(chain.len(), stretches));
        bytes
    }

    pub(super) fn member(&self, slot: u32) -> Option<&Member> {
        self.endpoints.get(slot as usize)?.as_deref()
    }

    pub(super) fn member_mut(&mut self, slot: u32) -> Option<&mut Member> {
        self.endpoints.get_mut(slot as usize)?.as_deref_mut()
    }
}
