//! Time as a value: points on the caller's clock ([`Instant`]), and predicted durations
//! ([`Seconds`]).
//!
//! The core never reads a clock: every input carries the time. So every decision can be repeated,
//! and tests need no sleeps.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Mul, Sub};
use core::time::Duration;

/// A point on the caller's monotonic clock, in whole microseconds since an origin of the caller's
/// choice.
///
/// The value fits a JavaScript number exactly for 285 years.
///
/// ```
/// use core::time::Duration;
/// use slotwise::Instant;
///
/// let start = Instant::from_micros(1_000);
/// let later = start + Duration::from_millis(2);
/// assert_eq!(later.as_micros(), 3_000);
/// assert_eq!(later.saturating_since(start), Duration::from_millis(2));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Instant(u64);

impl Instant {
    /// The origin of the caller's clock.
    pub const ORIGIN: Self = Self(0);

    /// The point `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point as far after the clock's origin as `now` is after `origin`.
    #[cfg(feature = "std")]
    pub fn from_std(origin: std::time::Instant, now: std::time::Instant) -> Self {
        Self::ORIGIN + now.saturating_duration_since(origin)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The duration from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates instead of wrapping.
    fn add(self, length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A predicted duration in seconds: the unit of all costs.
///
/// Never NaN: a NaN becomes zero.
///
/// ```
/// use slotwise::Seconds;
///
/// let wait = Seconds::new(0.25) + Seconds::new(0.5) * 2.0;
/// assert_eq!(wait, Seconds::new(1.25));
/// assert_eq!(Seconds::new(f64::NAN), Seconds::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "f64", into = "f64")
)]
pub struct Seconds(f64);

impl Seconds {
    /// Zero.
    pub const ZERO: Self = Self(0.0);

    /// `seconds` seconds; NaN counts as zero.
    pub const fn new(seconds: f64) -> Self {
        if seconds.is_nan() { Self(0.0) } else { Self(seconds) }
    }

    /// The number of seconds.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The nearest [`Duration`]. Negative values become zero, and values above `u64::MAX`
    /// nanoseconds (584 years) are clamped.
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(self.to_nanos())
    }

    /// Whole nanoseconds, between zero and `u64::MAX`.
    ///
    /// Costs are compared in this form: integers have a total order, and costs that differ by
    /// rounding noise are equal.
    pub(crate) fn to_nanos(self) -> u64 {
        // A float-to-integer `as` saturates at both ends.
        Self::in_nanos(self.0) as u64
    }

    /// Nanoseconds plus a half, so that truncation rounds.
    pub(crate) fn in_nanos(seconds: f64) -> f64 {
        seconds * 1e9 + 0.5
    }

    /// The larger of the two.
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The smaller of the two.
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl From<Duration> for Seconds {
    fn from(length: Duration) -> Self {
        Self(length.as_secs_f64())
    }
}

impl From<f64> for Seconds {
    fn from(seconds: f64) -> Self {
        Self::new(seconds)
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl Add for Seconds {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.0 + other.0)
    }
}

impl AddAssign for Seconds {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Seconds {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.0 - other.0)
    }
}

impl Mul<f64> for Seconds {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self::new(self.0 * factor)
    }
}

impl Sum for Seconds {
    fn sum<I: Iterator<Item = Self>>(lengths: I) -> Self {
        lengths.fold(Self::ZERO, Self::add)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} s", self.0)
    }
}

/// Serializes durations as seconds.
#[cfg(feature = "serde")]
pub(crate) mod as_seconds {
    use core::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(length.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }

    /// Serializes optional durations as seconds.
    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Duration, Error, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            length: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match length {
                Some(length) => to.serialize_some(&length.as_secs_f64()),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            let seconds = Option::<f64>::deserialize(from)?;
            seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
        }
    }
}

/// The rest of a quantity after `x` mean lifetimes: `exp(-x)` to within 1.2 % of the initial value.
///
/// `1 / (1 + x + x²/2 + x³/6 + x⁴/24)`, because platforms round `exp` differently, while `+ * /`
/// are exact everywhere. The result falls monotonically from 1 to 0; a negative `x` counts as zero.
pub(crate) fn decay(x: f64) -> f64 {
    let x = x.max(0.0);
    1.0 / (1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Instant::ORIGIN.saturating_since(end), Duration::ZERO);
    }

    #[test]
    fn nanos_saturate_instead_of_wrapping() {
        assert_eq!(Seconds::new(-1.0).to_nanos(), 0);
        assert_eq!(Seconds::new(1e300).to_nanos(), u64::MAX);
        assert_eq!(Seconds::new(f64::INFINITY).to_nanos(), u64::MAX);
        assert_eq!(Seconds::new(0.000_000_001).to_nanos(), 1);
    }

    #[test]
    fn decay_follows_the_exponential() {
        for step in 0..400 {
            let x = f64::from(step) / 20.0;
            assert!((decay(x) - (-x).exp()).abs() < 0.012, "at {x}");
            assert!(decay(x) >= decay(x + 0.05), "at {x}");
        }
        assert!((decay(-3.0) - 1.0).abs() < f64::EPSILON);
        assert!(decay(f64::INFINITY).abs() < f64::EPSILON);
    }
}
