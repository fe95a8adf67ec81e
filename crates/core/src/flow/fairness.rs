//! Virtual time: the weighted service that a flow has received. The least is served next.
//!
//! Whole nanoseconds in 128 bits. Sums are exact, a correction reverts exactly what was charged,
//! and the range exceeds any gateway's lifetime.

use super::config::Fairness;
use crate::time::{Instant, Seconds};

/// A point on a band's virtual clock, or a duration.
pub(super) type Virtual = u128;

impl Fairness {
    /// The flow of a fairness id.
    pub(super) const fn flow(self, id: u64) -> u64 {
        match self {
            Self::GlobalStrict => 0,
            _ => id,
        }
    }

    /// Whether past service counts less and less.
    pub(super) const fn decays(self) -> bool {
        matches!(self, Self::LeastAttainedService | Self::LeastAttainedTokens)
    }

    /// The service to a request of this work: seconds, or tokens as milliseconds.
    pub(crate) fn service(self, work: Seconds, prompt_tokens: u32, answer_tokens: u32) -> Seconds {
        match self {
            Self::LeastAttainedTokens => {
                let tokens = f64::from(prompt_tokens) + ANSWER_WEIGHT * f64::from(answer_tokens);
                Seconds::new(tokens * SECONDS_OF_A_TOKEN)
            }
            _ => work,
        }
    }

    /// The charge for a request of this service. It is never zero, or a flow without charges would
    /// always be served.
    pub(super) fn charge(self, cost: Seconds, weight: f64) -> u64 {
        let cost = match self {
            Self::RoundRobin => Seconds::new(1.0),
            _ => cost,
        };
        (cost * weight.recip()).to_nanos().max(1)
    }

    /// The charge for several requests of this service in all.
    pub(super) fn charge_all(self, requests: u32, service: Seconds, weight: f64) -> u64 {
        let charge = self.charge(service, weight);
        match self {
            Self::RoundRobin => charge.saturating_mul(requests.into()),
            _ => charge,
        }
    }

    /// The virtual time of a flow after `more` service, which may be negative.
    pub(super) fn after(self, served: Virtual, more: i128, now: Instant) -> Virtual {
        match self {
            _ if self.decays() => Attained::at(now).add(served, more),
            _ => served.saturating_add_signed(more),
        }
    }

    /// The band's clock after a flow of this virtual time was served. New and returning flows start
    /// there, so idle flows accumulate no credit.
    pub(super) fn clock(self, clock: Virtual, served: Virtual) -> Virtual {
        match self {
            _ if self.decays() => clock,
            _ => clock.max(served),
        }
    }

    /// The virtual time up to which an idle flow equals a new one and can be forgotten.
    pub(super) fn forgettable(self, clock: Virtual, busy: bool, now: Instant) -> Virtual {
        match self {
            _ if self.decays() => Attained::at(now).add(0, FORGOTTEN_SERVICE),
            // An empty band has no flows to be fair to.
            _ => {
                if busy {
                    clock
                } else {
                    Virtual::MAX
                }
            }
        }
    }

    /// How far ahead a flow will be after all its waiting requests; the flow that is farthest ahead
    /// is displaced first.
    pub(super) const fn lead(self, served: Virtual, waiting: Virtual) -> Virtual {
        match self {
            _ if self.decays() => waiting,
            _ => served.saturating_add(waiting),
        }
    }
}

/// Half-life of attained service.
const HALF_LIFE_MICROS: u64 = 60_000_000;
/// The reference's weight of an answer's token, relative to one of the prompt.
const ANSWER_WEIGHT: f64 = 2.0;
/// The unit in which tokens are charged.
const SECONDS_OF_A_TOKEN: f64 = 0.001;
/// Attained service below this counts as zero: a millisecond, or a token.
const FORGOTTEN_SERVICE: i128 = 1_000_000;

/// Service that halves in every period, in a representation whose order never changes.
///
/// Halving all flows equals doubling the weight of later service. The value is the service in
/// nanoseconds, as the bits of an `f64`, with the period added to its exponent. Positive floats are
/// ordered as their bits are.
struct Attained {
    period: u128,
}

