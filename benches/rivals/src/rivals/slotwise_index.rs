//! Ours: `slotwise::prefix::PrefixIndex`.

use std::hint::black_box;
use std::num::NonZeroU32;

use slotwise::prefix::internals::IndexInternals as _;
use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, Namespace, PrefixIndex, PromptHasher, Tier,
};

use crate::index::{Applied, Index};
use crate::workload::{BLOCK, Event};

/// The index that slotwise's scheduler uses, with the hasher that it uses.
#[derive(Debug)]
pub struct Slotwise {
    index: PrefixIndex,
    hasher: PromptHasher,
    stamp: u64,
}

/// An event as the scheduler hands it on, once it has hashed the tokens.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Blocks that follow `parent`.
    Store { slot: u32, parent: Option<EngineHash>, names: Vec<EngineHash>, chain: Vec<BlockHash> },
    /// Blocks that are gone.
    Remove { slot: u32, names: Vec<EngineHash> },
    /// Everything is gone.
    Clear { slot: u32 },
}

impl Slotwise {
    /// A use of blocks after all that were before it.
    fn use_now(&mut self) -> BlockUse {
        self.stamp += 1;
        self.last_use()
    }

    fn last_use(&self) -> BlockUse {
        let now = slotwise::Instant::from_micros(self.stamp);
        BlockUse { stamp: self.stamp, block_tokens: BLOCK as u32, now, computed: true }
    }

    /// The blocks of a text, 64 bytes each.
    pub fn text_query(&self, text: &str) -> Vec<BlockHash> {
        let mut chain = Vec::new();
        self.hasher.text(Namespace::new(MODEL), text.as_bytes(), BLOCK_SIZE, usize::MAX, &mut chain);
        chain
    }

    /// A request leaves these blocks on the endpoint.
    pub fn assume(&mut self, slot: u32, chain: &[BlockHash]) {
        let used = self.use_now();
        self.index.record_use(slot, chain, used);
    }
}

impl Index for Slotwise {
    const NAME: &'static str = "slotwise";
    type Query = Vec<BlockHash>;
    type Event = Prepared;
    type Scratch = ();

    fn new(endpoints: u32) -> Self {
        let mut limits = IndexLimits::default();
        limits.bytes = usize::MAX / 2;
        let mut index = PrefixIndex::new(SEED, limits);
        for slot in 0..endpoints {
            index
                .join(slot, CacheSpec { capacity: u32::MAX, ..CacheSpec::default() })
                .expect("the limit is 65,536");
        }
        Self { index, hasher: PromptHasher::new(SEED), stamp: 0 }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        let mut chain = Vec::new();
        self.hasher.tokens(Namespace::new(MODEL), tokens, BLOCK_SIZE, usize::MAX, &mut chain);
        chain
    }

    fn event(&self, event: &Event<'_>) -> Prepared {
        let named = |names: &[u64]| names.iter().map(|name| EngineHash(*name)).collect();
        match *event {
            Event::Store { slot, prompt, from, to } => Prepared::Store {
                slot,
                parent: from.checked_sub(1).map(|at| EngineHash(prompt.names[at])),
                names: named(&prompt.names[from..to]),
                chain: self.query(&prompt.tokens[..to * BLOCK]).split_off(from),
            },
            Event::Remove { slot, names } => Prepared::Remove { slot, names: named(names) },
        }
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        let mut found = 0;
        self.index.levels(query, |_, endpoints| found += endpoints.len());
        found
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        self.index.levels(query, |depth, endpoints| {
            endpoints.iter().for_each(|slot| {
                let deepest = &mut depths[slot as usize];
                *deepest = depth.max(*deepest);
            });
        });
    }

    fn apply(&mut self, events: Vec<Prepared>) -> Applied {
        Applied::each(&events, |event| match event {
            Prepared::Store { slot, parent, names, chain } => {
                // The scheduler must know the parent's hash before it can hash what follows.
                black_box(parent.and_then(|parent| self.index.named(*slot, parent)));
                // As in the scheduler: a use is a request's, and an event is none.
                let used = self.last_use();
                self.index.store(*slot, *parent, names, chain, Tier::Gpu, used).is_ok()
            }
            Prepared::Remove { slot, names } => {
                self.index.remove(*slot, names, Tier::Gpu);
                true
            }
            Prepared::Clear { slot } => {
                self.index.clear(*slot);
                true
            }
        })
    }
}

const SEED: u64 = 7;
const MODEL: &str = "model";
const BLOCK_SIZE: NonZeroU32 = NonZeroU32::new(BLOCK as u32).expect("not zero");
