//! A mean that forgets.

/// The exponentially weighted mean of a series, starting at a guess.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovingMean(f64);

/// The weight of a new value: the mean remembers about 64 of them.
const WEIGHT: f64 = 1.0 / 64.0;

impl MovingMean {
    pub(crate) const fn starting_at(guess: f64) -> Self {
        Self(guess)
    }

    pub(crate) fn observe(&mut self, value: f64) {
        self.0 += WEIGHT * (value - self.0);
    }

    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}
