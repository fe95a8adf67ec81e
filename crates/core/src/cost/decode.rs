//! The time per output token, learned from answers.
//!
//! An engine's step takes longer with more running answers, and prefills share its steps. Both
//! grow with load, so one line is fitted over all answers: `time = base + slope · running`. An
//! endpoint's factor is the mean ratio of its own answers to that line.

use crate::time::Seconds;

/// The line, as decayed sums of a least-squares fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecodeTime {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

/// One endpoint's deviation from the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeFactor {
    factor: f64,
    /// Answers so far, up to [`FACTOR_MEMORY`].
    answers: f64,
}

/// Answers after which a sample of the line has lost most of its weight.
const MEMORY: f64 = 512.0;
/// The same for an endpoint's factor.
const FACTOR_MEMORY: f64 = 32.0;
/// A sample counts at most this many times its expectation, and at least its inverse.
const CLAMP: f64 = 4.0;

impl DecodeTime {
    /// Records the mean time per token of an answer among `running` answers.
    pub(crate) fn observe(&mut self, running: f64, time: Seconds) {
        let (x, y) = (running, time.get());
        let keep = 1.0 - 1.0 / MEMORY;
        for (sum, value) in [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.y, y),
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
        ] {
            *sum = *sum * keep + value;
        }
    }

    /// The time per token among `running` answers; `described` before the first observation.
    pub(crate) fn predict(&self, running: f64, described: Seconds) -> Seconds {
        if self.weight <= 0.0 {
            return described;
        }
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - mean_x * mean_x;
        let covariance = self.xy / self.weight - mean_x * mean_y;
        // Without spread there is no slope, and more load never makes answers faster.
        let slope = if variance > SPREAD { (covariance / variance).max(0.0) } else { 0.0 };
        Seconds::new((mean_y + slope * (running - mean_x)).max(mean_y * LEAST_SHARE))
    }
}

impl DecodeTime {
    /// The running answers, at least one, among which an answer takes `time` per token. `None`
    /// while the line has no slope.
    pub(crate) fn running_at(&self, time: Seconds) -> Option<f64> {
        if self.weight <= 0.0 {
            return None;
        }
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - mean_x * mean_x;
        let slope = (self.xy / self.weight - mean_x * mean_y) / variance;
        (variance > SPREAD && slope > 0.0)
            .then(|| (mean_x + (time.get() - mean_y) / slope).max(1.0))
    }
}

impl DecodeFactor {
    pub(crate) const fn new() -> Self {
        Self { factor: 1.0, answers: 0.0 }
    }

    /// Records the time of an answer, of which the line predicted `predicted`.
    pub(crate) fn observe(&mut self, time: Seconds, predicted: Seconds) {
        if predicted > Seconds::ZERO {
            let ratio = (time.get() / predicted.get()).clamp(1.0 / CLAMP, CLAMP);
            self.answers = (self.answers + 1.0).min(FACTOR_MEMORY);
            // The prior counts as one answer.
            self.factor += (ratio - self.factor) / (self.answers + 1.0);
        }
    }

    /// Seconds on this endpoint for one second of the line.
    pub(crate) const fn get(self) -> f64 {
        self.factor
    }
}

/// The least variance of loads that shows a slope.
const SPREAD: f64 = 0.25;
/// The least prediction, as a share of the mean.
const LEAST_SHARE: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        let mut line = DecodeTime::default();
        assert_eq!(line.predict(9.0, Seconds::new(0.02)), Seconds::new(0.02));
        line.observe(8.0, Seconds::new(0.03));
        assert!((line.predict(99.0, Seconds::ZERO).get() - 0.03).abs() < 1e-12, "no slope yet");
        for round in 0..1_000 {
            let running = f64::from(round % 16);
            line.observe(running, Seconds::new(0.02 + 0.001 * running));
        }
        assert!((line.predict(32.0, Seconds::ZERO).get() - 0.052).abs() < 1e-3);
        let running = line.running_at(Seconds::new(0.052)).expect("a slope");
        assert!((running - 32.0).abs() < 0.5, "{running}");
        assert_eq!(line.running_at(Seconds::ZERO), Some(1.0));
        assert_eq!(DecodeTime::default().running_at(Seconds::new(1.0)), None);
        assert!(line.predict(-1e9, Seconds::ZERO) > Seconds::ZERO);
    }

    #[test]
    fn an_endpoint_twice_as_slow_is_found() {
        let mut factor = DecodeFactor::new();
        for _ in 0..64 {
            factor.observe(Seconds::new(0.06), Seconds::new(0.03));
        }
        assert!((factor.get() - 2.0).abs() < 0.2);
        factor.observe(Seconds::new(1e9), Seconds::new(1e-9));
        assert!(factor.get() < 2.5, "one outlier counts little");
    }
}
