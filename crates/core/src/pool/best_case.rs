//! What can be told of an endpoint's cost without looking closely: never more than it is.
//!
//! Weighing an endpoint takes dozens of figures from all over its state. Most endpoints of a large pool are out of the question
//! at a glance: their queues are long, their caches full. So the few figures that a lower bound needs lie together, and are
//! brought up to date whenever the endpoint's account changes.
//!
//! Rounded sums and products of positive numbers never fall when one of them rises. So a bound that is made of the same
//! operations in the same order as the cost, with smaller numbers, is no larger than the cost to the last bit; and where the bound
//! *is* the cost, as on idle endpoints, ties are still ties. The same holds of a group's outline, which is in every figure as good
//! as the best of its members: what it bounds, it bounds for each of them.

use super::slot::Slot;
use crate::prefill::PrefillCost;
use crate::time::Seconds;

/// The figures of one endpoint, or the best ones of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BestCase {
    /// The least that a new request waits for its turn, whenever that is asked; infinite where no request is taken.
    pub(crate) least_wait: f64,
    /// Tokens of our requests in the KV cache.
    pub(crate) kv_tokens: f64,
    pub(crate) capacity: f64,
    /// Our answers that are being written.
    pub(crate) running: f64,
    /// What prefill costs, as described and by how much slower it is.
    pub(super) per_token: f64,
    pub(super) per_pair: f64,
    pub(super) slowdown: f64,
    pub(crate) in_flight: u32,
}

impl BestCase {
    /// Of an endpoint that takes no request, or of none at all.
    pub(crate) const CLOSED: Self = Self {
        least_wait: f64::INFINITY,
        kv_tokens: f64::INFINITY,
        capacity: 0.0,
        running: f64::INFINITY,
        per_token: f64::INFINITY,
        per_pair: f64::INFINITY,
        slowdown: f64::INFINITY,
        in_flight: u32::MAX,
    };

    /// Of an endpoint as it is.
    pub(super) fn of(slot: &Slot) -> Self {
        let closed = slot.health.is_closed(slot.in_flight.requests());
        if slot.draining || slot.is_full() || slot.reports.asleep() || closed {
            return Self::CLOSED;
        }
        Self {
            least_wait: slot.in_flight.least_wait().get(),
            kv_tokens: slot.in_flight.kv_tokens() as f64,
            capacity: f64::from(slot.kv_cache_tokens),
            running: f64::from(slot.in_flight.running()),
            per_token: slot.prefill.per_token.get(),
            per_pair: slot.prefill.per_pair.get(),
            slowdown: slot.speed.factor(),
            in_flight: slot.in_flight.requests(),
        }
    }

    /// Of the two as a group.
    #[inline]
    pub(super) fn or(self, other: Self) -> Self {
        // Without the care that `f64::min` takes of NaNs, of which there are none here.
        let less = |a: f64, b: f64| if b < a { b } else { a };
        Self {
            least_wait: less(self.least_wait, other.least_wait),
            kv_tokens: less(self.kv_tokens, other.kv_tokens),
            capacity: if other.capacity > self.capacity { other.capacity } else { self.capacity },
            running: less(self.running, other.running),
            per_token: less(self.per_token, other.per_token),
            per_pair: less(self.per_pair, other.per_pair),
            slowdown: less(self.slowdown, other.slowdown),
            in_flight: self.in_flight.min(other.in_flight),
        }
    }

    /// Whether a group with this outline may have another one once a member is `after` that was `before`: one of its best figures was
    /// that member's, and is no longer.
    pub(super) fn loses(&self, before: &Self, after: &Self) -> bool {
        let lost = |best: f64, before: f64, after: f64| before <= best && after > best;
        lost(self.least_wait, before.least_wait, after.least_wait)
            || lost(self.kv_tokens, before.kv_tokens, after.kv_tokens)
            || lost(-self.capacity, -before.capacity, -after.capacity)
            || lost(self.running, before.running, after.running)
            || lost(self.per_token, before.per_token, after.per_token)
            || lost(self.per_pair, before.per_pair, after.per_pair)
            || lost(self.slowdown, before.slowdown, after.slowdown)
            || (before.in_flight <= self.in_flight && after.in_flight > self.in_flight)
    }

    /// Whether requests are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.least_wait < f64::INFINITY
    }

    /// Seconds to compute `miss` tokens after `hit` tokens that are cached.
    #[inline]
    pub(crate) fn work(&self, miss: u32, hit: u32) -> Seconds {
        let cost = PrefillCost::new(Seconds::new(self.per_token), Seconds::new(self.per_pair));
        cost.work(miss, hit) * self.slowdown
    }
}
