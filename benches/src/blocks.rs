//! A prefix index that engines keep up to date, and their events of one block.

use slotwise::prefix::{
    BlockHash, BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, Tier,
};
use slotwise::{Instant, Rng};

/// An index of 512 prompts of 128 blocks, which 64 endpoints hold in turn.
#[derive(Debug)]
pub struct HeldPrompts {
    index: PrefixIndex,
    /// The blocks of each prompt, first one first.
    prompts: Vec<Vec<u64>>,
    rng: Rng,
    stamp: u64,
    /// Buffers of an event, kept so that counts are those of the index.
    names: Vec<EngineHash>,
    chain: Vec<BlockHash>,
}

const ENDPOINTS: usize = 64;
const PROMPTS: usize = 512;
const LENGTH: usize = 128;

impl Default for HeldPrompts {
    fn default() -> Self {
        let index = PrefixIndex::new(1, IndexLimits::default());
        let (names, chain) = (Vec::new(), Vec::new());
        let mut held =
            Self { index, prompts: Vec::new(), rng: Rng::new(4), stamp: 0, names, chain };
        for slot in 0..ENDPOINTS as u32 {
            let cache = CacheSpec { capacity: u32::MAX, ..CacheSpec::default() };
            held.index.join(slot, cache).expect("a free slot");
        }
        for at in 0..PROMPTS {
            let blocks: Vec<u64> = (0..LENGTH).map(|_| held.rng.next_u64()).collect();
            held.store(at, None, &blocks);
            held.prompts.push(blocks);
        }
        held
    }
}

impl HeldPrompts {
    /// An engine stores the first block of a prompt that no endpoint holds.
    pub fn store_new(&mut self, at: usize) {
        let block = self.rng.next_u64();
        self.store(at, None, &[block]);
    }

    /// An engine stores a block behind a prompt.
    pub fn extend(&mut self, at: usize) {
        let (at, block) = (at % PROMPTS, self.rng.next_u64());
        let parent = self.prompts[at].last().copied();
        self.store(at, parent, &[block]);
        self.prompts[at].push(block);
    }

    /// An engine removes the last block of a prompt.
    pub fn remove_last(&mut self, at: usize) {
        let at = at % PROMPTS;
        let block = self.prompts[at].pop().expect("prompts are longer than rounds");
        self.remove(at, &[block]);
    }

    /// An engine removes a block at a random place of a prompt.
    pub fn remove_any(&mut self, at: usize) {
        let at = at % PROMPTS;
        let place = self.rng.below(self.prompts[at].len() as u64) as usize;
        let block = self.prompts[at].remove(place);
        self.remove(at, &[block]);
    }

    /// An engine removes a prompt, last block first.
    pub fn remove_whole(&mut self, at: usize) {
        let mut blocks = std::mem::take(&mut self.prompts[at]);
        blocks.reverse();
        self.remove(at, &blocks);
    }

    fn store(&mut self, at: usize, parent: Option<u64>, blocks: &[u64]) {
        self.stamp += 1;
        let used = BlockUse {
            stamp: self.stamp,
            block_tokens: 16,
            now: Instant::from_micros(self.stamp),
            computed: true,
        };
        self.name(blocks);
        self.chain.clear();
        self.chain.extend(blocks.iter().copied().map(BlockHash));
        let (slot, parent) = ((at % ENDPOINTS) as u32, parent.map(EngineHash));
        let Self { index, names, chain, .. } = self;
        index.store(slot, parent, names, chain, Tier::Gpu, used).expect("there is room");
    }

    fn remove(&mut self, at: usize, blocks: &[u64]) {
        self.name(blocks);
        self.index.remove((at % ENDPOINTS) as u32, &self.names, Tier::Gpu);
    }

    /// Fills the buffer of names.
    fn name(&mut self, blocks: &[u64]) {
        self.names.clear();
        self.names.extend(blocks.iter().copied().map(EngineHash));
    }
}
