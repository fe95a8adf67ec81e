//! The prefix index: for every endpoint, the exact length of the longest prefix that it holds.
//!
//! [`Runs`] store blocks and their holders. Each endpoint has a [`Holding`] with the evidence and
//! the eviction order of its blocks. Every change of a holding updates the runs at once. A hole
//! ends an endpoint's match even if it holds deeper blocks.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::address::{Address, Coverage, RunId, Stretch};
use super::engine_names::EngineNames;
use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::holding::{Change, Holding};
use super::keyed_state::KeyedState;
use super::limits::{CacheSpec, IndexFull, IndexLimits};
use super::runs::Runs;
use super::set::EndpointSet;
use super::tournament::Tournament;
use super::unconfirmed::Unconfirmed;
use super::warm::WarmWindow;
use crate::time::Instant;

/// The blocks that every endpoint of a pool holds in its KV cache. Endpoints are slots: small
/// numbers that the caller assigns.
///
/// ```
/// use slotwise::Instant;
/// use slotwise::prefix::{
///     BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, Tier,
/// };
///
/// let mut index = PrefixIndex::new(0, IndexLimits::default());
/// let chain = [1, 2, 3, 4].map(BlockHash); // our hashes, from a `PromptHasher`
/// let names = [11, 12, 13, 14].map(EngineHash); // the engines' hashes, from their KV events
/// let used = BlockUse { stamp: 1, block_tokens: 16, now: Instant::ORIGIN, computed: true };
/// for (slot, blocks) in [(0, 4), (1, 2)] {
///     let cache = CacheSpec { capacity: 1_000, ..CacheSpec::default() };
///     index.join(slot, cache).expect("a free slot");
///     let stored = index.store(slot, None, &names[..blocks], &chain[..blocks], Tier::Gpu, used);
///     assert_eq!(stored, Ok(()));
/// }
///
/// let mut levels = Vec::new();
/// index.levels(&chain, |depth, endpoints| levels.push((depth, endpoints.iter().collect())));
/// levels.sort();
/// assert_eq!(levels, [(2, vec![1]), (4, vec![0])]);
/// ```
#[derive(Debug)]
pub struct PrefixIndex {
    pub(super) runs: Runs,
    pub(super) endpoints: Vec<Option<Box<Member>>>,
    /// Estimated blocks of each endpoint.
    pub(super) estimates: Tournament,
    /// Number of pairs of an endpoint and a held block.
    pub(super) pairs: usize,
    /// Bytes allocated by the holdings.
    pub(super) allocated: usize,
    pub(super) unconfirmed: VecDeque<Unconfirmed>,
    /// Bytes allocated by their chains.
    pub(super) unconfirmed_bytes: usize,
    pub(super) joined: u64,
    pub(super) hash_state: KeyedState,
    pub(super) limits: IndexLimits,
    /// The runs of one prompt, kept for reuse.
    pub(super) way: Vec<RunId>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) holding: Holding,
    /// Bytes allocated by the holding when last counted.
    counted: usize,
    pub(super) cache: CacheSpec,
    /// Distinguishes members that had the same slot.
    pub(super) joined: u64,
}

