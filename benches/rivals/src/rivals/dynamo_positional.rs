//! Dynamo's `PositionalIndexer`, the "flash indexer": a map from position and block to holders,
//! searched in jumps.

use std::sync::Arc;

use dynamo_kv_router::indexer::SyncIndexer;
use dynamo_kv_router::indexer::positional::{LevelIndex, PositionalIndexer, SearchMode};
use dynamo_kv_router::protocols::{LocalBlockHash, RouterEvent, WorkerWithDpRank};
use rustc_hash::FxHashMap;

use super::dynamo::{local_hashes, router_event, write_down};
use crate::index::{Applied, Index, Reader};
use crate::workload::Event;

/// Dynamo's positional index, with the jumps that its documentation gives as an example.
pub struct Positional {
    index: Arc<PositionalIndexer>,
    worker_blocks: FxHashMap<WorkerWithDpRank, LevelIndex>,
}

impl Index for Positional {
    const NAME: &'static str = "dynamo positional";
    type Query = Vec<LocalBlockHash>;
    type Event = RouterEvent;
    type Scratch = ();

    fn new(_: u32) -> Self {
        let index = PositionalIndexer::new_with_mode(JUMP, SearchMode::Strided);
        Self { index: Arc::new(index), worker_blocks: FxHashMap::default() }
    }

    fn query(&self, tokens: &[u32]) -> Self::Query {
        local_hashes(tokens)
    }

    fn event(&self, event: &Event<'_>) -> RouterEvent {
        router_event(event)
    }

    fn find(&self, query: &mut Self::Query, (): &mut ()) -> usize {
        self.index.find_matches(query, false).scores.len()
    }

    fn expand(&self, query: &mut Self::Query, (): &mut (), depths: &mut [u32]) {
        write_down(&self.index.find_matches(query, false), depths);
    }

    fn apply(&mut self, events: Vec<RouterEvent>) -> Applied {
        let (index, blocks) = (&self.index, &mut self.worker_blocks);
        Applied::each(events, |event| index.apply_event(blocks, event, None).is_ok())
    }

    fn reader(&self) -> Option<Reader<Self>> {
        let index = Arc::clone(&self.index);
        Some(Box::new(move |query| index.find_matches(query, false).scores.len()))
    }
}

/// Blocks to a jump.
const JUMP: usize = 32;
