//! The service level: what a first token and the others may take.

use std::str::FromStr;
use std::time::Duration;

use slotwise::CostPrices;

use crate::fleet::Outcome;
use crate::measure::{TPOT_SLO_S, TTFT_SLO_S};

/// The times that requests should keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLevel {
    /// Seconds to the first token.
    pub ttft: f64,
    /// Seconds per token after it.
    pub tpot: f64,
}

impl Default for ServiceLevel {
    fn default() -> Self {
        Self { ttft: TTFT_SLO_S, tpot: TPOT_SLO_S }
    }
}

impl ServiceLevel {
    /// Whether a request kept both times, the second one on average.
    pub fn holds(self, request: &Outcome) -> bool {
        request.ttft().is_some_and(|ttft| ttft <= self.ttft)
            && request.tpot().is_none_or(|tpot| tpot <= self.tpot)
    }

    /// The scheduler's prices for it.
    pub fn prices(self) -> CostPrices {
        let [ttft, tpot] = [self.ttft, self.tpot].map(Duration::from_secs_f64);
        CostPrices::for_service_level(ttft, tpot)
    }
}

impl FromStr for ServiceLevel {
    type Err = String;

    /// Reads `ttft=2s,tpot=100ms`; both are needed.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut ttft, mut tpot) = (None, None);
        for part in text.split(',') {
            let (name, length) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not like ttft=2s"))?;
            let known = match name.trim() {
                "ttft" => &mut ttft,
                "tpot" => &mut tpot,
                other => return Err(format!("{other:?} is neither ttft nor tpot")),
            };
            *known = Some(seconds(length.trim())?);
        }
        match (ttft, tpot) {
            (Some(ttft), Some(tpot)) => Ok(Self { ttft, tpot }),
            _ => Err(format!("{text:?} needs both times, like ttft=2s,tpot=100ms")),
        }
    }
}

/// A length of time with its unit, `s` or `ms`.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => return Err(format!("{text:?} has no unit: s or ms")),
    };
    let number: Option<f64> = number.parse().ok();
    let length = number.map(|number| number * factor).filter(|it| *it > 0.0 && *it <= 3_600.0);
    length.ok_or_else(|| format!("{text:?} is no time up to an hour"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_level_has_the_default_prices() {
        assert_eq!(ServiceLevel::default().prices(), CostPrices::default());
    }

    #[test]
    fn a_level_needs_both_times_with_units() {
        let level: ServiceLevel = "ttft=2s,tpot=100ms".parse().expect("valid");
        assert!((level.ttft - 2.0).abs() < 1e-12 && (level.tpot - 0.1).abs() < 1e-12);
        for wrong in ["ttft=2s", "ttft=2,tpot=1s", "itl=2s,tpot=1s", "ttft=-1s,tpot=1s", ""] {
            assert!(wrong.parse::<ServiceLevel>().is_err(), "{wrong}");
        }
    }
}
