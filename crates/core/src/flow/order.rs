//! The rank of a request in its flow's queue. It is fixed on arrival, so queues are never
//! re-sorted.

use core::time::Duration;

use super::admission::Admission;
use super::config::QueueOrder;
use crate::time::Instant;

/// The least is dispatched first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    key: u64,
    /// Number of requests that had arrived; at least one.
    pub(super) number: u64,
}

impl Rank {
    /// Before all others.
    pub(super) const FIRST: Self = Self { key: 0, number: 0 };

    /// After all others.
    pub(super) const LAST: Self = Self { key: u64::MAX, number: u64::MAX };

    /// The rank of a request that arrives when its band's clock of ages shows `come`.
    pub(super) fn new(order: QueueOrder, come: u64, admission: &Admission, number: u64) -> Self {
        let at = |time: Option<Instant>| time.map_or(u64::MAX, Instant::as_micros);
        let key = match order {
            QueueOrder::Fcfs => 0,
            QueueOrder::Edf => at(admission.expires),
            QueueOrder::SloDeadline => at(admission.slo),
            QueueOrder::ShortestWork => {
                let come = come.saturating_mul(NANOS_PER_MICRO_WAITED);
                admission.cost.to_nanos().saturating_add(come)
            }
        };
        Self { key, number }
    }
}

/// A tenth of the waiting time counts as done work. `work - age / 10` falls at the same rate for
/// all requests, so their order equals that of `work + arrival / 10`, which never changes.
const NANOS_PER_MICRO_WAITED: u64 = 100;

/// The clock by which the waiting requests of a band age. It stands still while requests expire.
///
/// Above the capacity, some requests expire in any order. If ages counted, the others would be
/// dispatched as late as the longest of them, shortly before they expire too. While the clock
/// stands still, later requests with less work go first, and the longest ones expire. It stands
/// still for as long as the expired request had waited, so short timeouts have a short effect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgeClock {
    /// Microseconds for which it stood still, up to `until`.
    stood: u64,
    /// The end of the latest standstill.
    until: Instant,
}

impl AgeClock {
    /// What it shows, in microseconds.
    pub(super) fn read(self, now: Instant) -> u64 {
        now.max(self.until).as_micros().saturating_sub(self.stood)
    }

    /// Stops it when a request expires that has `waited` so long.
    pub(super) fn stop(&mut self, at: Instant, waited: Duration) {
        let from = at.max(self.until);
        let until = self.until.max(at + waited);
        self.stood = self.stood.saturating_add(until.as_micros().saturating_sub(from.as_micros()));
        self.until = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_clock_stands_still_as_long_as_an_expired_request_has_waited() {
        let mut clock = AgeClock::default();
        assert_eq!(clock.read(at(7)), 7_000_000);
        clock.stop(at(10), Duration::from_secs(5));
        let shown = [10, 12, 15, 18].map(|now| clock.read(at(now)) / 1_000_000);
        assert_eq!(shown, [10, 10, 10, 13]);
        // Overlapping standstills count once.
        let mut clock = AgeClock::default();
        clock.stop(at(10), Duration::from_secs(5));
        clock.stop(at(12), Duration::from_secs(1));
        clock.stop(at(12), Duration::from_secs(6));
        let shown = [12, 18, 20].map(|now| clock.read(at(now)) / 1_000_000);
        assert_eq!(shown, [10, 10, 12]);
    }

    #[test]
    fn the_clock_never_goes_backwards_or_overflows() {
        let mut clock = AgeClock::default();
        clock.stop(Instant::from_micros(u64::MAX), Duration::MAX);
        clock.stop(at(1), Duration::MAX);
        assert_eq!(clock.read(Instant::from_micros(u64::MAX)), u64::MAX);
    }
}
