//! An exponentially weighted moving mean.

/// The exponentially weighted mean of a series, starting at a guess.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovingMean {
    mean: f64,
    /// The weight of a new value.
    weight: f64,
}

impl MovingMean {
    /// Starts at `guess`; about the last `memory` values count.
    pub(crate) const fn new(guess: f64, memory: u32) -> Self {
        Self { mean: guess, weight: 1.0 / memory as f64 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        self.mean += self.weight * (value - self.mean);
    }

    pub(crate) const fn get(self) -> f64 {
        self.mean
    }
}
