//! A gateway's estimate of the replicas' caches.
//!
//! A baseline whose source names its evidence (an approximate index of its own, or KV events) has
//! that evidence. The others get the best estimate that is possible without events: caches of the
//! right size that evict tails first, in which a prompt was last used when its request ended.

use std::time::Duration;

use ::slotwise::prefix::internals::IndexInternals as _;
use ::slotwise::prefix::{BlockUse, CacheSpec, EngineHash, IndexLimits, PrefixIndex, Tier};
use ::slotwise::{BlockHash, CacheEvictionOrder, Instant};
use hashbrown::HashMap;

use super::{Fleet, Incoming};
use crate::replica::KvChange;

/// The estimated contents of every replica's cache.
#[derive(Debug)]
pub(super) struct CacheView {
    index: PrefixIndex,
    replicas: usize,
    block_tokens: u32,
    stamp: u64,
    /// Where the prompts of requests in flight are, if their end counts as a use.
    in_flight: Option<HashMap<u32, (usize, Vec<BlockHash>)>>,
}

impl CacheView {
    /// Caches of `capacity` tokens that evict in this order, and in which a prompt is used when it
    /// is sent.
    pub(super) fn new(fleet: &Fleet, capacity: u64, order: CacheEvictionOrder) -> Self {
        let mut limits = IndexLimits::default();
        limits.warm_window = Duration::from_secs(180);
        limits.bytes = usize::MAX;
        let mut index = PrefixIndex::new(0, limits);
        for slot in 0..fleet.replicas as u32 {
            let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
            index
                .join(slot, CacheSpec { capacity, order })
                .expect("fleets are smaller than the index");
        }
        let (replicas, block_tokens) = (fleet.replicas, fleet.block_tokens);
        Self { index, replicas, block_tokens, stamp: 0, in_flight: None }
    }

    /// Caches as the engines have them: of the true size, evicting tails first, and keeping the
    /// prompts of live requests.
    pub(super) fn exact(fleet: &Fleet) -> Self {
        let view =
            Self::new(fleet, u64::from(fleet.class.kv_tokens), CacheEvictionOrder::TailFirst);
        Self { in_flight: Some(HashMap::new()), ..view }
    }

    /// Prompt tokens that each replica has cached: whole blocks from the first on, and never the
    /// last token.
    pub(super) fn hits(&self, request: &Incoming<'_>) -> Vec<u32> {
        let mut hits = vec![0; self.replicas];
        let most = (request.input - 1) / self.block_tokens;
        self.index.levels(request.blocks, |depth, replicas| {
            for replica in replicas.iter() {
                let hit = &mut hits[replica as usize];
                *hit = (*hit).max(depth.min(most) * self.block_tokens);
            }
        });
        hits
    }

    /// How many of these blocks each replica has, holes or not, before the first that none has.
    pub(super) fn counts(&self, blocks: &[BlockHash]) -> Vec<u32> {
        let mut ranges = Vec::new();
        self.index.holders(blocks, |range, replicas| ranges.push((range, replicas.clone())));
        ranges.sort_by_key(|(range, _)| range.start);
        let covered = ranges
            .iter()
            .fold(0, |end, (range, _)| if range.start <= end { end.max(range.end) } else { end });
        let mut counts = vec![0; self.replicas];
        for (range, replicas) in ranges {
            let blocks = range.end.min(covered).saturating_sub(range.start) as u32;
            replicas.iter().for_each(|replica| counts[replica as usize] += blocks);
        }
        counts
    }

    /// The request goes to this replica, which will have its blocks.
    pub(super) fn assume(&mut self, now: Instant, replica: usize, request: &Incoming<'_>) {
        self.use_blocks(now, replica, request.blocks);
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.insert(request.id, (replica, request.blocks.to_vec()));
        }
    }

    /// The request is over.
    pub(super) fn complete(&mut self, now: Instant, id: u32) {
        let ended = self.in_flight.as_mut().and_then(|in_flight| in_flight.remove(&id));
        if let Some((replica, blocks)) = ended {
            self.use_blocks(now, replica, &blocks);
        }
    }

    fn use_blocks(&mut self, now: Instant, replica: usize, blocks: &[BlockHash]) {
        self.stamp += 1;
        let used =
            BlockUse { stamp: self.stamp, block_tokens: self.block_tokens, now, computed: true };
        self.index.record_use(replica as u32, blocks, used);
    }

    /// Applies a KV event of the replica's engine.
    pub(super) fn apply(&mut self, now: Instant, replica: usize, change: &KvChange) {
        let slot = replica as u32;
        let names =
            |blocks: &[BlockHash]| blocks.iter().map(|hash| EngineHash(hash.0)).collect::<Vec<_>>();
        match change {
            KvChange::Stored { parent, blocks } => {
                let used = BlockUse {
                    stamp: self.stamp,
                    block_tokens: self.block_tokens,
                    now,
                    computed: true,
                };
                let parent = parent.map(|hash| EngineHash(hash.0));
                let stored =
                    self.index.store(slot, parent, &names(blocks), blocks, Tier::Gpu, used);
                stored.expect("no limit, and nothing is lost");
            }
            KvChange::Removed(blocks) => self.index.remove(slot, &names(blocks), Tier::Gpu),
        }
    }

    /// When the prompt's block at this place was last sent to this replica.
    pub(super) fn last_use(&self, replica: usize, blocks: &[BlockHash], at: usize) -> u64 {
        self.index.last_use(replica as u32, blocks, at).unwrap_or(0)
    }

    /// Tokens in the estimate of the replica's cache.
    pub(super) fn tokens(&self, replica: usize) -> u64 {
        self.index.tokens(replica as u32).0
    }

    /// Of these, tokens used within the window.
    pub(super) fn warm_tokens(&self, replica: usize, now: Instant) -> u64 {
        self.index.warm_tokens(replica as u32, now)
    }
}
