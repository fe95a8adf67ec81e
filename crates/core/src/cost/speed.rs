//! The speed of one endpoint, learned from its first tokens.
//!
//! An engine serves first come, first served. A first token therefore ends a period of service that
//! started with the endpoint's previous first token, or with the dispatch if nothing was pending.
//! The endpoint's factor is the decayed sum of such periods over the decayed sum of their predicted
//! work; 2 means half as fast as described.
//!
//! A mean of ratios would be noisier, and would feed the noise of the queue back into itself.

use alloc::vec::Vec;

use crate::time::{Instant, Seconds, decay};

/// The observations of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Speed {
    service: f64,
    work: f64,
    /// When the sums were last decayed.
    at: Instant,
    /// The factor in use: the endpoint's own, or the pool's if they do not differ clearly.
    factor: f64,
}

/// Seconds of work after which a sample has lost most of its weight.
const MEMORY_WORK: f64 = 20.0;
/// Seconds after which a sample has lost most of its weight regardless of work, to recover from
/// throttling.
const MEMORY_TIME: f64 = 120.0;
/// Prior: seconds of service and of work.
const PRIOR: f64 = 1.0;
/// Time without samples after which an endpoint returns to its description, so that a slow one is
/// tried again.
const SILENCE: f64 = 5.0;
/// Factors within this share of the median count as equal, so that noise does not separate equal
/// endpoints.
const DEAD_BAND: f64 = 0.2;
/// A sample counts at most this many times its expectation, and at least its inverse. A
/// mispredicted cache hit is not evidence about speed.
const CLAMP: f64 = 4.0;
/// Tolerance for the smallest requests.
const CLAMP_SLACK: f64 = 0.02;

impl Speed {
    /// An endpoint without observations.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { service: 0.0, work: 0.0, at: now, factor: 1.0 }
    }

    /// Records a first token after `service` seconds of work, of which `predicted` were expected on
    /// an endpoint of average speed.
    pub(crate) fn observe(&mut self, now: Instant, service: Seconds, predicted: Seconds) {
        let (service, predicted) = (service.get(), predicted.get());
        if !(predicted > 0.0 && predicted.is_finite()) {
            return;
        }
        let expected = self.own() * predicted;
        if !expected.is_finite() {
            return;
        }
        let service = service.clamp(expected / CLAMP, expected * CLAMP + CLAMP_SLACK);
        let keep = decay(predicted / MEMORY_WORK) * decay(self.age(now) / MEMORY_TIME);
        self.service = self.service * keep + service;
        self.work = self.work * keep + predicted;
        self.at = now;
    }

    /// Seconds that this endpoint takes for one second of described work.
    pub(crate) const fn factor(&self) -> f64 {
        self.factor
    }

    fn own(&self) -> f64 {
        (self.service + PRIOR) / (self.work + PRIOR)
    }

    fn age(&self, now: Instant) -> f64 {
        now.saturating_since(self.at).as_secs_f64()
    }

    fn rest(&mut self, now: Instant) {
        if self.age(now) > SILENCE {
            let keep = decay(self.age(now) / MEMORY_TIME);
            self.service *= keep;
            self.work *= keep;
            self.at = now;
        }
    }
}

/// Updates the factors of a pool's endpoints. Endpoints without samples return to their
/// description; factors within the dead band around the median become the median. Computes in
/// **O(endpoints)**.
pub(crate) fn settle_speeds<'a>(now: Instant, speeds: impl Iterator<Item = &'a mut Speed>) {
    let mut speeds: Vec<&mut Speed> = speeds.collect();
    speeds.iter_mut().for_each(|speed| speed.rest(now));
    let Some(median) = median(speeds.iter().map(|speed| speed.own()).collect()) else { return };
    for speed in speeds {
        let own = speed.own();
        speed.factor = if (own - median).abs() < DEAD_BAND * median { median } else { own };
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let (even, middle) = (values.len() % 2 == 0, values.len() / 2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| even).unwrap_or(*upper);
    Some((lower + *upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// A pool in which endpoint 0 takes twice as long as described, observed for a minute.
    fn pool_with_a_slow_one() -> Vec<Speed> {
        let mut speeds = alloc::vec![Speed::new(at(0)); 4];
        for second in 1..60 {
            for (i, speed) in speeds.iter_mut().enumerate() {
                let noise = if (second + i as u64) % 2 == 0 { 1.1 } else { 0.9 };
                let service = if i == 0 { 2.0 } else { 1.0 } * noise;
                speed.observe(at(second), Seconds::new(service), Seconds::new(1.0));
            }
        }
        settle_speeds(at(60), speeds.iter_mut());
        speeds
    }

    #[test]
    fn a_slow_endpoint_is_found_and_equal_ones_stay_equal() {
        let speeds = pool_with_a_slow_one();
        assert!((1.8..2.1).contains(&speeds[0].factor()), "{}", speeds[0].factor());
        assert!(
            speeds[1..]
                .iter()
                .all(|speed| speed.factor().to_bits() == speeds[1].factor().to_bits())
        );
    }

    #[test]
    fn silence_gives_it_another_chance() {
        let mut speeds = pool_with_a_slow_one();
        for second in 60..3_600 {
            settle_speeds(at(second), speeds.iter_mut());
        }
        assert!((speeds[0].factor() - 1.0).abs() < 0.05);
    }

    #[test]
    fn one_mispredicted_hit_changes_little_and_nonsense_nothing() {
        let mut speed = Speed::new(at(0));
        for second in 1..60 {
            speed.observe(at(second), Seconds::new(1.0), Seconds::new(1.0));
        }
        let before = speed.own();
        speed.observe(at(60), Seconds::new(8.0), Seconds::new(0.01));
        assert!((speed.own() - before).abs() < 0.01);
        for nonsense in [0.0, -1.0, f64::INFINITY] {
            speed.observe(at(61), Seconds::new(1.0), Seconds::new(nonsense));
        }
        speed.observe(at(62), Seconds::new(f64::INFINITY), Seconds::new(1.0));
        assert!(speed.own().is_finite());
    }
}
