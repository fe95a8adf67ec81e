//! Ours between threads: `slotwise::prefix::SharedPrefixIndex`, and `MirroredPrefixIndex`, whose
//! readers never wait.

use std::hint::black_box;
use std::sync::Arc;

use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, MirroredPrefixIndex, PrefixIndex,
    SharedPrefixIndex, Tier,
};

use super::slotwise_index::{Prepared, Slotwise};
use crate::index::{Applied, Index, Reader};
use crate::workload::{BLOCK, Event};

/// One copy of the index, which readers leave for a step of an event.
pub type SlotwiseShared = BetweenThreads<SharedPrefixIndex>;
/// Two copies of the index.
pub type SlotwiseMirrored = BetweenThreads<MirroredPrefixIndex>;

/// An index that threads share.
#[derive(Debug)]
pub struct BetweenThreads<I> {
    index: Arc<I>,
    /// Hashes prompts, and holds nothing.
    prepares: Slotwise,
    stamp: u64,
}

/// The methods of both.
pub trait Shared: Send + Sync + 'static {
    const NAME: &'static str;
    fn new(seed: u64, limits: IndexLimits) -> Self;
    fn join(&self, slot: u32, cache: CacheSpec);
    fn read<T>(&self, look: impl FnOnce(&PrefixIndex) -> T) -> T;
    fn store(
        &self,
        slot: u32,
        parent: Option<EngineHash>,
        names: &[EngineHash],
        chain: &[BlockHash],
        used: BlockUse,
    ) -> bool;
    fn remove(&self, slot: u32, names: &[EngineHash]);
    fn clear(&self, slot: u32);
}

macro_rules! shared {
    ($index:ty, $name:literal) => {
        impl Shared for $index {
            const NAME: &'static str = $name;
            fn new(seed: u64, limits: IndexLimits) -> Self {
                Self::new(seed, limits)
            }
            fn join(&self, slot: u32, cache: CacheSpec) {
                self.join(slot, cache).expect("the limit is 65,536");
            }
            fn read<T>(&self, look: impl FnOnce(&PrefixIndex) -> T) -> T {
                self.read(look)
            }
            fn store(
                &self,
                slot: u32,
                parent: Option<EngineHash>,
                names: &[EngineHash],
                chain: &[BlockHash],
                used: BlockUse,
            ) -> bool {
                self.store(slot, parent, names, chain, Tier::Gpu, used).is_ok()
            }
            fn remove(&self, slot: u32, names: &[EngineHash]) {
                self.remove(slot, names, Tier::Gpu);
            }
            fn clear(&self, slot: u32) {
                self.clear(slot);
            }
        }
    };
}

shared!(SharedPrefixIndex, "slotwise, shared");
shared!(MirroredPrefixIndex, "slotwise, mirrored");

impl<I: Shared> Index for BetweenThreads<I> {
    const NAME: &'static str = I::NAME;
    type Query = Vec<BlockHash>;
    type Event = Prepared;
    type Scratch = ();

    fn new(endpoints: u32) -> Self {
        let mut limits = IndexLimits::default();
        limits.bytes = usize::MAX / 2;
        let index = I::new(7, limits);
        for slot in 0..endpoints {
            index.join(slot, CacheSpec { capacity: u32::MAX, ..CacheSpec::default() });
        }
        Self { index: Arc::new(index), prepares: Slotwise::new(0), stamp: 0 }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        self.prepares.query(tokens)
    }

    fn event(&self, event: &Event<'_>) -> Prepared {
        self.prepares.event(event)
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        found(&*self.index, query)
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        self.index.read(|index| {
            index.levels(query, |depth, endpoints| {
                endpoints.iter().for_each(|slot| {
                    let deepest = &mut depths[slot as usize];
                    *deepest = depth.max(*deepest);
                });
            });
        });
    }

    fn apply(&mut self, events: Vec<Prepared>) -> Applied {
        Applied::each(&events, |event| match event {
            Prepared::Store { slot, parent, names, chain } => {
                // As for the index alone: the hash must be known before what follows can be hashed.
                black_box(parent.and_then(|parent| self.index.read(|index| index.named(*slot, parent))));
                self.stamp += 1;
                let now = slotwise::Instant::from_micros(self.stamp);
                let used = BlockUse { stamp: self.stamp, block_tokens: BLOCK as u32, now, computed: true };
                self.index.store(*slot, *parent, names, chain, used)
            }
            Prepared::Remove { slot, names } => {
                self.index.remove(*slot, names);
                true
            }
            Prepared::Clear { slot } => {
                self.index.clear(*slot);
                true
            }
        })
    }

    fn reader(&self) -> Option<Reader<Self>> {
        let index = Arc::clone(&self.index);
        Some(Box::new(move |query| found(&*index, query)))
    }
}

fn found(index: &impl Shared, chain: &[BlockHash]) -> usize {
    let mut found = 0;
    index.read(|index| index.levels(chain, |_, endpoints| found += endpoints.len()));
    found
}
