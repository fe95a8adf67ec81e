//! The predicted wait of a new request at an export, between its reports.
//!
//! The export's queue is a fluid: it falls by a second in a second, and each request that this
//! router sends adds its prefill, divided among the ready endpoints. So a burst between two reports
//! does not meet one queue that was short at the last of them.

use slotwise::{Instant, Seconds};

/// The wait at some time, from which that of later times follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wait {
    seconds: Seconds,
    at: Instant,
}

impl Wait {
    /// A wait that was reported. One above an hour counts as an hour.
    pub(super) fn reported(at: Instant, wait: Seconds) -> Self {
        Self { seconds: wait.max(Seconds::ZERO).min(LONGEST), at }
    }

    pub(super) fn at(&self, now: Instant) -> Seconds {
        let elapsed = Seconds::from(now.saturating_since(self.at));
        (self.seconds - elapsed).max(Seconds::ZERO)
    }

    /// A request was sent whose prefill takes this long on one of the endpoints.
    pub(super) fn add(&mut self, now: Instant, prefill: Seconds, endpoints: u32) {
        let share = prefill * (1.0 / f64::from(endpoints.max(1)));
        *self = Self::reported(now, self.at(now) + share);
    }
}

/// An hour: a longer wait changes no choice.
const LONGEST: Seconds = Seconds::new(3_600.0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_drains_and_grows() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut wait = Wait::reported(at(10), Seconds::new(3.0));
        assert_eq!(wait.at(at(12)), Seconds::new(1.0));
        wait.add(at(12), Seconds::new(4.0), 2);
        assert_eq!((wait.at(at(12)), wait.at(at(14))), (Seconds::new(3.0), Seconds::new(1.0)));
        assert_eq!(wait.at(at(99)), Seconds::ZERO);
        wait.add(at(99), Seconds::new(f64::INFINITY), 0);
        assert_eq!(wait.at(at(99)), LONGEST);
    }
}
