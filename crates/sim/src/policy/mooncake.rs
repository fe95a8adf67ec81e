//! Mooncake's Conductor without KV transfer: the least predicted time to the first token. That is
//! the time of the prefills ahead and of the request's own. The Conductor has the cache contents of
//! each instance: here, from KV events.

use std::collections::VecDeque;

use ::slotwise::{Instant, Rng};

use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Needs, Policy};
use crate::replica::{Class, KvChange};

pub(super) struct Conductor {
    view: CacheView,
    queues: Vec<Queue>,
    class: Class,
    rng: Rng,
}

/// Prefills under way on one replica.
#[derive(Clone, Debug, Default)]
struct Queue {
    /// (request, seconds), in order of dispatch.
    pending: VecDeque<(u32, f64)>,
    head_since: Instant,
}

impl Queue {
    /// Seconds until the queue is empty, the head being worked on since its turn came.
    fn seconds(&self, now: Instant) -> f64 {
        let Some((_, head)) = self.pending.front() else { return 0.0 };
        let done = now.saturating_since(self.head_since).as_secs_f64().min(*head);
        self.pending.iter().map(|(_, seconds)| seconds).sum::<f64>() - done
    }
}

impl Conductor {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            view: CacheView::exact(fleet),
            queues: vec![Queue::default(); fleet.replicas],
            class: fleet.class,
            rng: Rng::new(fleet.seed),
        }
    }
}

impl Policy for Conductor {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let hits = self.view.hits(request);
        let own = |replica: usize| {
            self.class.prefill_seconds(request.input - hits[replica], hits[replica])
        };
        let ttft = |replica: usize| self.queues[replica].seconds(now) + own(replica);
        let replica = min_by(self.queues.len(), &mut self.rng, ttft)?;
        let seconds = own(replica);
        let queue = &mut self.queues[replica];
        if queue.pending.is_empty() {
            queue.head_since = now;
        }
        queue.pending.push_back((request.id, seconds));
        Some(replica)
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        for queue in &mut self.queues {
            if let Some(place) = queue.pending.iter().position(|(pending, _)| *pending == id) {
                queue.pending.remove(place);
                queue.head_since = now;
            }
        }
    }

    fn complete(&mut self, _: Instant, _: u32, _: Finished) {}

    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        self.view.apply(now, replica, change);
    }

    fn needs(&self) -> Needs {
        Needs { kv_events: true, ..Needs::default() }
    }
}
