//! The reference model of the prefix index: a few vectors for each endpoint, scanned from end to
//! end.
//!
//! It defines the results of the index, whatever the index's structure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, SnapshotError, Tier,
};
use slotwise::{CacheEvictionOrder, Instant};

/// One change of the index.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join(u32, CacheSpec),
    Resize(u32, CacheSpec),
    Leave(u32),
    Clear(u32),
    Restart(u32, CacheSpec),
    /// A request uses a path; `true` if it has ended and its blocks are computed.
    Assume(u32, Path, bool),
    ForgetUse(u32, Path, u64),
    ForgetUnusedSince(u32, u64),
    ExpectConfirmation(u32, Path, u64),
    /// The engine stores the blocks of a path from a position on, under the names of its dialect.
    Store(u32, Path, usize, u64, Tier),
    Remove(u32, Path, usize, u64, Tier),
    Wait(Duration),
    /// A snapshot replaces the index by its restored copy.
    Revive,
}

/// A prompt: each step chooses one of a few next blocks, so that prompts share prefixes.
pub(crate) type Path = Vec<u8>;

pub(crate) const ENDPOINTS: u32 = 6;
pub(crate) const BLOCK_TOKENS: u32 = 10;

/// The hash of every block on a path; equal for equal prefixes.
pub(crate) fn chain(path: &[u8]) -> Vec<BlockHash> {
    let step = |hash: &mut u64, next: &u8| {
        *hash = (*hash ^ u64::from(*next + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        Some(BlockHash(*hash))
    };
    path.iter().scan(0x243f_6a88_85a3_08d3, step).collect()
}

/// The names that an engine of this dialect gives to blocks. Dialects 1 and 2 differ; dialect 0
/// gives several blocks one name, as engines with short hashes do.
fn names(dialect: u64, chain: &[BlockHash]) -> Vec<EngineHash> {
    let name = |hash: &BlockHash| match dialect {
        0 => EngineHash(hash.0 % 40),
        dialect => EngineHash(hash.0.rotate_left(dialect as u32)),
    };
    chain.iter().map(name).collect()
}

/// The blocks of one endpoint.
#[derive(Debug)]
struct Endpoint {
    cache: CacheSpec,
    /// Estimated blocks, least recently used first.
    assumed: Vec<BlockHash>,
    names: BTreeMap<EngineHash, (BlockHash, BTreeSet<Tier>)>,
    /// Names that were removed lately.
    removed: VecDeque<(EngineHash, BlockHash)>,
    blocks: BTreeMap<BlockHash, Held>,
    /// Last uses of blocks that were lost against expectation.
    lost: Vec<Instant>,
    precise: bool,
    joined: u64,
}

/// A held block.
#[derive(Clone, Copy, Debug)]
struct Held {
    used: u64,
    computed: bool,
    /// The time of its last use, if it counts as warm.
    warm: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Model {
    endpoints: BTreeMap<u32, Endpoint>,
    unconfirmed: Vec<(Instant, u32, u64, Path, u64)>,
    joined: u64,
    limits: IndexLimits,
}

impl Model {
    pub(crate) fn new(limits: IndexLimits) -> Self {
        Self { endpoints: BTreeMap::new(), unconfirmed: Vec::new(), joined: 0, limits }
    }

    /// The longest prefix of `chain` whose blocks the endpoint holds.
    pub(crate) fn depth(&self, slot: u32, chain: &[BlockHash]) -> u32 {
        let Some(endpoint) = self.endpoints.get(&slot) else { return 0 };
        chain.iter().take_while(|hash| endpoint.holds(**hash)).count() as u32
    }

    pub(crate) fn tokens(&self, slot: u32) -> (u64, u64) {
        self.endpoints.get(&slot).map_or((0, 0), |endpoint| {
            let mut stored: Vec<_> = endpoint.names.values().map(|(hash, _)| hash).collect();
            stored.sort();
            stored.dedup();
            let tokens = |blocks: usize| blocks as u64 * u64::from(BLOCK_TOKENS);
            (tokens(endpoint.assumed.len()), tokens(stored.len()))
        })
    }

    pub(crate) fn warm_tokens(&self, slot: u32, now: Instant) -> u64 {
        let width = self.limits.warm_window.as_micros() as u64 / 45;
        let bucket = |at: Instant| at.as_micros() / width;
        self.endpoints.get(&slot).map_or(0, |endpoint| {
            let held = endpoint.blocks.values().filter_map(|held| held.warm);
            let warm = held.chain(endpoint.lost.iter().copied());
            warm.filter(|at| bucket(*at) + 45 > bucket(now)).count() as u64
                * u64::from(BLOCK_TOKENS)
        })
    }

    pub(crate) fn entries(&self) -> usize {
        self.endpoints.values().map(|endpoint| endpoint.blocks.len()).sum()
    }

    fn begin(&mut self, slot: u32, cache: CacheSpec, precise: bool) {
        self.joined += 1;
        let (assumed, names, removed) = (Vec::new(), BTreeMap::new(), VecDeque::new());
        let (blocks, lost) = (BTreeMap::new(), Vec::new());
        self.endpoints.insert(
            slot,
            Endpoint { cache, assumed, names, removed, blocks, lost, precise, joined: self.joined },
        );
    }

    /// An engine's first store ends all estimates.
    fn event(&mut self, slot: u32) -> Option<&mut Endpoint> {
        let endpoint = self.endpoints.get(&slot)?;
        if !endpoint.precise {
            self.begin(slot, endpoint.cache, true);
        }
        self.endpoints.get_mut(&slot)
    }

    fn expire(&mut self, now: Instant) {
        for (due, slot, joined, path, stamp) in std::mem::take(&mut self.unconfirmed) {
            if due > now {
                self.unconfirmed.push((due, slot, joined, path, stamp));
            } else if let Some(endpoint) =
                self.endpoints.get_mut(&slot).filter(|e| e.joined == joined)
            {
                endpoint.forget(&chain(&path), |held, stored| held.used == stamp && !stored);
            }
        }
    }
}

impl Endpoint {
    fn holds(&self, hash: BlockHash) -> bool {
        self.blocks.contains_key(&hash)
    }

    fn stored(&self, hash: BlockHash) -> bool {
        self.names.values().any(|(named, _)| *named == hash)
    }

    fn stored_in(&self, hash: BlockHash, tier: Tier) -> bool {
        self.names.values().any(|(named, tiers)| *named == hash && tiers.contains(&tier))
    }

    /// The nearest tier of a block.
    fn tier(&self, hash: BlockHash) -> Tier {
        let near = |tier: &Tier| self.stored_in(hash, *tier);
        if self.assumed.contains(&hash) {
            Tier::Gpu
        } else {
            Tier::ALL.into_iter().find(near).expect("it is held")
        }
    }

    fn touch(&mut self, hash: BlockHash, used: BlockUse) {
        let warm = (!self.precise || self.stored(hash)).then_some(used.now);
        let held = self.blocks.entry(hash).or_insert(Held { used: 0, computed: false, warm: None });
        held.used = used.stamp;
        held.computed |= used.computed;
        held.warm = warm;
    }

    fn record_use(&mut self, chain: &[BlockHash], used: BlockUse) {
        let mut blocks = chain.to_vec();
        if self.cache.order == CacheEvictionOrder::TailFirst {
            blocks.reverse();
        }
        for hash in blocks {
            self.touch(hash, used);
            self.assumed.retain(|held| *held != hash);
            self.assumed.push(hash);
        }
        self.fit();
    }

    fn fit(&mut self) {
        while self.assumed.len() as u64 * u64::from(BLOCK_TOKENS) > u64::from(self.cache.capacity) {
            self.unassume(self.assumed[0]);
        }
    }

    fn unassume(&mut self, hash: BlockHash) {
        self.assumed.retain(|held| *held != hash);
        if !self.stored(hash) {
            self.blocks.remove(&hash);
        }
    }

    fn forget(&mut self, chain: &[BlockHash], when: impl Fn(Held, bool) -> bool) {
        for hash in chain {
            let held = self.blocks.get(hash).filter(|_| self.assumed.contains(hash));
            if held.is_some_and(|held| when(*held, self.stored(*hash))) {
                self.unassume(*hash);
            }
        }
    }

    fn forget_unused_since(&mut self, stamp: u64) {
        while let Some(hash) = self.assumed.first().copied() {
            if self.blocks[&hash].used > stamp {
                return;
            }
            self.lost.extend(self.blocks.get_mut(&hash).and_then(|held| held.warm.take()));
            self.unassume(hash);
        }
    }

    fn unname(&mut self, name: EngineHash, tier: Tier) {
        let Some((hash, tiers)) = self.names.get_mut(&name) else { return };
        let hash = *hash;
        if !tiers.remove(&tier) {
            return;
        }
        if tiers.is_empty() {
            self.names.remove(&name);
        }
        if tier == Tier::Gpu && !self.stored_in(hash, tier) {
            self.assumed.retain(|held| *held != hash);
        }
        if !self.stored(hash) && !self.assumed.contains(&hash) {
            self.blocks.remove(&hash);
        }
    }

    fn remove(&mut self, name: EngineHash, tier: Tier) {
        if let Some((hash, _)) = self.names.get(&name).filter(|(_, tiers)| tiers.contains(&tier)) {
            self.removed.push_back((name, *hash));
            if self.removed.len() > 64 {
                self.removed.pop_front();
            }
        }
        self.unname(name, tier);
    }

    fn store(&mut self, name: EngineHash, hash: BlockHash, tier: Tier, used: BlockUse) {
        match self.names.get_mut(&name) {
            Some((named, tiers)) if *named == hash => {
                if !tiers.insert(tier) {
                    return;
                }
            }
            _ => {
                Tier::ALL.into_iter().for_each(|tier| self.unname(name, tier));
                self.names.insert(name, (hash, BTreeSet::from([tier])));
            }
        }
        self.touch(hash, used);
    }

    /// The block of that name, now or lately.
    fn named(&self, name: EngineHash) -> Option<BlockHash> {
        let removed = || self.removed.iter().rev().find(|(removed, _)| *removed == name);
        let now = self.names.get(&name).map(|(hash, _)| *hash);
        now.or_else(|| removed().map(|(_, hash)| *hash))
    }
}

/// The index and its reference model.
#[derive(Debug)]
pub(crate) struct Pair {
    seed: u64,
    pub(crate) index: PrefixIndex,
    pub(crate) model: Model,
    pub(crate) now: Instant,
    stamps: [u64; ENDPOINTS as usize],
    pub(crate) compared: u64,
}

impl Pair {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_bytes(seed, usize::MAX)
    }

    /// An index with little memory is only checked against its own invariants.
    pub(crate) fn with_bytes(seed: u64, bytes: usize) -> Self {
        let mut limits = IndexLimits::default();
        limits.warm_window = Duration::from_secs(90);
        limits.bytes = bytes;
        Self {
            seed,
            index: PrefixIndex::new(seed, limits.clone()),
            model: Model::new(limits),
            now: Instant::ORIGIN,
            stamps: [0; ENDPOINTS as usize],
            compared: 0,
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let (index, model, now) = (&mut self.index, &mut self.model, self.now);
        let limited = model.limits.bytes != usize::MAX;
        let mut stamp = |slot: u32| {
            self.stamps[slot as usize] += 1;
            BlockUse {
                stamp: self.stamps[slot as usize],
                block_tokens: BLOCK_TOKENS,
                now,
                computed: false,
            }
        };
        match op {
            Op::Join(slot, cache) => {
                let joined = index.join(*slot, *cache);
                assert!(joined.is_ok() || limited, "few endpoints");
                model.begin(*slot, *cache, false);
            }
            Op::Resize(slot, cache) => {
                index.resize(*slot, *cache);
                if let Some(endpoint) = model.endpoints.get_mut(slot) {
                    endpoint.cache = *cache;
                    endpoint.fit();
                }
            }
            Op::Restart(slot, cache) => {
                index.restart(*slot, *cache);
                if let Some(precise) = model.endpoints.get(slot).map(|endpoint| endpoint.precise) {
                    model.begin(*slot, *cache, precise);
                }
            }
            Op::Leave(slot) => {
                index.leave(*slot);
                model.endpoints.remove(slot);
            }
            Op::Clear(slot) => {
                index.clear(*slot);
                if let Some((cache, precise)) =
                    model.endpoints.get(slot).map(|e| (e.cache, e.precise))
                {
                    model.begin(*slot, cache, precise);
                }
            }
            Op::Assume(slot, path, computed) => {
                let used = BlockUse { computed: *computed, ..stamp(*slot) };
                index.record_use(*slot, &chain(path), used);
                if let Some(endpoint) = model.endpoints.get_mut(slot) {
                    endpoint.record_use(&chain(path), used);
                }
            }
            Op::ForgetUse(slot, path, back) => {
                let stamp = self.stamps[*slot as usize].saturating_sub(*back);
                index.forget_use(*slot, &chain(path), stamp);
                if let Some(endpoint) = model.endpoints.get_mut(slot) {
                    endpoint.forget(&chain(path), |held, _| held.used == stamp && !held.computed);
                }
            }
            Op::ForgetUnusedSince(slot, back) => {
                let stamp = self.stamps[*slot as usize].saturating_sub(*back);
                index.forget_unused_since(*slot, stamp);
                if let Some(endpoint) = model.endpoints.get_mut(slot) {
                    endpoint.forget_unused_since(stamp);
                }
            }
            Op::ExpectConfirmation(slot, path, back) => {
                let stamp = self.stamps[*slot as usize].saturating_sub(*back);
                index.expect_confirmation(*slot, chain(path), stamp, now);
                if let Some(joined) = model.endpoints.get(slot).map(|endpoint| endpoint.joined) {
                    let due = now + model.limits.confirm_within;
                    model.unconfirmed.push((due, *slot, joined, path.clone(), stamp));
                }
            }
            Op::Store(slot, path, from, dialect, tier) => {
                let chain = chain(path);
                let from = (*from).min(chain.len());
                let part = &chain[from..];
                let used = BlockUse { computed: true, ..stamp(*slot) };
                let parent =
                    from.checked_sub(1).map(|at| (names(*dialect, &chain[at..from])[0], chain[at]));
                // A block has one predecessor: where the name means another block, there is no such
                // event.
                if parent
                    .is_some_and(|(name, hash)| index.named(*slot, name).is_some_and(|h| h != hash))
                {
                    return;
                }
                let names = names(*dialect, part);
                let done =
                    index.store(*slot, parent.map(|(name, _)| name), &names, part, *tier, used);
                let known = |endpoint: &&mut Endpoint| match parent {
                    Some((name, hash)) => {
                        let there = endpoint.names.contains_key(&name);
                        let known = endpoint.named(name) == Some(hash);
                        assert!(done.is_err() || known || limited, "a parent out of nowhere");
                        assert!(done.is_ok() || !there || limited, "a parent that is there");
                        done.is_ok()
                    }
                    None => done == Ok(()),
                };
                let precise =
                    model.endpoints.get_mut(slot).is_some_and(|endpoint| known(&endpoint));
                if let Some(endpoint) = precise.then(|| model.event(*slot)).flatten() {
                    if let Some((name, hash)) =
                        parent.filter(|(name, _)| !endpoint.names.contains_key(name))
                    {
                        endpoint.store(name, hash, *tier, used);
                    }
                    names
                        .iter()
                        .zip(part)
                        .for_each(|(name, hash)| endpoint.store(*name, *hash, *tier, used));
                }
            }
            Op::Remove(slot, path, from, dialect, tier) => {
                let chain = chain(path);
                let names = names(*dialect, &chain[(*from).min(chain.len())..]);
                index.remove(*slot, &names, *tier);
                if let Some(endpoint) = model.endpoints.get_mut(slot) {
                    names.iter().for_each(|name| endpoint.remove(*name, *tier));
                }
            }
            Op::Revive => {
                let snapshot = index.snapshot(now);
                let restored =
                    PrefixIndex::restore(self.seed, model.limits.clone(), now, &snapshot);
                match restored {
                    Ok(restored) => {
                        // Ages beyond the warm window are not stored, so a restored snapshot is
                        // compared with a second one.
                        let second = restored.snapshot(now);
                        let again =
                            PrefixIndex::restore(self.seed, model.limits.clone(), now, &second);
                        assert!(
                            again.expect("it fits").snapshot(now) == second,
                            "written as it was read"
                        );
                        *index = restored;
                        model.endpoints.values_mut().for_each(|endpoint| endpoint.lost.clear());
                    }
                    Err(error) => assert!(limited && error == SnapshotError::TooLarge, "{error}"),
                }
            }
            Op::Wait(length) => {
                self.now = now + *length;
                index.expire(self.now);
                model.expire(self.now);
            }
        }
    }

    /// Compares all results for one prompt.
    pub(crate) fn compare(&mut self, path: &[u8]) -> Result<(), TestCaseError> {
        let chain = chain(path);
        // The deepest level that contains an endpoint is its own.
        let mut levels = [0; ENDPOINTS as usize];
        self.index.levels(&chain, |depth, endpoints| {
            for slot in endpoints.iter() {
                levels[slot as usize] = levels[slot as usize].max(depth);
            }
        });
        for slot in 0..ENDPOINTS {
            let expected = self.model.depth(slot, &chain);
            prop_assert_eq!(
                levels[slot as usize],
                expected,
                "level of endpoint {} for {:?}",
                slot,
                path
            );
            prop_assert_eq!(self.index.depth(slot, &chain), expected);
            let mut tiers = [0; 3];
            let endpoint = self.model.endpoints.get(&slot);
            chain[..expected as usize]
                .iter()
                .filter_map(|hash| Some(endpoint?.tier(*hash)))
                .for_each(|tier| tiers[tier as usize] += 1);
            prop_assert_eq!(self.index.tiers(slot, &chain, expected), tiers);
            prop_assert_eq!(self.index.tokens(slot), self.model.tokens(slot));
            prop_assert_eq!(
                self.index.warm_tokens(slot, self.now),
                self.model.warm_tokens(slot, self.now)
            );
            self.compared += 1;
        }
        prop_assert_eq!(self.index.len(), self.model.entries());
        Ok(())
    }
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(0u8..3, 0..12)
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..ENDPOINTS;
    let order =
        prop_oneof![Just(CacheEvictionOrder::TailFirst), Just(CacheEvictionOrder::HeadFirst)];
    let cache =
        || (0u32..300, order.clone()).prop_map(|(capacity, order)| CacheSpec { capacity, order });
    let dialect = || prop_oneof![1 => 0u64..3, 2 => Just(1u64)];
    let tier = || prop_oneof![5 => Just(Tier::Gpu), 1 => Just(Tier::Cpu), 1 => Just(Tier::Disk)];
    prop_oneof![
        2 => (slot(), cache()).prop_map(|(s, c)| Op::Join(s, c)),
        1 => (slot(), cache()).prop_map(|(s, c)| Op::Resize(s, c)),
        1 => slot().prop_map(Op::Leave),
        1 => slot().prop_map(Op::Clear),
        1 => (slot(), cache()).prop_map(|(s, c)| Op::Restart(s, c)),
        12 => (slot(), path(), any::<bool>()).prop_map(|(s, p, c)| Op::Assume(s, p, c)),
        3 => (slot(), path(), 0u64..4).prop_map(|(s, p, b)| Op::ForgetUse(s, p, b)),
        1 => (slot(), 0u64..8).prop_map(|(s, b)| Op::ForgetUnusedSince(s, b)),
        3 => (slot(), path(), 0u64..3).prop_map(|(s, p, b)| Op::ExpectConfirmation(s, p, b)),
        16 => (slot(), path(), 0usize..8, dialect(), tier()).prop_map(|(s, p, f, d, t)| Op::Store(s, p, f, d, t)),
        10 => (slot(), path(), 0usize..12, dialect(), tier()).prop_map(|(s, p, f, d, t)| Op::Remove(s, p, f, d, t)),
        1 => Just(Op::Revive),
        4 => (0u64..40_000).prop_map(|ms| Op::Wait(Duration::from_millis(ms))),
    ]
}
