//! SGLang's `cache_aware`, with the defaults of its command line.
//!
//! If load is out of balance (`max - min > 64` and `max > 1.5 min` requests in flight), the
//! shortest queue wins. Otherwise, if more than 0.3 of the prompt matches, the replica that was
//! last sent the longest match wins; else the one with the smallest tree. Each replica's tree holds
//! 67,108,864 characters (here: 4 a token).

use ::slotwise::{CacheEvictionOrder, Instant, Rng};

use super::load::OwnLoad;
use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Policy};

const BALANCE_ABS: u32 = 64;
const BALANCE_REL: f64 = 1.5;
const CACHE_THRESHOLD: f64 = 0.3;
const MAX_TREE_TOKENS: u64 = 67_108_864 / 4;

pub(super) struct CacheAware {
    trees: CacheView,
    load: OwnLoad,
    replicas: usize,
    block_tokens: u32,
    rng: Rng,
}

impl CacheAware {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            trees: CacheView::new(fleet, MAX_TREE_TOKENS, CacheEvictionOrder::TailFirst),
            load: OwnLoad::new(fleet.replicas),
            replicas: fleet.replicas,
            block_tokens: fleet.block_tokens,
            rng: Rng::new(fleet.seed),
        }
    }

    fn is_unbalanced(&self) -> bool {
        let loads = (0..self.replicas).map(|replica| self.load.requests(replica));
        let (min, max) = (loads.clone().min().unwrap_or(0), loads.max().unwrap_or(0));
        max - min > BALANCE_ABS && f64::from(max) > BALANCE_REL * f64::from(min)
    }
}

impl Policy for CacheAware {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let hits = self.trees.hits(request);
        let best = hits.iter().copied().max()?;
        let load = &self.load;
        let replica = if self.is_unbalanced() {
            min_by(self.replicas, &mut self.rng, |replica| f64::from(load.requests(replica)))
        } else if f64::from(best) / f64::from(request.input) > CACHE_THRESHOLD {
            let deepest = (best / self.block_tokens).saturating_sub(1) as usize;
            let matched = (0..self.replicas).filter(|replica| hits[*replica] == best);
            matched.max_by_key(|replica| self.trees.last_use(*replica, request.blocks, deepest))
        } else {
            let trees = &self.trees;
            min_by(self.replicas, &mut self.rng, |replica| trees.tokens(replica) as f64)
        }?;
        self.trees.assume(now, replica, request);
        self.load.begin(request.id, replica, request.input - hits[replica]);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, id: u32) {
        self.load.first_token(id);
    }

    fn complete(&mut self, _: Instant, id: u32, _: Finished) {
        self.load.complete(id);
    }
}
