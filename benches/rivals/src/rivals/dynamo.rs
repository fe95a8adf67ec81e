//! Dynamo's `RadixTree`: single-threaded, exact for what it keeps. Also the events that all of
//! Dynamo's indexes take.

use dynamo_kv_router::RadixTree;
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData,
    KvCacheStoreData, KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent,
    compute_block_hash_for_seq,
};

use crate::index::{Applied, Index};
use crate::workload::{BLOCK, Event};

/// Dynamo's tree without locks.
pub struct Radix(RadixTree);

impl Index for Radix {
    const NAME: &'static str = "dynamo radix";
    type Query = Vec<LocalBlockHash>;
    type Event = RouterEvent;
    type Scratch = ();

    fn new(_: u32) -> Self {
        Self(RadixTree::new())
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        local_hashes(tokens)
    }

    fn event(&self, event: &Event<'_>) -> RouterEvent {
        router_event(event)
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        self.0.find_matches(std::mem::take(query), false).scores.len()
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        write_down(&self.0.find_matches(std::mem::take(query), false), depths);
    }

    fn apply(&mut self, events: Vec<RouterEvent>) -> Applied {
        Applied::each(events, |event| self.0.apply_event(event).is_ok())
    }
}

/// Position-blind hashes of the blocks, which is what lookups take.
pub(super) fn local_hashes(tokens: &[u32]) -> Vec<LocalBlockHash> {
    compute_block_hash_for_seq(tokens, BLOCK as u32, BlockHashOptions::default())
}

/// An event as Dynamo's indexes take it.
pub(super) fn router_event(event: &Event<'_>) -> RouterEvent {
    let (slot, data) = match *event {
        Event::Store { slot, prompt, from, to } => {
            let hashes = local_hashes(&prompt.tokens[from * BLOCK..to * BLOCK]);
            let block = |(name, tokens_hash): (&u64, LocalBlockHash)| KvCacheStoredBlockData {
                block_hash: ExternalSequenceBlockHash(*name),
                tokens_hash,
                mm_extra_info: None,
            };
            let data = KvCacheStoreData {
                parent_hash: from.checked_sub(1).map(|at| ExternalSequenceBlockHash(prompt.names[at])),
                start_position: None,
                blocks: prompt.names[from..to].iter().zip(hashes).map(block).collect(),
            };
            (slot, KvCacheEventData::Stored(data))
        }
        Event::Remove { slot, names } => {
            let block_hashes = names.iter().map(|name| ExternalSequenceBlockHash(*name)).collect();
            (slot, KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }))
        }
    };
    RouterEvent::new(u64::from(slot), KvCacheEvent { event_id: 0, data, dp_rank: 0 })
}

/// Each endpoint's depth out of Dynamo's map.
pub(super) fn write_down(scores: &OverlapScores, depths: &mut [u32]) {
    for (worker, depth) in &scores.scores {
        depths[worker.worker_id as usize] = *depth;
    }
}
