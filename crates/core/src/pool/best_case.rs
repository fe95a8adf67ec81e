//! The values from which a lower bound of an endpoint's cost is computed.
//!
//! The cost of an endpoint depends on dozens of values of its state. In a large pool most endpoints
//! cannot win: their queues are long or their caches full. The few values that a lower bound needs
//! are stored together and updated whenever the endpoint's load changes.
//!
//! Rounded sums and products of positive numbers are monotonic. A bound that performs the
//! operations of the cost in the same order on smaller numbers is therefore no larger, to the last
//! bit. Where the bound equals the cost, as on idle endpoints, ties remain ties. A group's best
//! case is as good in every value as the best of its members, so its bound holds for each of them.

use super::load_classes::{FULL_CACHE, LoadClass};
use super::slot::Slot;
use crate::time::Seconds;

/// The values of one endpoint, or the best values of a group, in one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct BestCase {
    /// Lower bound of a new request's wait at any time; infinite if the endpoint takes no requests.
    pub(super) least_wait: f64,
    /// Of one endpoint, a lower bound of the wait plus
    /// [`InFlightLoad::progress`](super::InFlightLoad::progress); infinitely negative without
    /// queued prefill. Also of a group: its least would change with most dispatches.
    pub(super) falling_wait: f64,
    /// Tokens of our requests, of peers' and of external load in the KV cache.
    pub(crate) kv_tokens: f64,
    /// Running answers of this gateway and of external load, each with its weight.
    pub(crate) running: f64,
    /// The cost of prefill as described, and the factor by which the endpoint is slower.
    pub(super) per_token: f64,
    pub(super) per_pair: f64,
    pub(super) slowdown: f64,
    /// Tokens that fit into the KV cache.
    pub(crate) capacity: u32,
    pub(crate) in_flight: u32,
}

/// The external load that a best case counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LeastExternal {
    /// Seconds of wait.
    pub(super) wait: f64,
    pub(super) kv_tokens: f64,
    /// Running answers, weighted.
    pub(super) running: f64,
}

impl BestCase {
    /// The best case of an endpoint that takes no requests, and of an empty group.
    pub(crate) const CLOSED: Self = Self {
        least_wait: f64::INFINITY,
        falling_wait: f64::NEG_INFINITY,
        kv_tokens: f64::INFINITY,
        running: f64::INFINITY,
        per_token: f64::INFINITY,
        per_pair: f64::INFINITY,
        slowdown: f64::INFINITY,
        capacity: 0,
        in_flight: u32::MAX,
    };

    /// The best case of an endpoint. `external` is external load that it has at least.
    pub(super) fn of(slot: &Slot, external: impl FnOnce(&Slot) -> LeastExternal) -> Self {
        let closed = slot.health.is_closed(slot.in_flight.requests());
        if slot.draining || slot.is_full() || slot.reports.asleep() || closed {
            return Self::CLOSED;
        }
        let (peers, external) = (slot.reports.peers(), external(slot));
        let least_wait = slot.in_flight.least_wait().get() + peers.booked.as_secs_f64();
        let kv_tokens = external.kv_tokens + peers.kv_tokens as f64;
        Self {
            least_wait: least_wait + external.wait,
            falling_wait: slot.in_flight.falling_wait(peers.booked) + external.wait,
            kv_tokens: slot.in_flight.kv_tokens() as f64 + kv_tokens,
            running: slot.in_flight.weighted_running() + external.running,
            per_token: slot.prefill.per_token.get(),
            per_pair: slot.prefill.per_pair.get(),
            slowdown: slot.speed.factor(),
            capacity: slot.kv_cache_tokens,
            in_flight: slot.all_in_flight(),
        }
    }

    /// The same with these tokens in the KV cache and running answers.
    pub(crate) fn with_load(self, kv_tokens: f64, running: f64) -> Self {
        Self { kv_tokens, running, ..self }
    }

    /// The best case of a group of both.
    #[inline]
    pub(super) fn or(self, other: Self) -> Self {
        // Unlike `f64::min` it does not handle NaN; no value here is one.
        let less = |a: f64, b: f64| if b < a { b } else { a };
        Self {
            least_wait: less(self.least_wait, other.least_wait),
            falling_wait: f64::NEG_INFINITY,
            kv_tokens: less(self.kv_tokens, other.kv_tokens),
            running: less(self.running, other.running),
            per_token: less(self.per_token, other.per_token),
            per_pair: less(self.per_pair, other.per_pair),
            slowdown: less(self.slowdown, other.slowdown),
            capacity: self.capacity.max(other.capacity),
            in_flight: self.in_flight.min(other.in_flight),
        }
    }

    /// Whether a group's best case may change when a member changes from `before` to `after`: the
    /// member had one of the group's best values and lost it.
    pub(super) fn loses(&self, before: &Self, after: &Self) -> bool {
        let lost = |best: f64, before: f64, after: f64| before <= best && after > best;
        lost(self.least_wait, before.least_wait, after.least_wait)
            || lost(self.kv_tokens, before.kv_tokens, after.kv_tokens)
            || (before.capacity >= self.capacity && after.capacity < self.capacity)
            || lost(self.running, before.running, after.running)
            || lost(self.per_token, before.per_token, after.per_token)
            || lost(self.per_pair, before.per_pair, after.per_pair)
            || lost(self.slowdown, before.slowdown, after.slowdown)
            || (before.in_flight <= self.in_flight && after.in_flight > self.in_flight)
    }

    /// Whether both have the same bits. Fields that are compared in the order of their memory are
    /// compared as one block of it.
    #[inline]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        same(self.least_wait, other.least_wait)
            && same(self.falling_wait, other.falling_wait)
            && same(self.kv_tokens, other.kv_tokens)
            && same(self.running, other.running)
            && same(self.per_token, other.per_token)
            && same(self.per_pair, other.per_pair)
            && same(self.slowdown, other.slowdown)
            && self.capacity == other.capacity
            && self.in_flight == other.in_flight
    }

    /// Whether the endpoint takes requests.
    pub(crate) fn is_open(&self) -> bool {
        self.least_wait < f64::INFINITY
    }

    /// Lower bound of a new request's wait at the time with this
    /// [`progress`](super::InFlightLoad::progress).
    #[inline]
    pub(crate) fn wait(&self, progress: f64) -> f64 {
        let falling = self.falling_wait - progress;
        if falling > self.least_wait { falling } else { self.least_wait }
    }

    /// The class of the least load.
    pub(super) fn load_class(&self) -> LoadClass {
        LoadClass::of(self.least_wait + FULL_CACHE * (self.kv_tokens / f64::from(self.capacity)))
    }

    /// Seconds to compute `tokens` tokens that attend to others in `pairs` pairs.
    #[inline]
    pub(crate) fn work(&self, tokens: f64, pairs: f64) -> Seconds {
        Seconds::new((self.per_token * tokens + self.per_pair * pairs) * self.slowdown)
    }
}
