//! A rate of requests, in which old requests fade.

use crate::time::{Instant, decay};

/// Requests a second over about the last [`MEMORY`] seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Requests, each with its remaining weight at `at`.
    weight: f64,
    at: Instant,
}

/// Seconds after which a request has lost most of its weight.
const MEMORY: f64 = 60.0;

impl Rate {
    /// No request so far.
    pub(super) const fn new(now: Instant) -> Self {
        Self { weight: 0.0, at: now }
    }

    /// Records a request.
    pub(super) fn observe(&mut self, now: Instant) {
        (self.weight, self.at) = (self.weight_at(now) + 1.0, self.at.max(now));
    }

    /// Requests a second.
    pub(super) fn per_second(self, now: Instant) -> f64 {
        self.weight_at(now) / MEMORY
    }

    fn weight_at(self, now: Instant) -> f64 {
        self.weight * decay(now.saturating_since(self.at).as_secs_f64() / MEMORY)
    }
}
