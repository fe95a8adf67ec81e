//! The prefix index: for every endpoint, the exact length of the longest prefix that it holds.
//!
//! One table says which endpoints hold a block, and each endpoint has a [`Holding`] that says why it does and what it
//! gives up next. A block's hash stands for everything before it too, so an endpoint's match is the number of blocks
//! from the first on that have it in their sets: a hole ends the match, also where deeper blocks are still there.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashMap;

use super::event::EngineHash;
use super::hash::BlockHash;
use super::holding::{Holding, Life};
use super::keyed::Keyed;
use super::set::EndpointSet;
use super::warm::WarmWindow;
use crate::endpoint::EvictionOrder;
use crate::time::Instant;

/// What the index may grow to, and how long it remembers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct IndexLimits {
    /// Slots that endpoints may have.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub slots: usize,
    /// Entries over the whole pool: an endpoint and a block that it holds are one, and an engine's name for a block is
    /// another. 100 to 220 bytes each. When it is reached, the endpoint that is assumed to hold most gives up its oldest
    /// assumed blocks; what engines say that they hold is given up by nobody.
    pub entries: usize,
    /// Blocks used within this time belong to an endpoint's warm working set.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub warm_window: Duration,
    /// An engine that publishes events has this long after a first token to confirm the prompt's blocks.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub confirm_within: Duration,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self {
            slots: 1 << 16,
            entries: 16 << 20,
            warm_window: Duration::from_secs(90),
            confirm_within: Duration::from_secs(2),
        }
    }
}

/// How one endpoint's cache behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two things that an LRU cache can be asked")]
pub struct Cache {
    /// Tokens that fit. What it is assumed to hold never exceeds this.
    pub capacity: u32,
    /// Which of the blocks that were last used together goes first.
    pub order: EvictionOrder,
}

/// One use of a prompt's blocks.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "when, by which dispatch, in which unit: there is nothing else to say"
)]
pub struct Use {
    /// Which use of this endpoint's cache it is; rises from use to use.
    pub stamp: u64,
    /// Tokens in a block.
    pub block_tokens: u32,
    /// When.
    pub now: Instant,
    /// Whether the blocks are there by now, and not only on their way.
    pub computed: bool,
}

/// The index holds as many blocks as it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct IndexFull;

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
    holders: HashMap<BlockHash, EndpointSet, Keyed>,
    endpoints: Vec<Option<Box<Member>>>,
    /// Pairs of endpoint and block, and of endpoint and engine name.
    entries: usize,
    unconfirmed: VecDeque<Unconfirmed>,
    unconfirmed_blocks: usize,
    joined: u64,
    keyed: Keyed,
    limits: IndexLimits,
}

#[derive(Debug)]
struct Member {
    holding: Holding,
    cache: Cache,
    /// Tells members apart that had the same slot.
    joined: u64,
}

/// Blocks that an engine should have told us of by now.
#[derive(Debug)]
struct Unconfirmed {
    due: Instant,
    slot: u32,
    joined: u64,
    stamp: u64,
    chain: Vec<BlockHash>,
}

