//! The active bands, for which capacity is reserved.
//!
//! A band is active if it had a request in the last ten minutes; the band of priority 0 always is.
//! This is the rule of the Gateway API inference extension: important requests that are likely to
//! arrive find reserved capacity.

use alloc::collections::BTreeMap;
use core::cmp::Reverse;
use core::time::Duration;

use crate::time::Instant;

/// When each band was last seen. Time never goes backwards.
#[derive(Debug, Default)]
pub(super) struct ActiveBands {
    last: BTreeMap<Reverse<i32>, Instant>,
}

impl ActiveBands {
    /// Records a request of this band that arrives or leaves the queue. Computes in **O(log
    /// bands)**. A new band replaces, in **O(bands)**, the band unseen longest (the lowest of
    /// several) if [`MOST_BANDS`] are remembered.
    pub(super) fn record(&mut self, now: Instant, priority: i32) {
        if self.last.len() >= MOST_BANDS && !self.last.contains_key(&Reverse(priority)) {
            let unseen = self.last.iter().min_by_key(|(band, at)| (**at, Reverse(**band)));
            if let Some(band) = unseen.map(|(band, _)| *band) {
                self.last.remove(&band);
            }
        }
        let last = self.last.entry(Reverse(priority)).or_insert(now);
        *last = now.max(*last);
    }

    /// The bands that are active without waiting requests, unordered and with duplicates.
    pub(super) fn bands(&self, now: Instant) -> impl Iterator<Item = i32> {
        let lately = self.last.iter().filter(move |(_, last)| **last + MEMORY > now);
        lately.map(|(band, _)| band.0).chain([ALWAYS])
    }

    /// When the next of them becomes inactive, if none of its requests arrives or waits. Lower
    /// bands may have more capacity from then on.
    pub(super) fn next_inactive(
        &self,
        now: Instant,
        waits: impl Fn(i32) -> bool,
    ) -> Option<Instant> {
        let idle = self.last.iter().filter(|(band, _)| band.0 != ALWAYS && !waits(band.0));
        idle.map(|(_, last)| *last + MEMORY).filter(|at| *at > now).min()
    }
}

/// How long a band stays active after a request.
const MEMORY: Duration = Duration::from_secs(600);
/// The band that is always active: that of requests without a priority.
const ALWAYS: i32 = 0;
/// Limit of remembered bands, since clients choose priorities.
const MOST_BANDS: usize = 256;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn bands(active_bands: &ActiveBands, now: Instant) -> Vec<i32> {
        let mut bands: Vec<i32> = active_bands.bands(now).collect();
        bands.sort_unstable();
        bands.dedup();
        bands
    }

    #[test]
    fn a_band_is_present_for_ten_minutes_and_that_of_zero_always() {
        let mut active_bands = ActiveBands::default();
        assert_eq!(bands(&active_bands, at(0)), [0]);
        active_bands.record(at(0), 5);
        active_bands.record(at(60), -1);
        active_bands.record(at(30), -1);
        active_bands.record(at(0), 0);
        assert_eq!(bands(&active_bands, at(599)), [-1, 0, 5]);
        assert_eq!(bands(&active_bands, at(600)), [-1, 0]);
        assert_eq!(bands(&active_bands, at(660)), [0], "time never goes back");
    }

    #[test]
    fn the_next_band_to_leave_is_one_that_nothing_keeps() {
        let mut active_bands = ActiveBands::default();
        active_bands.record(at(0), 0);
        active_bands.record(at(0), 5);
        active_bands.record(at(60), -1);
        assert_eq!(active_bands.next_inactive(at(60), |_| false), Some(at(600)));
        assert_eq!(active_bands.next_inactive(at(60), |band| band == 5), Some(at(660)));
        assert_eq!(active_bands.next_inactive(at(600), |_| false), Some(at(660)));
        assert_eq!(active_bands.next_inactive(at(660), |_| false), None);
    }

    #[test]
    fn as_many_as_fit_are_remembered_and_the_one_unseen_longest_is_forgotten_first() {
        let mut active_bands = ActiveBands::default();
        let most = MOST_BANDS as i32;
        (1..=most).for_each(|band| active_bands.record(at(1), band));
        active_bands.record(at(2), 1);
        active_bands.record(at(2), 1_000);
        active_bands.record(at(2), 1_001);
        let left = bands(&active_bands, at(2));
        assert_eq!(left.len(), MOST_BANDS + 1, "with 0");
        assert!(left.contains(&1) && !left.contains(&2) && !left.contains(&3) && left.contains(&4));
        assert!(left.contains(&1_000) && left.contains(&1_001));
    }
}
