//! The 99th percentile of requests' durations, in fixed memory.

use alloc::boxed::Box;
use core::time::Duration;

/// Durations in buckets, eight in each power of two of microseconds: a percentile is at most an
/// eighth too high. Old durations fade: counts are halved at [`WINDOW`].
#[derive(Clone, Debug)]
pub(super) struct Durations {
    counts: Box<[u32; BUCKETS]>,
    count: u32,
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0 }
    }
}

impl Durations {
    pub(super) fn observe(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST);
        self.counts[bucket(micros)] += 1;
        self.count += 1;
        if self.count >= WINDOW {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.count = self.counts.iter().sum();
        }
    }

    /// The 99th percentile, rounded up to its bucket's bound; `None` below [`LEAST`] durations.
    pub(super) fn p99(&self) -> Option<Duration> {
        if self.count < LEAST {
            return None;
        }
        let rank = self.count - self.count / 100;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_micros(bound(at)))
    }
}

/// The bucket of a number of microseconds.
fn bucket(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let octave = micros.ilog2() - 3;
    (octave as usize + 1) * 8 + ((micros >> octave) & 7) as usize
}

/// The largest number of microseconds in a bucket.
fn bound(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (octave, step) = (bucket / 8 - 1, (bucket % 8) as u64);
    ((8 + step + 1) << octave) - 1
}

/// Twelve days: longer durations count as this.
const LONGEST: u64 = (1 << 40) - 1;
const BUCKETS: usize = 38 * 8;
const WINDOW: u32 = 16_384;
/// Fewer durations have no 99th percentile.
const LEAST: u32 = 100;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_percentile_is_at_most_an_eighth_too_high(
            mut micros in proptest::collection::vec(0u64..1 << 44, 0..400),
        ) {
            let mut durations = Durations::default();
            for micros in &micros {
                durations.observe(Duration::from_micros(*micros));
            }
            micros.sort_unstable();
            let sorted: Vec<u64> = micros.iter().map(|it| *it.min(&LONGEST)).collect();
            let Some(p99) = durations.p99() else {
                prop_assert!(sorted.len() < 100);
                return Ok(());
            };
            let exact = sorted[sorted.len() - sorted.len() / 100 - 1];
            let p99 = p99.as_micros() as u64;
            prop_assert!(exact <= p99 && p99 <= exact + exact / 8, "{exact} {p99}");
        }
    }
}
