//! A look at endpoints that does not go closer than their outlines.

use core::num::NonZeroU32;

use super::Scheduler;
use super::ranking::Key;
use super::reading::{Found, Reading};
use crate::time::Seconds;

/// Lower bounds of what a request costs on each endpoint, a few dozen endpoints at a time: the loop that computes them has no
/// branches, so it runs on several endpoints at once.
pub(super) struct Glance<'a> {
    scheduler: &'a Scheduler,
    reading: &'a Reading,
    tokens: f64,
    /// The prefill term of a prompt of which nothing is cached, at least.
    cold: f64,
    /// The last other case that was priced: how many blocks of which size are cached.
    priced: (u32, Option<NonZeroU32>, f64),
    /// The bounds of the slots from `begin` on, in nanoseconds and a half.
    bounds: [f64; SLOTS],
    begin: u32,
}

/// Slots that are looked at together.
const SLOTS: usize = 64;

/// Below it, whole numbers are exact as floats.
const EXACT: u64 = 1 << 53;

impl<'a> Glance<'a> {
    pub(super) fn new(scheduler: &'a Scheduler, reading: &'a Reading) -> Self {
        let mut glance = Self {
            scheduler,
            reading,
            tokens: f64::from(reading.tokens),
            cold: 0.0,
            priced: (0, None, 0.0),
            bounds: [0.0; SLOTS],
            begin: u32::MAX,
        };
        glance.cold = glance.price(Found::default());
        glance
    }

    /// The first slot from `from` on whose endpoint may rank before `bar`: those that are passed over do not. Without a bar, the
    /// first slot.
    pub(super) fn next(&mut self, bar: Option<Key>, from: u32) -> Option<u32> {
        let slots = self.scheduler.pool.outlines().len() as u32;
        let Some(bar) = bar else { return (from < slots).then_some(from) };
        // A cost is whole nanoseconds, so it is above the bar's if it is at least one more.
        let limit = if bar.cost < EXACT { (bar.cost + 1) as f64 } else { f64::INFINITY };
        let mut at = from;
        while at < slots {
            let begin = at - at % SLOTS as u32;
            if begin != self.begin {
                self.compute(begin);
            }
            let end = slots.min(begin + SLOTS as u32);
            let bounds = &self.bounds[(at - begin) as usize..(end - begin) as usize];
            match bounds.iter().position(|bound| *bound < limit) {
                None => at = end,
                Some(passed) => {
                    at += passed as u32;
                    if self.is_below(bar, at, bounds[passed]) {
                        return Some(at);
                    }
                    at += 1;
                }
            }
        }
        None
    }

    fn is_below(&self, bar: Key, slot: u32, bound: f64) -> bool {
        let cost = bound as u64;
        if cost != bar.cost {
            return cost < bar.cost;
        }
        let tie = self.scheduler.pool.outlines().ties[slot as usize];
        let rendezvous = self.scheduler.hasher.mix(self.reading.identity, tie.key);
        Key { cost, in_flight: tie.in_flight, rendezvous } < bar
    }

    fn compute(&mut self, begin: u32) {
        self.begin = begin;
        let outlines = self.scheduler.pool.outlines();
        let from = begin as usize;
        let to = outlines.len().min(from + SLOTS);
        let (weights, tokens) = (&self.scheduler.config.weights, self.tokens);
        let bound = |wait: f64, prefill: f64, kv_tokens: f64, capacity: f64| {
            let cost = weights.at_least(wait, prefill, kv_tokens, tokens, capacity);
            // What is no number rules nobody out.
            if cost.is_nan() { 0.0 } else { Seconds::in_nanos(cost) }
        };
        let columns = outlines.least_wait[from..to]
            .iter()
            .zip(&outlines.kv_tokens[from..to])
            .zip(&outlines.capacity[from..to]);
        for (place, ((wait, kv_tokens), capacity)) in self.bounds.iter_mut().zip(columns) {
            *place = bound(*wait, self.cold, *kv_tokens, *capacity);
        }
        for (slot, depth, block_size) in self.reading.cached_in(from..to) {
            if block_size.is_some_and(|size| size != outlines.ties[slot].block_size) {
                continue;
            }
            if (depth, block_size) != (self.priced.0, self.priced.1) {
                self.priced = (depth, block_size, self.price(self.reading.found_at(depth, block_size)));
            }
            let (wait, kv_tokens) = (outlines.least_wait[slot], outlines.kv_tokens[slot]);
            self.bounds[slot - from] = bound(wait, self.priced.2, kv_tokens, outlines.capacity[slot]);
        }
    }

    /// The least that the prefill term can be where so much is cached.
    fn price(&self, found: Found) -> f64 {
        let miss = self.reading.tokens.saturating_sub(found.tokens);
        (self.scheduler.pool.cheapest().work(miss, found.tokens) * self.scheduler.config.weights.prefill)
            .get()
    }
}
