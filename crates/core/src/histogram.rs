//! A histogram of durations with fixed buckets: [`Histogram`].

use alloc::vec::Vec;
use core::time::Duration;

/// Upper bounds of the buckets, in microseconds: those of vLLM's time to first token. The first 16
/// are also those of the OpenTelemetry conventions.
const BOUNDS: [u64; 22] = [
    1_000,
    5_000,
    10_000,
    20_000,
    40_000,
    60_000,
    80_000,
    100_000,
    250_000,
    500_000,
    750_000,
    1_000_000,
    2_500_000,
    5_000_000,
    7_500_000,
    10_000_000,
    20_000_000,
    40_000_000,
    80_000_000,
    160_000_000,
    640_000_000,
    2_560_000_000,
];

/// Observed durations, in buckets with fixed bounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Histogram {
    /// The upper bounds of all buckets but the last, in seconds, ascending. A duration is in the
    /// first bucket whose bound is not below it.
    pub bounds: Vec<f64>,
    /// Number of durations in each bucket; the last bucket has those above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all durations.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub sum: Duration,
    /// The number of durations.
    pub count: u64,
}

/// A histogram that grows. An observation computes in **O(log buckets)** and allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Buckets {
    pub(crate) fn observe(&mut self, duration: Duration) {
        let at = BOUNDS.partition_point(|bound| u128::from(*bound) < duration.as_micros());
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            bounds: BOUNDS.iter().map(|micros| *micros as f64 / 1e6).collect(),
            counts: self.counts.to_vec(),
            sum: self.sum,
            count: self.counts.iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_reaches_it() {
        let mut buckets = Buckets::default();
        for micros in [0, 1_000, 1_001, 2_560_000_000, 2_560_000_001, u64::MAX] {
            buckets.observe(Duration::from_micros(micros));
        }
        let Histogram { bounds, counts, count, .. } = buckets.read();
        assert_eq!((bounds.len(), counts.len(), count), (22, 23, 6));
        assert_eq!((counts[0], counts[1], counts[21], counts[22]), (2, 1, 1, 2));
        assert!(bounds.is_sorted());
        assert_eq!([bounds[0], bounds[21]].map(f64::to_bits), [0.001, 2_560.0].map(f64::to_bits));
    }
}
