//! Threads that share an index see a prefix of the writers' changes, and all of them in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, MirroredPrefixIndex, PrefixIndex,
    SharedPrefixIndex, StoreError, Tier,
};
use slotwise::{Instant, Rng};

#[derive(Clone, Debug)]
enum Op {
    Store(u32, usize, usize),
    Remove(u32, usize, usize),
    Assume(u32, usize, u64),
    Forget(u32, usize, u64),
    Resize(u32, u32),
    Clear(u32),
    Leave(u32),
}

/// Applies an operation by the methods that all indexes have.
macro_rules! apply {
    ($index:expr, $op:expr) => {
        match *$op {
            Op::Store(slot, prompt, blocks) => {
                let chain = &chain(prompt)[..blocks];
                let stored = $index.store(slot, None, &names(chain), chain, Tier::Gpu, used(1));
                assert_eq!(stored, Ok(()));
            }
            Op::Remove(slot, prompt, from) => {
                let gone: Vec<_> = names(&chain(prompt)[from..]).into_iter().rev().collect();
                $index.remove(slot, &gone, Tier::Gpu);
            }
            Op::Assume(slot, prompt, stamp) => $index.record_use(slot, &chain(prompt), used(stamp)),
            Op::Forget(slot, prompt, stamp) => $index.forget_use(slot, &chain(prompt), stamp),
            Op::Resize(slot, capacity) => {
                $index.resize(slot, CacheSpec { capacity, ..CacheSpec::default() })
            }
            Op::Clear(slot) => $index.clear(slot),
            Op::Leave(slot) => {
                $index.leave(slot);
                $index.join(slot, CACHE).expect("few");
            }
        }
    };
}

/// An index between threads.
trait BetweenThreads: Sync {
    fn new() -> Self;
    fn apply(&self, op: &Op);
    fn look(&self, look: impl FnOnce(&PrefixIndex));
    fn into_inner(self) -> PrefixIndex;
}

macro_rules! between_threads {
    ($index:ty) => {
        impl BetweenThreads for $index {
            fn new() -> Self {
                let index = Self::new(3, IndexLimits::default());
                (0..SLOTS).for_each(|slot| index.join(slot, CACHE).expect("few"));
                index
            }
            fn apply(&self, op: &Op) {
                apply!(self, op);
            }
            fn look(&self, look: impl FnOnce(&PrefixIndex)) {
                self.read(look);
            }
            fn into_inner(self) -> PrefixIndex {
                self.into_inner()
            }
        }
    };
}

between_threads!(SharedPrefixIndex);
between_threads!(MirroredPrefixIndex);

#[test]
fn a_shared_index_keeps_what_two_writers_did_and_makes_sense_on_the_way() {
    two_writers_and_two_readers::<SharedPrefixIndex>();
}

#[test]
fn so_does_a_mirrored_one() {
    two_writers_and_two_readers::<MirroredPrefixIndex>();
}

fn two_writers_and_two_readers<I: BetweenThreads>() {
    let shared = I::new();
    let (over, all) = (AtomicBool::new(false), Barrier::new(4));
    let done = std::thread::scope(|threads| {
        let (shared, over, all) = (&shared, &over, &all);
        let writers = [0, 1].map(|writer| {
            threads.spawn(move || {
                let (mut rng, mut done) = (Rng::new(writer), Vec::new());
                all.wait();
                while done.len() < OPERATIONS {
                    let op = draw(&mut rng, writer as u32, done.len() as u64);
                    shared.apply(&op);
                    done.push(op);
                }
                done
            })
        });
        for reader in [7, 8] {
            threads.spawn(move || {
                let mut rng = Rng::new(reader);
                all.wait();
                while !over.load(Ordering::Relaxed) {
                    let chain = chain(rng.next_u64() as usize % PROMPTS);
                    shared.look(|index| makes_sense(index, &chain));
                }
            });
        }
        let done = writers.map(|writer| writer.join().expect("writers do not panic"));
        over.store(true, Ordering::Relaxed);
        done
    });

    let alone = one_thread(done.iter().flatten());
    let shared = shared.into_inner();
    assert_eq!((shared.check(), alone.check()), (Ok(()), Ok(())));
    assert_eq!(shared.len(), alone.len());
    for slot in 0..SLOTS {
        assert_eq!(shared.tokens(slot), alone.tokens(slot));
        assert_eq!(shared.has_kv_events(slot), alone.has_kv_events(slot));
    }
    for chain in (0..PROMPTS).map(chain) {
        assert_eq!(held(&shared, &chain), held(&alone, &chain));
        makes_sense(&shared, &chain);
    }
}

