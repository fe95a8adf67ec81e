//! How long a session stays active with nothing in flight: half as long again as the 95th percentile of the times that
//! sessions take to return.
//!
//! The percentile is found by stochastic approximation (Robbins and Monro, 1951), in steps of its logarithm: each return
//! that took longer raises it by 0.05 · 0.95, each other lowers it by 0.05 · 0.05. The steps cancel out where 5 % take
//! longer. So nothing is stored, a step is at most 5 %, and one absurd gap counts like any other that is too long.

use core::time::Duration;

use super::config::SessionAdmissionConfig;

/// The learned idle time.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleTime {
    seconds: f64,
    shortest: f64,
    longest: f64,
}

/// The idle time over the percentile: what a session takes that is late is not much more than what 95 % take.
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

    /// A session returned after it had nothing in flight for so long.
    pub(super) fn observe(&mut self, gap: Duration) {
        let step = if gap.as_secs_f64() > self.seconds / SLACK { UP } else { DOWN };
        // Not `clamp`, which panics if the bounds are the wrong way round.
        self.seconds = (self.seconds * step).min(self.longest).max(self.shortest);
    }

    /// How long a session stays active.
    pub(super) fn get(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    /// The longest that this can become.
    pub(super) fn longest(&self) -> Duration {
        Duration::try_from_secs_f64(self.longest).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    /// The share of gaps in milliseconds that lie below the learned percentile, on average over the last half of 20,000.
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