impl PrefixIndex {
    /// An empty index. The seed keys its table against chosen collisions.
    pub fn new(seed: u64, limits: IndexLimits) -> Self {
        let keyed = Keyed::new(seed);
        Self {
            holders: HashMap::with_hasher(keyed),
            endpoints: Vec::new(),
            entries: 0,
            unconfirmed: VecDeque::new(),
            unconfirmed_blocks: 0,
            joined: 0,
            keyed,
            limits,
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
        for hash in member.holding.hashes() {
            disown(&mut self.holders, hash, slot);
        }
    }

    /// The engine said that its cache is empty. Computes in **O(blocks that it held)**.
    pub fn clear(&mut self, slot: u32) {
        if let Some(cache) = self.member(slot).map(|member| member.cache) {
            self.begin(slot, cache, true);
        }
    }

    /// A request leaves `chain` in the endpoint's cache: its blocks are the most recently used ones now, and what no
    /// longer fits is given up. Computes in **O(blocks)**.
    pub fn assume(&mut self, slot: u32, chain: &[BlockHash], used: Use) {
        let Some(order) = self.member(slot).map(|member| member.cache.order) else { return };
        let mut enter = |hash: &BlockHash| {
            let known = self.member(slot).is_some_and(|member| member.holding.holds(*hash));
            if known || self.make_room(1) {
                let Some(member) = self.member_mut(slot) else { return };
                if member.holding.assume(*hash, used) {
                    self.entries += 1;
                    self.holders.entry(*hash).or_default().insert(slot);
                }
            }
        };
        // The last to be touched is the last to go.
        match order {
            EvictionOrder::TailFirst => chain.iter().rev().for_each(&mut enter),
            EvictionOrder::HeadFirst => chain.iter().for_each(&mut enter),
        }
        self.fit(slot);
    }

    /// The use `stamp` came to nothing: blocks of `chain` that nobody has used since, and that never were there, are not
    /// there now.
    pub fn forget_use(&mut self, slot: u32, chain: &[BlockHash], stamp: u64) {
        self.forget(slot, chain, |life| life.used == stamp && !life.computed);
    }

    /// The engine of this endpoint publishes events and has computed the blocks of the use `stamp`: those that it does
    /// not confirm within [`IndexLimits::confirm_within`] are forgotten, unless they were used since.
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
                self.forget(late.slot, &late.chain, |life| life.used == late.stamp && !life.stored);
            }
        }
    }

    /// A block whose last use was `stamp` has turned out to be gone. The cache gives up blocks in order, so
    /// all that it was assumed to hold and that was not used since is gone too. It still counts as warm: it was wanted.
    pub fn forget_unused_since(&mut self, slot: u32, stamp: u64) {
        while let Some(member) = self.member_mut(slot) {
            if member.holding.oldest().is_none_or(|life| life.used > stamp) {
                return;
            }
            let left = member.holding.lose_oldest();
            self.left(slot, left);
        }
    }

    /// The engine stored `chain` under `names`, in parallel. The first event of an engine, whichever it is, ends all
    /// assumptions about its cache.
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if that would exceed [`IndexLimits::entries`] even without any assumption; nothing changes then.
    pub fn store(
        &mut self,
        slot: u32,
        names: &[EngineHash],
        chain: &[BlockHash],
        used: Use,
    ) -> Result<(), IndexFull> {
        let Some(member) = self.member(slot) else { return Ok(()) };
        let new_names = names.iter().filter(|name| !member.holding.has_name(**name)).count();
        let new_blocks = chain.iter().filter(|hash| !member.holding.holds(**hash)).count();
        let needed =
            if member.holding.is_precise() { new_names + new_blocks } else { names.len() + chain.len() };
        if self.entries + needed > self.limits.entries && self.fixed_entries() + needed > self.limits.entries
        {
            return Err(IndexFull);
        }
        self.become_precise(slot);
        self.make_room(needed);
        for (name, hash) in names.iter().zip(chain) {
            let Some(member) = self.member_mut(slot) else { return Ok(()) };
            let before = member.holding.entries();
            let (new, left) = member.holding.store(*name, *hash, used);
            let after = member.holding.entries();
            self.entries = self.entries + after - before;
            if let Some(left) = left {
                disown(&mut self.holders, left, slot);
            }
            if new {
                self.holders.entry(*hash).or_default().insert(slot);
            }
        }
        Ok(())
    }

    /// The engine no longer has the blocks that it calls `names`; unknown names are ignored.
    pub fn remove(&mut self, slot: u32, names: &[EngineHash]) {
        self.become_precise(slot);
        for name in names {
            let Some(member) = self.member_mut(slot) else { return };
            let before = member.holding.entries();
            let left = member.holding.remove(*name);
            let gone = before - member.holding.entries();
            self.entries -= gone;
            if let Some(left) = left {
                disown(&mut self.holders, left, slot);
            }
        }
    }

    /// Who holds how much of `chain`: each endpoint that holds any of it is visited once, with the number of blocks from
    /// the first on that it holds. Shallow levels come first. Computes in **O(blocks × endpoints / 64)** at worst.
    pub fn levels(&self, chain: &[BlockHash], mut visit: impl FnMut(u32, &EndpointSet)) {
        let Some(first) = chain.first().and_then(|hash| self.holders.get(hash)) else { return };
        let mut reach = first.clone();
        for (depth, hash) in (1..).zip(&chain[1..]) {
            let gone = match self.holders.get(hash) {
                Some(holders) => reach.retain_in(holders),
                None => core::mem::take(&mut reach),
            };
            if !gone.is_empty() {
                visit(depth, &gone);
            }
            if reach.is_empty() {
                return;
            }
        }
        visit(u32::try_from(chain.len()).unwrap_or(u32::MAX), &reach);
    }

    /// How many blocks of `chain`, from the first on, the endpoint holds. Computes in **O(blocks)**.
    pub fn depth(&self, slot: u32, chain: &[BlockHash]) -> u32 {
        let held = |hash: &&BlockHash| self.holders.get(*hash).is_some_and(|holders| holders.contains(slot));
        u32::try_from(chain.iter().take_while(held).count()).unwrap_or(u32::MAX)
    }

    /// The block that the endpoint's engine calls `name`, or called so until lately.
    pub fn named(&self, slot: u32, name: EngineHash) -> Option<BlockHash> {
        self.member(slot)?.holding.named(name)
    }

    /// The last use of a block on this endpoint, if the block is certain to have been there: one that is still on its way
    /// says nothing about what a cache has given up.
    pub fn last_use(&self, slot: u32, hash: BlockHash) -> Option<u64> {
        let life = self.member(slot)?.holding.life(hash)?;
        life.computed.then_some(life.used)
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

    /// Whether nobody holds anything.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn begin(&mut self, slot: u32, cache: Cache, precise: bool) {
        self.leave(slot);
        let at = slot as usize;
        if at >= self.endpoints.len() {
            self.endpoints.resize_with(at + 1, || None);
        }
        self.joined += 1;
        let holding = Holding::new(self.keyed, WarmWindow::new(self.limits.warm_window), precise);
        self.endpoints[at] = Some(Box::new(Member { holding, cache, joined: self.joined }));
    }

    fn become_precise(&mut self, slot: u32) {
        if !self.is_precise(slot) {
            self.clear(slot);
        }
    }

    fn forget(&mut self, slot: u32, chain: &[BlockHash], when: impl Fn(Life) -> bool) {
        for hash in chain {
            let left = self.member_mut(slot).and_then(|member| member.holding.forget(*hash, &when));
            self.left(slot, left);
        }
    }

    /// Gives up blocks, in the cache's order, until what is assumed fits.
    fn fit(&mut self, slot: u32) {
        while self
            .member(slot)
            .is_some_and(|member| member.holding.assumed_tokens() > u64::from(member.cache.capacity))
        {
            self.evict(slot);
        }
    }

    /// Makes room for `needed` entries: the endpoint that is assumed to hold most gives up some of its oldest blocks, until
    /// there is room. Whether there is. Computes in **O(endpoints)** for each sixteenth of an endpoint that is given up.
    fn make_room(&mut self, needed: usize) -> bool {
        while self.entries + needed > self.limits.entries {
            let assumed = |member: &Member| member.holding.assumed_blocks();
            let held = self.endpoints.iter().map(|member| member.as_deref().map_or(0, assumed));
            let Some((most, slot)) = held.zip(0u32..).max_by_key(|(blocks, slot)| (*blocks, u32::MAX - slot))
            else {
                return false;
            };
            if most == 0 {
                return false;
            }
            (0..most.div_ceil(16)).for_each(|_| self.evict(slot));
        }
        true
    }

    /// Gives up the endpoint's oldest assumed block.
    fn evict(&mut self, slot: u32) {
        let left = self.member_mut(slot).and_then(|member| member.holding.evict_oldest());
        self.left(slot, left);
    }

    /// Entries that nobody gives up.
    fn fixed_entries(&self) -> usize {
        self.endpoints.iter().flatten().map(|member| member.holding.fixed_entries()).sum()
    }

    fn left(&mut self, slot: u32, hash: Option<BlockHash>) {
        if let Some(hash) = hash {
            self.entries -= 1;
            disown(&mut self.holders, hash, slot);
        }
    }

    fn member(&self, slot: u32) -> Option<&Member> {
        self.endpoints.get(slot as usize)?.as_deref()
    }

    fn member_mut(&mut self, slot: u32) -> Option<&mut Member> {
        self.endpoints.get_mut(slot as usize)?.as_deref_mut()
    }
}

fn disown(holders: &mut HashMap<BlockHash, EndpointSet, Keyed>, hash: BlockHash, slot: u32) {
    if let Some(set) = holders.get_mut(&hash) {
        set.remove(slot);
        if set.is_empty() {
            holders.remove(&hash);
            if holders.capacity() > 4 * holders.len() + SPARE {
                holders.shrink_to(2 * holders.len());
            }
        }
    }
}

/// Room in the table that is not worth giving back.
const SPARE: usize = 4_096;
