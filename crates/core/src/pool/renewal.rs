//! Lower bounds that are computed anew for all endpoints, as learned speeds and the external load
//! that best cases count change with time.

use super::best_case::{BestCase, LeastExternal};
use super::bounds::Bounds;
use super::forecast::LearnedMeans;
use super::{Pool, Tie};
use crate::cost::settle_speeds;
use crate::time::Instant;

/// In a pool of up to this many endpoints, bounds cost more than the weighing that they save.
const WEIGHED_WHOLE: usize = 8;

impl Pool {
    /// Updates the endpoints' learned speeds. Computes in **O(endpoints)**.
    pub(crate) fn settle(&mut self, now: Instant, learned: &LearnedMeans) {
        self.renew_stale();
        settle_speeds(now, self.slots.iter_mut().flatten().map(|slot| &mut slot.speed));
        if self.forecast.is_active() {
            self.forecast(now, learned);
        } else {
            let slots = self.slots.iter().flatten();
            self.bounds.set_slowdowns(slots.map(|slot| (slot.id.slot, slot.speed.factor())));
        }
        debug_assert!(
            self.forecast.is_active()
                || self.iter().all(|slot| {
                    let best_case = BestCase::of(slot, |_| LeastExternal::default());
                    best_case.is_same(self.bounds.slot(slot.id.slot))
                }),
            "invariant: best cases follow their endpoints"
        );
    }

    /// Moves the clock to `now`.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.forecast.advance(now);
    }

    /// Lets best cases follow their endpoints. Where they are no lower bounds at `now`, because
    /// external load may have become less, all are computed anew, in **O(endpoints)**.
    pub(crate) fn renew_bounds(&mut self, now: Instant, learned: &LearnedMeans) {
        if !self.keeps_bounds() {
            return;
        }
        self.renew_stale();
        if !self.forecast.holds(now, &self.reports, learned) {
            self.forecast(now, learned);
        }
    }

    /// The best cases of all endpoints for the search's lower bounds, if they are such at `now`.
    /// `None` for a small pool.
    pub(crate) fn bounds_at(&self, now: Instant, learned: &LearnedMeans) -> Option<&Bounds> {
        let holds = self.keeps_bounds()
            && self.stale.is_empty()
            && self.forecast.holds(now, &self.reports, learned);
        holds.then_some(&self.bounds)
    }

    /// Whether the pool is so large that bounds pay.
    fn keeps_bounds(&self) -> bool {
        self.len() > WEIGHED_WHOLE
    }

    /// Whether best cases count external load.
    pub(crate) const fn has_forecast(&self) -> bool {
        self.forecast.is_active()
    }

    /// Computes the best cases of endpoints that have changed since.
    pub(super) fn renew_stale(&mut self) {
        for number in core::mem::take(&mut self.stale) {
            let Some(slot) = &self.slots[number as usize] else { continue };
            let best_case = BestCase::of(slot, |slot| self.forecast.least(slot));
            self.bounds.set(number, best_case);
            self.ties[number as usize] = Tie { key: slot.key, layout: slot.layout };
        }
    }

    fn forecast(&mut self, now: Instant, learned: &LearnedMeans) {
        let Self { forecast, slots, .. } = self;
        forecast.begin(now, &self.reports, learned);
        self.bounds.set_many(
            slots
                .iter()
                .flatten()
                .map(|slot| (slot.id.slot, BestCase::of(slot, |slot| forecast.least(slot)))),
        );
    }
}
