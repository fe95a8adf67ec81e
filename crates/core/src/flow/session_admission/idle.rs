//! How long a session stays active with nothing in flight: 1.5 times the 95th percentile of return
//! times.
//!
//! The percentile is found by stochastic approximation (Robbins and Monro, 1951) in steps of its
//! logarithm. A longer return raises it by 0.05 · 0.95, a shorter one lowers it by 0.05 · 0.05; the
//! steps balance where 5 % are longer. Nothing is stored, a step is at most 5 %, and outliers count
//! as any other long return.

use core::time::Duration;

use super::config::SessionAdmissionConfig;

/// The learned idle time.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleTime {
    seconds: f64,
    shortest: f64,
    longest: f64,
}

/// The idle time over the percentile; late sessions return not much later than 95 % do.
const SLACK: f64 = 1.5;
/// exp(0.05 · 0.95)
const UP: f64 = 1.048_646_201_121_285_1;
/// exp(-0.05 · 0.05)
const DOWN: f64 = 0.997_503_122_397_460_1;

impl IdleTime {
    pub(super) const fn new(config: &SessionAdmissionConfig) -> Self {
        Self {
            seconds: config.idle_time.as_secs_f64(),
            shortest: config.idle_time_min.as_secs_f64(),
            longest: config.idle_time_max.as_secs_f64(),
        }
    }

    /// Records a session's return after this idle time.
    pub(super) fn observe(&mut self, gap: Duration) {
        let step = if gap.as_secs_f64() > self.seconds / SLACK { UP } else { DOWN };
        // `clamp` panics if the bounds are reversed.
        self.seconds = (self.seconds * step).min(self.longest).max(self.shortest);
    }

    /// How long a session stays active.
    pub(super) fn get(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    /// The upper limit of the idle time.
    pub(super) fn longest(&self) -> Duration {
        Duration::try_from_secs_f64(self.longest).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    /// The share of gaps in milliseconds below the learned percentile, over the last half of
    /// 20,000.
    fn in_time(mut gap: impl FnMut(&mut Rng) -> u64) -> f64 {
        let (mut rng, mut idle) = (Rng::new(7), IdleTime::new(&SessionAdmissionConfig::default()));
        let gaps: Vec<Duration> =
            (0..20_000).map(|_| Duration::from_millis(gap(&mut rng))).collect();
        let mut shares = Vec::new();
        for (i, gap) in gaps.iter().enumerate() {
            idle.observe(*gap);
            if i >= 10_000 && i % 97 == 0 {
                let percentile = idle.get().as_secs_f64() / SLACK;
                let short = gaps.iter().filter(|gap| gap.as_secs_f64() < percentile).count();
                shares.push(short as f64 / gaps.len() as f64);
            }
        }
        assert!(shares.iter().all(|share| *share > 0.8), "{shares:?}");
        shares.iter().sum::<f64>() / shares.len() as f64
    }

    #[test]
    fn nearly_all_returns_are_in_time_whatever_their_distribution() {
        let even = in_time(|rng| rng.below(60_000));
        let two_kinds = in_time(|rng| match rng.below(10) {
            0 => 30_000 + rng.below(90_000),
            _ => rng.below(2_000),
        });
        let long_tail = in_time(|rng| 4_000_000 / (20 + rng.below(4_000)));
        for share in [even, two_kinds, long_tail] {
            assert!((0.90..=0.97).contains(&share), "{even} {two_kinds} {long_tail}");
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut idle = IdleTime::new(&SessionAdmissionConfig::default());
        (0..10_000).for_each(|_| idle.observe(Duration::MAX));
        assert_eq!(idle.get(), Duration::from_secs(900));
        (0..10_000).for_each(|_| idle.observe(Duration::ZERO));
        assert_eq!(idle.get(), Duration::from_secs(5));
    }
}