impl Attained {
    const fn at(now: Instant) -> Self {
        Self { period: (now.as_micros() / HALF_LIFE_MICROS) as u128 }
    }

    fn add(self, served: Virtual, more: i128) -> Virtual {
        self.write(self.read(served) + more as f64)
    }

    /// The service that remains in this period. Values below the least normal `f64` are zero.
    fn read(&self, served: Virtual) -> f64 {
        let exponent = (served >> MANTISSA).saturating_sub(self.period) as u64;
        let mantissa = served as u64 & ((1 << MANTISSA) - 1);
        if exponent == 0 {
            0.0
        } else {
            f64::from_bits(exponent.min(LARGEST) << MANTISSA | mantissa)
        }
    }

    fn write(&self, nanos: f64) -> Virtual {
        if nanos < f64::MIN_POSITIVE {
            return 0;
        }
        Virtual::from(nanos.min(f64::MAX).to_bits()) + (self.period << MANTISSA)
    }
}

/// Bits of an `f64` below its exponent.
const MANTISSA: u32 = 52;
/// The exponent of the largest numbers.
const LARGEST: u64 = 2_046;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn attained_service_is_halved_every_minute_and_never_rewritten() {
        let policy = Fairness::LeastAttainedService;
        let minute = |number: u64| Instant::ORIGIN + Duration::from_secs(60 * number);
        let old = policy.after(0, 8_000, minute(0));
        assert!((Attained::at(minute(3)).read(old) - 1_000.0).abs() < f64::EPSILON);
        assert_eq!(policy.after(old, 0, minute(3)), old, "the same service, the same number");
        let new = policy.after(0, 1_001, minute(3));
        assert!(new > old, "the newer counts for more");
        let later = policy.after(old, 1_000, minute(3));
        assert!((Attained::at(minute(4)).read(later) - 1_000.0).abs() < f64::EPSILON);
        assert_eq!(policy.after(later, -5_000, minute(3)), 0);
    }

    #[test]
    fn a_year_of_halvings_leaves_nothing_and_keeps_the_order() {
        let policy = Fairness::LeastAttainedService;
        let year = Instant::ORIGIN + Duration::from_secs(365 * 86_400);
        let end = Instant::from_micros(u64::MAX);
        let old = policy.after(0, i128::from(u64::MAX), Instant::ORIGIN);
        assert!(Attained::at(year).read(old).abs() < f64::EPSILON);
        assert!(policy.after(0, 1, year) > old);
        assert!(policy.after(0, 1, end) > policy.after(0, i128::MAX, year));
        assert!(old < policy.forgettable(0, true, year));
    }

    #[test]
    fn an_answer_costs_two_tokens_a_token() {
        let work = Seconds::new(7.0);
        let service = Fairness::LeastAttainedTokens.service(work, 1_000, 250);
        assert_eq!(service, Seconds::new(1.5));
        assert_eq!(Fairness::LeastAttainedService.service(work, 1_000, 250), work);
    }

    #[test]
    fn a_charge_is_never_nothing_and_always_ends() {
        for policy in [Fairness::StartTime, Fairness::RoundRobin, Fairness::LeastAttainedService] {
            assert_eq!(policy.charge(Seconds::ZERO, f64::MAX), 1);
            assert!(policy.charge(Seconds::new(f64::INFINITY), f64::MIN_POSITIVE) > 1);
        }
        assert_eq!(Fairness::StartTime.charge(Seconds::new(3.0), 2.0), 1_500_000_000);
        assert_eq!(Fairness::RoundRobin.charge(Seconds::new(3.0), 2.0), 500_000_000);
        let end = Fairness::StartTime.after(Virtual::MAX, i128::MAX, Instant::ORIGIN);
        assert_eq!(Fairness::StartTime.after(end, i128::MIN, Instant::ORIGIN), Virtual::MAX >> 1);
    }
}
