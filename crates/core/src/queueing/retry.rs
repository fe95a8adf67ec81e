//! How long a rejected request should stay away.

use core::time::Duration;

use super::Queueing;
use crate::decision::{RejectReason, Rejected};
use crate::fleet::Fleet;
use crate::request::Priority;
use crate::time::Seconds;

impl Queueing {
    /// Gives a rejection for lack of capacity a retry time of its own: see `retry_slots`.
    pub(crate) fn spread(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        priority: Priority,
        own: Seconds,
        rejected: Rejected,
    ) -> Rejected {
        match rejected.reason {
            RejectReason::Saturated | RejectReason::Shed | RejectReason::QueueFull => {
                let wait = rejected.retry_after.unwrap_or_default();
                Rejected {
                    retry_after: Some(self.next_slot(fleet, in_flight, priority, own, wait)),
                    ..rejected
                }
            }
            _ => rejected,
        }
    }

    pub(super) fn next_slot(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        priority: Priority,
        own: Seconds,
        wait: Duration,
    ) -> Duration {
        let share = Seconds::new(own.get() / fleet.pool.len().max(1) as f64);
        let share = share.to_duration().max(self.retry_slots.interval(in_flight).to_duration());
        self.retry_slots.next(fleet.now, priority, wait, share)
    }

    /// The predicted queue time of a new request of this priority: the queued work ahead of it
    /// divided by the number of endpoints, plus the shortest booked prefill of an endpoint.
    /// Computes in **O(endpoints)**.
    pub(super) fn expected_wait(&self, fleet: &Fleet, priority: Priority) -> Seconds {
        let before = self.waiting.bands().take_while(|(band, ..)| *band >= priority.0);
        let work: f64 = before.map(|(_, sum, _)| sum.work as f64 / 1e9).sum();
        let booked = fleet
            .pool
            .iter()
            .map(|slot| slot.in_flight.wait(fleet.now).get())
            .min_by(f64::total_cmp);
        Seconds::new(work / fleet.pool.len().max(1) as f64 + booked.unwrap_or(0.0))
    }
}