/// The index after the same changes by one thread.
fn one_thread<'a>(ops: impl Iterator<Item = &'a Op>) -> PrefixIndex {
    let mut alone = PrefixIndex::new(3, IndexLimits::default());
    (0..SLOTS).for_each(|slot| alone.join(slot, CACHE).expect("few"));
    ops.for_each(|op| apply!(alone, op));
    alone
}

#[test]
fn both_copies_of_a_mirrored_index_equal_the_index_of_one_thread() {
    let mut rng = Rng::new(5);
    let ops: Vec<_> = (0..OPERATIONS).map(|at| draw(&mut rng, 0, at as u64)).collect();
    let alone = one_thread(ops.iter());
    // Each change exchanges the copies, so one more that changes nothing selects the other one.
    for more in [0, 1] {
        let mirrored = <MirroredPrefixIndex as BetweenThreads>::new();
        ops.iter().for_each(|op| mirrored.apply(op));
        (0..more).for_each(|_| mirrored.leave(SLOTS + 1));
        let copy = mirrored.into_inner();
        assert_eq!((copy.check(), copy.len()), (Ok(()), alone.len()));
        assert_eq!(copy.allocated(), alone.allocated(), "to the byte");
        for slot in 0..SLOTS {
            assert_eq!(copy.tokens(slot), alone.tokens(slot));
        }
        for chain in (0..PROMPTS).map(chain) {
            assert_eq!(held(&copy, &chain), held(&alone, &chain));
        }
    }
}

#[test]
fn readers_of_a_mirrored_index_see_whole_events() {
    let mirrored = <MirroredPrefixIndex as BetweenThreads>::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..OPERATIONS {
                mirrored.apply(&Op::Store(0, 0, BLOCKS));
                mirrored.apply(&Op::Remove(0, 0, 0));
            }
            over.store(true, Ordering::Relaxed);
        });
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let depth = mirrored.read(|index| index.depth(0, &chain(0)));
                assert!([0, BLOCKS as u32].contains(&depth), "{depth}");
            }
        });
    });
}

#[test]
fn an_event_without_room_changes_nothing_in_a_mirrored_index() {
    let mut limits = IndexLimits::default();
    limits.bytes = 200_000;
    let mirrored = MirroredPrefixIndex::new(0, limits);
    mirrored.join(0, CACHE).expect("few");
    let chain: Vec<_> = (1..100_000).map(BlockHash).collect();
    let stored = mirrored.store(0, None, &names(&chain), &chain, Tier::Gpu, used(1));
    assert_eq!(stored, Err(StoreError::Full));
    assert_eq!(mirrored.read(|index| (index.len(), index.check())), (0, Ok(())));
    let stored = mirrored.store(0, None, &names(&chain[..9]), &chain, Tier::Gpu, used(1));
    assert_eq!((stored, mirrored.read(PrefixIndex::len)), (Ok(()), 9));
}

#[test]
fn an_event_that_finds_no_room_keeps_what_came_first() {
    let mut limits = IndexLimits::default();
    limits.bytes = 200_000;
    let shared = SharedPrefixIndex::new(0, limits);
    shared.join(0, CACHE).expect("few");
    let chain: Vec<_> = (1..100_000).map(BlockHash).collect();
    let stored = shared.store(0, None, &names(&chain), &chain, Tier::Gpu, used(1));
    assert_eq!(stored, Err(StoreError::Full));
    let depth = shared.read(|index| index.depth(0, &chain)) as usize;
    assert!(
        0 < depth && shared.read(|index| index.len() == depth && index.check().is_ok()),
        "{depth}"
    );
    let unknown = Some(EngineHash(1));
    let stored = shared.store(0, unknown, &names(&chain), &chain, Tier::Gpu, used(1));
    assert_eq!(stored, Err(StoreError::UnknownParent));
    shared.leave(0);
    assert_eq!(shared.read(|index| (index.len(), index.check())), (0, Ok(())));
}

