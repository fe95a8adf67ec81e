//! How far predicted latency is from simulated latency, and whether refusals for deadlines are
//! right.

use std::fmt;

use rayon::prelude::*;

use crate::fleet::{Outcome, Record, Setup, simulate};
use crate::measure::{measured, median, percentile, share, sorted};
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
    /// The least and the greatest `right` of a seed.
    pub right_range: [f64; 2],
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
    | audited  right        range | admitted    met";
/// What the columns mean.
pub const EXPLANATION: &str = "TTFT and TPOT: predicted over simulated, without deadlines. audited: \
    refused requests that were sent nevertheless; right: the share that missed the deadline. met: \
    the share of admitted requests that met it. Of several seeds: medians of the ratios, sums of \
    the requests, and the range of right.";

impl Accuracy {
    /// As [`of`](Self::of) over several seeds: medians of the ratios, and all their requests.
    pub fn of_seeds(trace: &Trace, setup: &Setup, seeds: u64) -> Self {
        let seeds = (0..seeds).into_par_iter();
        let runs: Vec<Self> = seeds
            .map(|seed| Self::of(trace, &Setup { seed: setup.seed + seed, ..setup.clone() }))
            .collect();
        let ratios = |of: fn(&Self) -> Ratios| {
            let figure = |figure: fn(Ratios) -> f64| {
                median(runs.iter().map(|run| figure(of(run))).collect())
            };
            Ratios { p5: figure(|r| r.p5), p50: figure(|r| r.p50), p95: figure(|r| r.p95) }
        };
        let pooled = |part: fn(&Self) -> (f64, u64)| {
            let parts: Vec<(f64, u64)> = runs.iter().map(part).collect();
            let all = parts.iter().map(|(_, count)| count).sum::<u64>();
            let of_share = parts.iter().map(|(share, count)| share * *count as f64).sum::<f64>();
            (share(of_share, all as f64), all)
        };
        let (right, audited) = pooled(|run| (run.right, run.audited));
        let (met, admitted) = pooled(|run| (run.met, run.admitted));
        let by_seed = sorted(runs.iter().filter(|run| run.audited > 0).map(|run| run.right));
        Self {
            ttft: ratios(|run| run.ttft),
            tpot: ratios(|run| run.tpot),
            audited,
            right,
            admitted,
            met,
            right_range: [percentile(&by_seed, 0.0), percentile(&by_seed, 1.0)],
        }
    }

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
        let right = 1.0 - share(count(&mut refused(true).filter(met)), audited);
        Self {
            ttft: Ratios::of(&plain, |r, predicted| {
                let sent = r.dispatched?;
                Some((predicted.ttft, r.first_token?.saturating_since(sent).as_secs_f64()))
            }),
            tpot: Ratios::of(&plain, |r, predicted| Some((predicted.tpot, r.tpot()?))),
            audited: audited as u64,
            right,
            right_range: [right; 2],
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
            "| {} | {} | {:>7} {:>5.1}% {:>5.1}-{:>5.1}% | {:>8} {:>5.1}%",
            self.ttft,
            self.tpot,
            self.audited,
            self.right * 100.0,
            self.right_range[0] * 100.0,
            self.right_range[1] * 100.0,
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