impl PrefixIndex {
    /// An empty index. The seed keys its tables against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        Self::with_key(KeyedState::new(seed), limits)
    }

    fn with_key(hash_state: KeyedState, limits: IndexLimits) -> Self {
        Self {
            runs: Runs::new(hash_state),
            endpoints: Vec::new(),
            estimates: Tournament::default(),
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

    /// Adds an endpoint with an empty cache at `slot`, and removes an earlier one there.
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if `slot` is not below [`IndexLimits::slots`].
    pub fn join(&mut self, slot: u32, cache: CacheSpec) -> Result<(), IndexFull> {
        if slot as usize >= self.limits.slots {
            return Err(IndexFull);
        }
        self.begin(slot, cache, false);
        Ok(())
    }

    /// Replaces the endpoint's cache by an empty one; the endpoint keeps its mode, with or without
    /// events.
    pub(crate) fn restart(&mut self, slot: u32, cache: CacheSpec) {
        if let Some(precise) = self.member(slot).map(|member| member.holding.is_precise()) {
            self.begin(slot, cache, precise);
        }
    }

    /// Removes the endpoint. Computes in **O(blocks that it held)**.
    pub fn leave(&mut self, slot: u32) {
        drop(self.dismiss(slot));
    }

    /// Removes all blocks of the endpoint; it keeps its mode, with or without events. Computes in
    /// **O(blocks that it held)**.
    pub fn clear(&mut self, slot: u32) {
        if let Some(member) = self.member(slot) {
            let (cache, precise) = (member.cache, member.holding.is_precise());
            self.begin(slot, cache, precise);
        }
    }

    /// Returns the endpoint to estimates, with an empty cache: its engine's events are unusable.
    pub(crate) fn become_estimated(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).map(|member| member.cache) {
            self.begin(slot, cache, false);
        }
    }

    /// Visits the holders of `chain` by depth. An endpoint holds as many blocks, from the first on,
    /// as the *deepest* level that contains it; an endpoint in no level holds none. Levels come in
    /// no defined order, and several may have one depth. Computes in **O(runs of the chain)**.
    #[inline]
    pub fn levels(&self, chain: &[BlockHash], visit: impl FnMut(u32, &EndpointSet)) {
        self.runs.levels(chain, visit);
    }

    /// Number of blocks of `chain`, from the first on, that the endpoint holds. Computes in
    /// **O(runs of the chain)**.
    pub fn depth(&self, slot: u32, chain: &[BlockHash]) -> u32 {
        let Some(member) = self.member(slot) else { return 0 };
        let mut depth = 0;
        for (at, stretch) in self.runs.walk(chain) {
            let held = member.holding.prefix(stretch.run).min(stretch.to);
            depth = at + held as usize;
            if (held as usize) < stretch.len() {
                break;
            }
        }
        u32::try_from(depth).unwrap_or(u32::MAX)
    }

    /// Number of blocks in each tier, nearest first, among the first `depth` blocks of `chain`, all
    /// of which the endpoint holds. A block counts in its nearest tier. Computes in **O(runs of the
    /// chain)**, and in O(1) if all blocks are in the first tier.
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

    /// Whether the endpoint has blocks in no tier but lower ones.
    pub(crate) fn has_lower_tiers(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.below() > 0)
    }

    /// Whether the engine's hashes contradict those of other engines, so that it has a dictionary
    /// of its own. This costs memory and means that the engines hash differently. For vLLM, set
    /// `PYTHONHASHSEED` to the same number everywhere.
    pub fn hash_mismatch(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.names.are_own())
    }

    /// Whether the endpoint's engine publishes KV events.
    pub fn has_kv_events(&self, slot: u32) -> bool {
        self.member(slot).is_some_and(|member| member.holding.is_precise())
    }

    /// Tokens of the blocks that the endpoint holds: (estimated, stored).
    pub fn tokens(&self, slot: u32) -> (u64, u64) {
        self.member(slot).map_or((0, 0), |member| {
            (member.holding.estimated_tokens(), member.holding.stored_tokens())
        })
    }

    /// Tokens of blocks used within the warm window that the endpoint holds, or lost against
    /// expectation. Computes in **O(1)**.
    pub fn warm_tokens(&self, slot: u32, now: Instant) -> u64 {
        self.member(slot).map_or(0, |member| member.holding.warm_tokens(now))
    }

    /// Number of pairs of an endpoint and a held block.
    pub const fn len(&self) -> usize {
        self.pairs
    }

    /// Bytes allocated for held blocks, at most [`IndexLimits::bytes`]. Computes in **O(1)**.
    pub fn allocated(&self) -> usize {
        self.runs.allocated()
            + self.allocated
            + self.unconfirmed.capacity() * size_of::<Unconfirmed>()
            + self.unconfirmed_bytes
            + self.way.capacity() * size_of::<RunId>()
    }

    /// Whether no endpoint holds any block.
    pub const fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Whether an endpoint is at this slot.
    pub(crate) fn is_member(&self, slot: u32) -> bool {
        self.member(slot).is_some()
    }

    /// An empty index with the same key and limits.
    pub(crate) fn emptied(&self) -> Self {
        Self::with_key(self.hash_state, self.limits.clone())
    }

    /// The key of its tables, which is derived from the seed.
    pub(crate) const fn hash_state(&self) -> KeyedState {
        self.hash_state
    }

    /// Adds an endpoint with an empty cache at `slot`. Returns the one that was there.
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

    /// Adds an endpoint with this holding at an empty slot; the runs are updated already.
    pub(super) fn enter(&mut self, slot: u32, holding: Holding, cache: CacheSpec, joined: u64) {
        let at = slot as usize;
        if at >= self.endpoints.len() {
            self.endpoints.resize_with(at + 1, || None);
        }
        let counted = holding.allocated();
        self.allocated += counted;
        self.pairs += holding.held();
        self.estimates.set(slot, holding.estimated_blocks());
        self.endpoints[at] = Some(Box::new(Member { holding, counted, cache, joined }));
    }

    pub(super) fn take_to_have(&mut self, slot: u32, cache: CacheSpec) {
        if let Some(member) = self.member_mut(slot) {
            member.cache = cache;
        }
    }

    /// Removes and returns the endpoint at `slot`.
    pub(super) fn dismiss(&mut self, slot: u32) -> Option<Box<Member>> {
        let member = self.endpoints.get_mut(slot as usize)?.take()?;
        self.pairs -= member.holding.held();
        self.allocated -= member.counted;
        self.estimates.set(slot, 0);
        for (run, coverage) in member.holding.runs() {
            self.runs.settle(run, slot, coverage, Coverage::default());
        }
        Some(member)
    }

    pub(super) fn become_precise(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).filter(|m| !m.holding.is_precise()).map(|m| m.cache)
        {
            self.begin(slot, cache, true);
        }
    }

    /// Changes a holding and updates the runs.
    pub(super) fn alter(&mut self, slot: u32, change: impl FnOnce(&mut Holding) -> Option<Change>) {
        self.alter_runs(slot, |holding, runs| {
            if let Some(Change { run, before, after }) = change(holding) {
                runs.settle(run, slot, before, after);
            }
        });
    }

    /// Changes a holding, where `change` updates the runs.
    #[inline]
    pub(super) fn alter_runs(&mut self, slot: u32, change: impl FnOnce(&mut Holding, &mut Runs)) {
        let Some(member) = self.endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        let (held, estimated) = (member.holding.held(), member.holding.estimated_blocks());
        change(&mut member.holding, &mut self.runs);
        self.pairs = self.pairs + member.holding.held() - held;
        if member.holding.estimated_blocks() != estimated {
            self.estimates.set(slot, member.holding.estimated_blocks());
        }
        let allocated = member.holding.allocated();
        self.allocated =
            self.allocated + allocated - core::mem::replace(&mut member.counted, allocated);
    }

    /// Changes an endpoint's names.
    pub(super) fn rename<R>(
        &mut self,
        slot: u32,
        change: impl FnOnce(&mut EngineNames) -> R,
    ) -> Option<R> {
        let answer = change(&mut self.member_mut(slot)?.holding.names);
        self.alter(slot, |_| None);
        Some(answer)
    }

    /// Upper limit of additional bytes if the endpoint comes to hold `chain` behind `before` under
    /// these names.
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
            let blocks = if let Some(stretch) = stretch {
                bytes += self.runs.unrest(stretch.run, slot);
                stretch.len()
            } else {
                heads.push(chain[at]);
                let unknown = 1 + self.runs.unknown(&chain[at + 1..]);
                new += unknown;
                unknown
            };
            stretches += 1;
            behind = stretch.map(Stretch::last);
            at += blocks;
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