#[test]
fn assumptions_give_way_as_they_do_for_one_thread() {
    let mut limits = IndexLimits::default();
    limits.bytes = 300_000;
    let shared = SharedPrefixIndex::new(0, limits.clone());
    let mut alone = PrefixIndex::new(0, limits);
    let mut rng = Rng::new(1);
    for slot in 0..4 {
        shared.join(slot, CACHE).expect("few");
        alone.join(slot, CACHE).expect("few");
    }
    for stamp in 0..2_000 {
        let chain: Vec<_> = (0..30).map(|_| BlockHash(rng.next_u64())).collect();
        shared.record_use(stamp as u32 % 4, &chain, used(stamp));
        alone.record_use(stamp as u32 % 4, &chain, used(stamp));
        assert_eq!(shared.read(PrefixIndex::len), alone.len());
        assert_eq!(shared.read(PrefixIndex::allocated), alone.allocated());
    }
    assert!(alone.len() < 30 * 2_000 && shared.read(PrefixIndex::check).is_ok());
}

/// At any moment, levels and depths agree.
fn makes_sense(index: &PrefixIndex, chain: &[BlockHash]) {
    let mut deepest = BTreeMap::new();
    index.levels(chain, |depth, endpoints| {
        endpoints.iter().for_each(|slot| {
            let known = deepest.entry(slot).or_insert(0);
            *known = depth.max(*known);
        });
    });
    for slot in 0..SLOTS {
        let depth = index.depth(slot, chain);
        assert_eq!(deepest.get(&slot).copied().unwrap_or(0), depth);
        assert_eq!(index.tiers(slot, chain, depth), [depth, 0, 0]);
        let (assumed, stored) = index.tokens(slot);
        assert!(assumed + stored >= u64::from(depth) * 16);
    }
}

/// The holders of each block of a chain.
fn held(index: &PrefixIndex, chain: &[BlockHash]) -> BTreeSet<(usize, u32)> {
    let mut held = BTreeSet::new();
    index.holders(chain, |range, slots| {
        range.for_each(|at| held.extend(slots.iter().map(|slot| (at, slot))));
    });
    held
}

/// Each writer has its own endpoints, so that an endpoint's events are ordered.
fn draw(rng: &mut Rng, writer: u32, stamp: u64) -> Op {
    let mut any = |below: usize| rng.next_u64() as usize % below;
    let slot = 2 * any(SLOTS as usize / 2) as u32 + writer;
    let (prompt, at) = (any(PROMPTS), any(BLOCKS));
    match any(20) {
        0 => Op::Clear(slot),
        1 => Op::Leave(slot),
        2 => Op::Resize(slot, at as u32 * 64),
        3..8 => Op::Remove(slot, prompt, at),
        8..12 => Op::Assume(slot, prompt, stamp + 1),
        12 => Op::Forget(slot, prompt, stamp),
        _ => Op::Store(slot, prompt, at),
    }
}

/// Prompts in families of four, which share the first third.
fn chain(prompt: usize) -> Vec<BlockHash> {
    let family = |at: usize| if at < BLOCKS / 3 { prompt / 4 * 4 } else { prompt };
    (0..BLOCKS).map(|at| BlockHash(((family(at) + 1) * 10_000 + at) as u64)).collect()
}

fn names(chain: &[BlockHash]) -> Vec<EngineHash> {
    chain.iter().map(|hash| EngineHash(hash.0 + 1)).collect()
}

const fn used(stamp: u64) -> BlockUse {
    BlockUse { stamp, block_tokens: 16, now: Instant::ORIGIN, computed: true }
}

const CACHE: CacheSpec =
    CacheSpec { capacity: 20_000, order: slotwise::CacheEvictionOrder::TailFirst };
const SLOTS: u32 = 6;
const PROMPTS: usize = 12;
const BLOCKS: usize = 300;
/// Changes of each writer: thousands, so that readers see intermediate states.
const OPERATIONS: usize = 2_000;
