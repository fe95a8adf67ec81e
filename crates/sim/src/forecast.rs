//! How far predicted latency is from simulated latency, and whether refusals for deadlines are
//! right.

use std::fmt;

use crate::fleet::{Outcome, Record, Setup, simulate};
use crate::measure::{measured, percentile, share, sorted};
use crate::policy::PolicyKind;
use crate::trace::Trace;

/// The accuracy of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Predicted over simulated time to first token.
    pub ttft: Ratios,
    /// Predicted over simulated time per output token.
    pub tpot: Ratios,
    /// Refused requests that were sent nevertheless.
    pub audited: u64,
    /// Of these, the share that missed the deadline.
    pub right: f64,
    /// Requests that were admitted with a deadline.
    pub admitted: u64,
    /// Of these, the share that met it.
    pub met: f64,
}

/// Percentiles of a ratio; 1 is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ratios {
    /// The 5th percentile.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
}

/// The columns of [`Accuracy`], after the speed.
pub const HEADING: &str = " speed |   TTFT p5    p50    p95 |   TPOT p5    p50    p95 \
    | audited  right | admitted    met";
/// What the columns mean.
pub const EXPLANATION: &str = "TTFT and TPOT: predicted over simulated, without deadlines. audited: \
    refused requests that were sent nevertheless; right: the share that missed the deadline. met: \
    the share of admitted requests that met it.";

impl Accuracy {
    /// Runs the workload without deadlines for the ratios, and with them for the refusals.
    pub fn of(trace: &Trace, setup: &Setup) -> Self {
        let run = |policy: &str| {
            simulate(trace, setup, &PolicyKind::named(policy).expect("a known policy"))
        };
        let (plain, deadlines) = (run("slotwise"), run("slotwise-deadlines"));
        let met = |outcome: &&Outcome| {
            outcome.ttft().is_some_and(|ttft| ttft <= setup.deadline.as_secs_f64())
        };
        let refused = |refused: bool| {
            let sent = measured(&deadlines).iter();
            sent.filter(move |r| r.forecast.is_some_and(|forecast| forecast.refused == refused))
        };
        let count = |requests: &mut dyn Iterator<Item = &Outcome>| requests.count() as f64;
        let (audited, admitted) = (count(&mut refused(true)), count(&mut refused(false)));
        Self {
            ttft: Ratios::of(&plain, |r, predicted| {
                let sent = r.dispatched?;
                Some((predicted.ttft, r.first_token?.saturating_since(sent).as_secs_f64()))
            }),
            tpot: Ratios::of(&plain, |r, predicted| Some((predicted.tpot, r.tpot()?))),
            audited: audited as u64,
            right: 1.0 - share(count(&mut refused(true).filter(met)), audited),
            admitted: admitted as u64,
            met: share(count(&mut refused(false).filter(met)), admitted),
        }
    }
}

impl Ratios {
    /// The ratios of the pairs of predicted and simulated seconds.
    fn of(
        record: &Record,
        pair: impl Fn(&Outcome, crate::policy::Forecast) -> Option<(f64, f64)>,
    ) -> Self {
        let pairs = measured(record).iter().filter_map(|r| pair(r, r.forecast?));
        let ratios = sorted(pairs.filter(|(_, real)| *real > 0.0).map(|(told, real)| told / real));
        Self {
            p5: percentile(&ratios, 0.05),
            p50: percentile(&ratios, 0.5),
            p95: percentile(&ratios, 0.95),
        }
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {:>7} {:>5.1}% | {:>8} {:>5.1}%",
            self.ttft,
            self.tpot,
            self.audited,
            self.right * 100.0,
            self.admitted,
            self.met * 100.0
        )
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.2} {:>6.2} {:>6.2}", self.p5, self.p50, self.p95)
    }
}
