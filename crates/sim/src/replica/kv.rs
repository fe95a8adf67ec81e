//! A replica's KV memory: cached prompt blocks that live requests share, and private tokens.
//!
//! Blocks are those of the workload (64 or 512 tokens); private memory is counted in vLLM's pages
//! of 16 tokens. A block without users stays cached until its memory is needed. Blocks are evicted
//! least recently used first, and the tail of a prompt before its head, because a request frees its
//! blocks in reverse.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use slotwise::BlockHash;

/// Tokens in a page of private memory.
const PAGE: u32 = 16;

/// The KV memory of one replica.
#[derive(Debug)]
pub(super) struct KvMemory {
    capacity: u64,
    block_tokens: u64,
    cached: HashMap<BlockHash, Cached>,
    /// Cached blocks without users, by the time they were freed.
    evictable: BTreeMap<u64, BlockHash>,
    /// Tokens of blocks in use, and of private pages.
    used: u64,
    clock: u64,
    /// Blocks that were evicted since the last [`take_evicted`](Self::take_evicted).
    evicted: Vec<BlockHash>,
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    users: u32,
    freed_at: u64,
}

impl KvMemory {
    /// Room for `capacity` tokens, in blocks of `block_tokens`.
    pub(super) fn new(capacity: u32, block_tokens: u32) -> Self {
        Self {
            capacity: u64::from(capacity),
            block_tokens: u64::from(block_tokens),
            cached: HashMap::new(),
            evictable: BTreeMap::new(),
            used: 0,
            clock: 0,
            evicted: Vec::new(),
        }
    }

    /// How many of `blocks`, from the first on, are cached.
    pub(super) fn cached_prefix(&self, blocks: &[BlockHash]) -> usize {
        blocks.iter().take_while(|hash| self.cached.contains_key(*hash)).count()
    }

    /// Uses the cached `blocks`, and takes `pages` private pages beside them, if at least `reserve`
    /// tokens stay free.
    pub(super) fn admit(&mut self, blocks: &[BlockHash], pages: u32, reserve: u64) -> bool {
        let revived = blocks
            .iter()
            .filter(|hash| self.cached.get(*hash).is_some_and(|c| c.users == 0))
            .count();
        let needed = revived as u64 * self.block_tokens + u64::from(pages) * u64::from(PAGE);
        if self.used + needed + reserve > self.capacity {
            return false;
        }
        for hash in blocks {
            self.share(*hash);
        }
        self.take_pages(pages)
    }

    /// Takes private pages; whether there was room.
    pub(super) fn take_pages(&mut self, pages: u32) -> bool {
        let needed = u64::from(pages) * u64::from(PAGE);
        if self.used + needed > self.capacity {
            return false;
        }
        self.used += needed;
        self.evict_to_fit();
        true
    }

    /// Gives private pages back.
    pub(super) fn give_pages(&mut self, pages: u32) {
        self.used -= u64::from(pages) * u64::from(PAGE);
    }

    /// Makes a block that was just computed in private pages shareable, and uses it; the caller
    /// gives the pages back.
    ///
    /// If another request has cached the same block meanwhile, that one is shared. (vLLM would keep
    /// both copies.)
    pub(super) fn publish(&mut self, hash: BlockHash) {
        self.cached.entry(hash).or_insert_with(|| {
            self.used += self.block_tokens;
            Cached { users: 0, freed_at: 0 }
        });
        let cached = self.cached.get_mut(&hash).expect("just entered");
        if cached.users == 0 && cached.freed_at > 0 {
            self.share(hash);
        } else {
            cached.users += 1;
        }
    }

    /// Stops using `blocks`, the last one first, so that it is the first to be evicted.
    pub(super) fn release(&mut self, blocks: &[BlockHash]) {
        for hash in blocks.iter().rev() {
            let Some(cached) = self.cached.get_mut(hash) else { continue };
            cached.users -= 1;
            if cached.users == 0 {
                self.clock += 1;
                cached.freed_at = self.clock;
                self.evictable.insert(self.clock, *hash);
                self.used -= self.block_tokens;
            }
        }
    }

    /// Share of the memory that live requests use, as `vllm:kv_cache_usage_perc` has it.
    pub(super) fn usage(&self) -> f64 {
        self.used as f64 / self.capacity as f64
    }

    /// Tokens that fit.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Tokens of live requests.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Blocks that were evicted since the last call, in order.
    pub(super) fn take_evicted(&mut self) -> Vec<BlockHash> {
        std::mem::take(&mut self.evicted)
    }

    fn share(&mut self, hash: BlockHash) {
        let cached = self.cached.get_mut(&hash).expect("only cached blocks are shared");
        if cached.users == 0 {
            self.evictable.remove(&cached.freed_at);
            cached.freed_at = 0;
            self.used += self.block_tokens;
        }
        cached.users += 1;
    }

    fn evict_to_fit(&mut self) {
        while self.used + self.evictable.len() as u64 * self.block_tokens > self.capacity {
            let Some((_, hash)) = self.evictable.pop_first() else { return };
            self.cached.remove(&hash);
            self.evicted.push(hash);
        }
    }
}

/// Private pages that hold `tokens`.
pub(super) fn pages(tokens: u32) -> u32 {
    tokens.div_ceil(PAGE)
}
