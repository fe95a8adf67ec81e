//! The warm working set of one endpoint: tokens of cached blocks that were used within the last
//! window.
//!
//! A ring of buckets in time. A block stores the bucket of its last use, so another use moves its
//! tokens between buckets; time advances by emptying buckets. Both are O(1), and the sum is kept.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::time::Instant;

/// Buckets in a window: the sum is exact to a 45th of it (2 s of the default 90 s).
const BUCKETS: u64 = 45;

/// Tokens by the time of their last use.
#[derive(Clone, Debug)]
pub(super) struct WarmWindow {
    width: u64,
    ring: [u64; BUCKETS as usize],
    newest: u64,
    newest_ends: Instant,
    total: u64,
}

/// The bucket of a point in time; stored with each block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bucket(NonZeroU64);

impl WarmWindow {
    /// An empty window of this length.
    pub(super) fn new(window: Duration) -> Self {
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Self {
            width: (micros / BUCKETS).max(2),
            ring: [0; BUCKETS as usize],
            newest: 0,
            newest_ends: Instant::ORIGIN,
            total: 0,
        }
    }

    /// The bucket of a use at `now`.
    pub(super) fn bucket(&mut self, now: Instant) -> Bucket {
        if now >= self.newest_ends {
            self.advance(now);
            let next = (self.newest + 1 - BUCKETS).checked_mul(self.width);
            self.newest_ends = next.map_or(Instant::from_micros(u64::MAX), Instant::from_micros);
        }
        Bucket(NonZeroU64::new(self.newest).unwrap_or(NonZeroU64::MIN))
    }

    /// Counts `tokens` as last used in `bucket`, unless that has left the window.
    pub(super) fn add(&mut self, bucket: Option<Bucket>, tokens: u64) {
        if let Some(bucket) = bucket.filter(|bucket| bucket.0.get() + BUCKETS > self.newest) {
            self.ring[index(bucket.0.get())] += tokens;
            self.total += tokens;
        }
    }

    /// Removes `tokens` that were last used in `bucket`, unless that has left the window.
    pub(super) fn remove(&mut self, bucket: Option<Bucket>, tokens: u64) {
        if let Some(bucket) = bucket.filter(|bucket| bucket.0.get() + BUCKETS > self.newest) {
            self.ring[index(bucket.0.get())] -= tokens;
            self.total -= tokens;
        }
    }

    /// Tokens used within the window before `now`.
    pub(super) fn tokens(&self, now: Instant) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let aged = self.number(now).saturating_sub(self.newest).min(BUCKETS);
        let left: u64 = (0..aged).map(|age| self.ring[index(self.newest + 1 + age)]).sum();
        self.total - left
    }

    /// The age of a bucket in buckets, if it still counts.
    pub(super) fn age(&self, bucket: Bucket, now: Instant) -> Option<u64> {
        Some(self.number(now).max(self.newest) - bucket.0.get()).filter(|age| *age < BUCKETS)
    }

    /// The bucket of this age.
    pub(super) fn aged(&mut self, now: Instant, age: u64) -> Option<Bucket> {
        self.advance(now);
        NonZeroU64::new(self.newest.checked_sub(age)?).filter(|_| age < BUCKETS).map(Bucket)
    }

    /// The length of a bucket, in microseconds.
    pub(super) const fn width(&self) -> u64 {
        self.width
    }

    fn advance(&mut self, now: Instant) {
        let number = self.number(now);
        let aged = number.saturating_sub(self.newest).min(BUCKETS);
        for age in 0..aged {
            let tokens = core::mem::take(&mut self.ring[index(self.newest + 1 + age)]);
            self.total -= tokens;
        }
        self.newest = self.newest.max(number);
    }

    fn number(&self, now: Instant) -> u64 {
        // Bucket numbers begin at `BUCKETS`, so that no sum below can overflow or wrap below zero.
        now.as_micros() / self.width + BUCKETS
    }
}

const fn index(bucket: u64) -> usize {
    (bucket % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Compared with a list of (last use, tokens) that is scanned for each question.
        #[test]
        fn agrees_with_a_list(uses in prop::collection::vec((0u64..4_000_000, 0usize..20, 1u32..50), 0..200)) {
            let mut window = WarmWindow::new(Duration::from_secs(90));
            let mut blocks: Vec<Option<(Bucket, u64, u32)>> = alloc::vec![None; 20];
            let mut now = 0;
            for (step, block, tokens) in uses {
                now += step;
                if let Some((bucket, _, tokens)) = blocks[block].take() {
                    window.remove(Some(bucket), u64::from(tokens));
                }
                if tokens > 10 {
                    let bucket = window.bucket(Instant::from_micros(now));
                    window.add(Some(bucket), u64::from(tokens));
                    blocks[block] = Some((bucket, now / 2_000_000, tokens));
                }
                let expected: u64 = blocks
                    .iter()
                    .flatten()
                    .filter(|(_, used, _)| used + BUCKETS > now / 2_000_000)
                    .map(|(_, _, tokens)| u64::from(*tokens))
                    .sum();
                prop_assert_eq!(window.tokens(Instant::from_micros(now)), expected);
            }
        }
    }

    #[test]
    fn a_jump_of_centuries_empties_it() {
        let mut window = WarmWindow::new(Duration::from_secs(90));
        let bucket = window.bucket(Instant::from_micros(5));
        window.add(Some(bucket), 100);
        let far = Instant::from_micros(u64::MAX);
        assert_eq!(window.tokens(far), 0);
        let late = window.bucket(far);
        window.add(Some(late), 7);
        window.remove(Some(bucket), 100);
        assert_eq!(window.tokens(far), 7);
    }

    #[test]
    fn extreme_windows_are_harmless() {
        for window in [Duration::ZERO, Duration::MAX] {
            let mut window = WarmWindow::new(window);
            let bucket = window.bucket(Instant::from_micros(u64::MAX));
            window.add(Some(bucket), u64::from(u32::MAX));
            assert_eq!(window.tokens(Instant::from_micros(u64::MAX)), u64::from(u32::MAX));
        }
    }
}
