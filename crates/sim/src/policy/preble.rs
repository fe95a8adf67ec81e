//! Preble's E2 (arXiv 2407.00023), without its rebalancing of hot prefixes.
//!
//! If most of the prompt is cached on some replica: exploit, on the best match with the least load.
//! Otherwise: explore. The cost is the sum of the load over the last three minutes, the cost of
//! what would be evicted, and the request's own prefill, in seconds; the least wins.

use std::collections::VecDeque;
use std::time::Duration;

use ::slotwise::{Instant, Rng};

use super::simple::min_by;
use super::view::CacheView;
use super::{Finished, Fleet, Incoming, Policy};
use crate::replica::Class;

const WINDOW: Duration = Duration::from_secs(180);
/// Tokens of an answer, until some were seen.
const EXPECTED_OUTPUT: f64 = 45.0;
/// The assumed number of sequences in a decode step, in place of the original's measured decode
/// times.
const BATCH: f64 = 16.0;

pub(super) struct Preble {
    view: CacheView,
    windows: Vec<Window>,
    class: Class,
    mean_output: f64,
    rng: Rng,
}

/// Work sent to one replica over the last three minutes.
#[derive(Clone, Debug, Default)]
struct Window {
    /// (when, seconds).
    work: VecDeque<(Instant, f64)>,
    seconds: f64,
}

impl Window {
    fn push(&mut self, now: Instant, seconds: f64) {
        self.work.push_back((now, seconds));
        self.seconds += seconds;
    }

    fn expire(&mut self, now: Instant) {
        while self.work.front().is_some_and(|(at, _)| now.saturating_since(*at) > WINDOW) {
            self.seconds -= self.work.pop_front().map_or(0.0, |(_, seconds)| seconds);
        }
    }
}

impl Preble {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            view: CacheView::exact(fleet),
            windows: vec![Window::default(); fleet.replicas],
            class: fleet.class,
            mean_output: EXPECTED_OUTPUT,
            rng: Rng::new(fleet.seed),
        }
    }

    /// Seconds of a decode step that one sequence of this context accounts for, over a whole
    /// answer.
    fn decode_seconds(&self, context: u32) -> f64 {
        let step =
            (self.class.base + self.class.floor) / BATCH + self.class.kvr * f64::from(context);
        self.mean_output * step
    }

    /// Seconds to compute again what the prompt evicts, as far as that was used within the window.
    fn eviction_seconds(&self, now: Instant, replica: usize, miss: u32) -> f64 {
        let held = self.view.tokens(replica);
        let room = u64::from(self.class.kv_tokens).saturating_sub(held);
        let evicted = u64::from(miss).saturating_sub(room) as f64;
        let warm = self.view.warm_tokens(replica, now) as f64 / held.max(1) as f64;
        evicted * warm * self.class.lin
    }
}

impl Policy for Preble {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.windows.iter_mut().for_each(|window| window.expire(now));
        let hits = self.view.hits(request);
        let best = hits.iter().copied().max()?;
        let miss = |replica: usize| request.input - hits[replica];
        let cost = |replica: usize| {
            if best > request.input - best {
                let other = if hits[replica] == best { 0.0 } else { f64::INFINITY };
                return self.windows[replica].seconds + other;
            }
            self.windows[replica].seconds
                + self.eviction_seconds(now, replica, miss(replica))
                + self.class.prefill_seconds(miss(replica), hits[replica])
        };
        let costs: Vec<f64> = (0..self.windows.len()).map(cost).collect();
        let replica = min_by(costs.len(), &mut self.rng, |replica| costs[replica])?;
        let work = self.class.prefill_seconds(miss(replica), hits[replica])
            + self.decode_seconds(request.input);
        self.windows[replica].push(now, work);
        self.view.assume(now, replica, request);
        Some(replica)
    }

    fn first_token(&mut self, _: Instant, _: u32) {}

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.view.complete(now, id);
        self.mean_output += (f64::from(usage.completion) - self.mean_output) / 64.0;
    }
}
