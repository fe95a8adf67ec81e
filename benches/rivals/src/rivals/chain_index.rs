//! SMG's `ChainIndex` of the crate `kv-index`, in shards of 1,024 endpoints, which is as many as
//! one of them takes.

use std::sync::Arc;

use kv_index::{
    ChainBlockMap, ContentHash, SequenceHash, ShardedChainIndex, StoredBlock, compute_request_content_hashes,
};

use crate::index::{Applied, Index, Reader};
use crate::workload::{BLOCK, Event};

/// One index up to 1,024 endpoints, then shards of it.
pub struct Chain {
    index: Arc<ShardedChainIndex>,
    /// Its id for each endpoint, and where that endpoint's blocks are.
    workers: Vec<(u32, ChainBlockMap)>,
}

/// An event as it takes it.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Blocks that follow `parent`.
    Store { slot: u32, parent: Option<SequenceHash>, blocks: Vec<StoredBlock> },
    /// Blocks that are gone.
    Remove { slot: u32, hashes: Vec<SequenceHash> },
}

impl Index for Chain {
    const NAME: &'static str = "kv-index chain";
    type Query = Vec<ContentHash>;
    type Event = Prepared;
    type Scratch = ();

    fn new(endpoints: u32) -> Self {
        let shards = endpoints.div_ceil(SHARD) as usize;
        let index = ShardedChainIndex::new(shards, endpoints.min(SHARD) as usize);
        let worker = |slot: u32| {
            let shard = (slot / SHARD) as usize;
            let id = index.intern_worker_in(shard, &slot.to_string()).expect("shards are as large as that");
            (id, ChainBlockMap::new())
        };
        let workers = (0..endpoints).map(worker).collect();
        Self { index: Arc::new(index), workers }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        compute_request_content_hashes(tokens, BLOCK)
    }

    fn event(&self, event: &Event<'_>) -> Prepared {
        match *event {
            Event::Store { slot, prompt, from, to } => {
                let hashes = self.query(&prompt.tokens[from * BLOCK..to * BLOCK]);
                let block = |(name, content_hash): (&u64, ContentHash)| StoredBlock {
                    seq_hash: SequenceHash(*name),
                    content_hash,
                };
                let parent = from.checked_sub(1).map(|at| SequenceHash(prompt.names[at]));
                let blocks = prompt.names[from..to].iter().zip(hashes).map(block).collect();
                Prepared::Store { slot, parent, blocks }
            }
            Event::Remove { slot, names } => {
                Prepared::Remove { slot, hashes: names.iter().map(|name| SequenceHash(*name)).collect() }
            }
        }
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        count(&self.index, query)
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        self.index.score_into(
            query,
            |hash| hash.0,
            false,
            |worker, depth| {
                let shard = ShardedChainIndex::shard_of(worker) as u32;
                depths[(shard * SHARD + ShardedChainIndex::local_id(worker)) as usize] = depth;
            },
        );
    }

    fn apply(&mut self, events: Vec<Prepared>) -> Applied {
        Applied::each(&events, |event| match event {
            Prepared::Store { slot, parent, blocks } => {
                let (worker, map) = &mut self.workers[*slot as usize];
                self.index.apply_stored(*worker, blocks, *parent, map).is_ok()
            }
            Prepared::Remove { slot, hashes } => {
                let (worker, map) = &mut self.workers[*slot as usize];
                self.index.apply_removed(*worker, hashes, map);
                true
            }
        })
    }

    fn reader(&self) -> Option<Reader<Self>> {
        let index = Arc::clone(&self.index);
        Some(Box::new(move |query| count(&index, query)))
    }
}

/// The lookup that allocates nothing.
fn count(index: &ShardedChainIndex, query: &[ContentHash]) -> usize {
    let mut found = 0;
    index.score_into(query, |hash| hash.0, false, |_, _| found += 1);
    found
}

/// Endpoints that one index takes.
const SHARD: u32 = 1_024;
