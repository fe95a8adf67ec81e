//! What was learned of each adapter over the whole pool: how often it is requested, how long it
//! loads, and what its requests have lost where it is loaded.
//!
//! A *loss* is what a request pays because its adapter is loaded on some endpoints only: its cost
//! there, less the cost of the best endpoint if the adapter were loaded everywhere. Once the losses
//! of an adapter add up to the cost of loading it, one more copy would have paid for itself. So
//! the losses count as credit against that cost, and a load uses them up: the ski-rental rule
//! (Karlin et al., 1988). A popular adapter gathers credit fast and spreads. The credit of a rare
//! one fades before it pays for a load.

use alloc::collections::BTreeMap;

use super::rate::Rate;
use crate::time::{Instant, Seconds, decay};

/// The most recently requested adapters.
#[derive(Debug)]
pub(crate) struct Demand {
    known: BTreeMap<u64, Known>,
    /// Their keys by the number of their last request.
    order: BTreeMap<u64, u64>,
    /// Number of requests so far.
    requests: u64,
    limit: usize,
    /// Number of adapters whose last request is among those since `active_since`.
    active: usize,
    active_since: u64,
    /// The usual load time over the described one.
    load_factor: f64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The number of its last request.
    last: u64,
    rate: Rate,
    /// The sum of the losses at `at`.
    lost: Seconds,
    /// When it was last requested.
    at: Instant,
    /// Its load time over the described one.
    load_factor: f64,
}

/// What an adapter's load costs, as far as that does not depend on the endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// Its load time over the described one.
    pub(crate) load_factor: f64,
    lost: Seconds,
    at: Instant,
}

/// Seconds for which a requested adapter counts as active.
const ACTIVE: u64 = 120;
/// Seconds after which a loss has lost most of its weight.
const LOSS_MEMORY: f64 = 30.0;
/// The weight of a new load time for the adapter, and for adapters that were never loaded.
const OWN_WEIGHT: f64 = 0.25;
const POOL_WEIGHT: f64 = 0.05;
/// A load time counts at most this many times the mean, or this many times a tenth of the described
/// one: one engine that hangs is no evidence.
const LOAD_CLAMP: f64 = 4.0;
const LEAST_CLAMP: f64 = 0.1;

impl Demand {
    /// Remembers the last `limit` requested adapters.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            known: BTreeMap::new(),
            order: BTreeMap::new(),
            requests: 0,
            limit,
            active: 0,
            active_since: 0,
            load_factor: 1.0,
        }
    }

    /// What loading the adapter costs, beside the endpoint's part.
    pub(crate) fn outlook(&self, key: u64) -> Outlook {
        let unknown = Outlook { load_factor: self.load_factor, ..Outlook::default() };
        self.known.get(&key).map_or(unknown, |known| Outlook {
            load_factor: known.load_factor,
            lost: known.lost,
            at: known.at,
        })
    }

    /// Requests a second.
    pub(crate) fn rate(&self, key: u64, now: Instant) -> f64 {
        self.known.get(&key).map_or(0.0, |known| known.rate.per_second(now))
    }

    /// Number of adapters that were requested within the last [`ACTIVE`] seconds.
    pub(crate) const fn active(&self) -> usize {
        self.active
    }

    /// Records a dispatched request, which lost `loss`; `loads` is whether it loads the adapter,
    /// which uses the losses up.
    /// Computes in **O(log adapters)**, amortized.
    pub(crate) fn observe(&mut self, key: u64, now: Instant, loss: Seconds, loads: bool) {
        if self.limit == 0 {
            return;
        }
        if self.known.len() >= self.limit && !self.known.contains_key(&key) {
            self.forget_oldest();
        }
        self.requests += 1;
        let new = Known::new(now, self.load_factor);
        let known = self.known.entry(key).or_insert(new);
        let listed = self.order.remove(&known.last).is_some();
        self.active += usize::from(!(listed && known.last >= self.active_since));
        known.last = self.requests;
        self.order.insert(self.requests, key);
        known.rate.observe(now);
        let lost = fade(known.lost, known.at, now) + loss;
        (known.lost, known.at) = (if loads { Seconds::ZERO } else { lost }, known.at.max(now));
        self.retire(now);
    }

    /// Records that the adapter took `seconds` to load where `described` was expected.
    pub(crate) fn observe_load(&mut self, key: u64, seconds: Seconds, described: Seconds) {
        let Some(known) = self.known.get_mut(&key) else { return };
        let ratio = seconds.get() / described.get();
        if ratio.is_finite() {
            let ratio = ratio.min(known.load_factor.max(LEAST_CLAMP) * LOAD_CLAMP);
            known.load_factor += OWN_WEIGHT * (ratio - known.load_factor);
            self.load_factor += POOL_WEIGHT * (ratio - self.load_factor);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((number, key)) = self.order.pop_first() {
            self.known.remove(&key);
            self.active -= usize::from(number >= self.active_since);
        }
    }

    /// Ends the activity of adapters whose last request is old.
    fn retire(&mut self, now: Instant) {
        while let Some((number, key)) = self.order.range(self.active_since..).next() {
            let last = self.known.get(key).map_or(now, |known| known.at);
            if now.saturating_since(last).as_secs() <= ACTIVE {
                return;
            }
            self.active -= 1;
            self.active_since = number + 1;
        }
    }
}

impl Known {
    const fn new(now: Instant, load_factor: f64) -> Self {
        Self { last: 0, rate: Rate::new(now), lost: Seconds::ZERO, at: now, load_factor }
    }
}

impl Outlook {
    /// What the adapter's requests have lost so far.
    pub(crate) fn credit(&self, now: Instant) -> Seconds {
        fade(self.lost, self.at, now)
    }
}

impl Default for Outlook {
    fn default() -> Self {
        Self { load_factor: 1.0, lost: Seconds::ZERO, at: Instant::ORIGIN }
    }
}

fn fade(lost: Seconds, since: Instant, now: Instant) -> Seconds {
    lost * decay(now.saturating_since(since).as_secs_f64() / LOSS_MEMORY)
}
