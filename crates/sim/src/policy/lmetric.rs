//! LMetric (arXiv 2603.15202): prefill tokens times batch size, the least wins.
//!
//! The paper adds the request's tokens to the prefill, but not the request to the batch. An idle
//! replica then costs nothing, whatever the prompt misses there. Here the batch also includes the
//! request, which does better on all traces that were tried.

use ::slotwise::{Instant, Rng};

use super::load::OwnLoad;
use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Policy};

pub(super) struct LMetric {
    view: CacheView,
    load: OwnLoad,
    replicas: usize,
    rng: Rng,
}

impl LMetric {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            view: CacheView::exact(fleet),
            load: OwnLoad::new(fleet.replicas),
            replicas: fleet.replicas,
            rng: Rng::new(fleet.seed),
        }
    }
}

impl Policy for LMetric {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let hits = self.view.hits(request);
        let score = |replica: usize| {
            let load = self.load.of(replica);
            let tokens = load.pending_tokens as f64 + f64::from(request.input - hits[replica]);
            tokens * f64::from(load.requests + 1)
        };
        let replica = min_by(self.replicas, &mut self.rng, score)?;
        self.view.assume(now, replica, request);
        self.load.begin(request.id, replica, request.input - hits[replica]);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, id: u32) {
        self.load.first_token(id);
    }

    fn complete(&mut self, now: Instant, id: u32, _: Finished) {
        self.load.complete(id);
        self.view.complete(now, id);
    }
}
