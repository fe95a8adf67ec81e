//! The largest load that a policy carries within the service level.

use std::fmt::Write as _;

use rayon::prelude::*;
use serde::Serialize;

use crate::compare::progress;
use crate::fleet::{Setup, simulate};
use crate::measure::{Summary, median};
use crate::policy::PolicyKind;
use crate::trace::Trace;

/// 95 % of the first tokens come within this time.
pub const TTFT_P95_S: f64 = 5.0;
/// For 90 % of the requests, tokens after the first take this long at most on average.
pub const TPOT_P90_S: f64 = 0.1;

/// What `slotwise-sim sweep --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The workload.
    pub trace: String,
    /// Replicas.
    pub replicas: usize,
    /// Their class.
    pub class: String,
    /// The highest speed that was tried.
    pub highest: f64,
    /// The policies, in the order of the command line.
    pub policies: Vec<Limit>,
}

/// One policy's limit.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// Its name.
    pub policy: &'static str,
    /// The largest speed within the service level: the median over the seeds. Zero if none was
    /// found, and the highest speed that was tried if that is still within it.
    pub max_speed: f64,
    /// The largest speed for each seed.
    pub max_speeds: Vec<f64>,
}

/// The interval of speeds, and the precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// A speed that is low enough, if any is.
    pub low: f64,
    /// A speed that is too high.
    pub high: f64,
    /// Halvings of the interval.
    pub steps: u32,
}

/// Finds each policy's limit by bisection, for each seed by itself.
pub fn sweep(
    trace: &Trace,
    setup: &Setup,
    policies: &[PolicyKind],
    seeds: u64,
    bounds: Bounds,
) -> Sweep {
    let bar = progress(policies.len() as u64 * seeds * u64::from(bounds.steps + 2), "runs");
    let limits = policies.par_iter().map(|kind| {
        let limit = |seed| {
            let holds = |speed: f64| {
                let setup = Setup { seed: setup.seed + seed, speed, ..setup.clone() };
                let summary = Summary::of(&simulate(trace, &setup, kind));
                bar.inc(1);
                // A policy that refuses requests does not carry them.
                let carried = summary.completed == summary.requests;
                carried && summary.ttft_p95_s <= TTFT_P95_S && summary.tpot_p90_s <= TPOT_P90_S
            };
            bisect(bounds, holds)
        };
        let max_speeds: Vec<f64> = (0..seeds).into_par_iter().map(limit).collect();
        Limit { policy: kind.name, max_speed: median(max_speeds.clone()), max_speeds }
    });
    let policies = limits.collect();
    bar.finish_and_clear();
    Sweep {
        trace: trace.name.clone(),
        replicas: setup.replicas,
        class: setup.mix().names(),
        highest: bounds.high,
        policies,
    }
}

/// The largest speed for which `holds` is true. `holds` must be monotonic: true below that speed,
/// false above.
fn bisect(bounds: Bounds, holds: impl Fn(f64) -> bool) -> f64 {
    if holds(bounds.high) {
        return bounds.high;
    }
    if !holds(bounds.low) {
        return 0.0;
    }
    let (mut low, mut high) = (bounds.low, bounds.high);
    for _ in 0..bounds.steps {
        let middle = (low + high) / 2.0;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

impl Sweep {
    /// A table for the terminal.
    pub fn table(&self) -> String {
        let best = self.policies.iter().map(|limit| limit.max_speed).fold(0.0, f64::max);
        let mut table =
            format!("{:<24} {:>9} {:>8}  {}\n", "policy", "max speed", "of best", "for each seed");
        for limit in &self.policies {
            let seeds: Vec<String> =
                limit.max_speeds.iter().map(|speed| format!("{speed:.4}")).collect();
            let share = if best > 0.0 { limit.max_speed / best } else { 0.0 };
            let at_least = if limit.max_speed >= self.highest { ">=" } else { "" };
            let _ = writeln!(
                table,
                "{:<24} {:>9} {:>7.0}%  {}",
                limit.policy,
                format!("{at_least}{:.4}", limit.max_speed),
                share * 100.0,
                seeds.join(" ")
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_closes_in_from_below() {
        let bounds = Bounds { low: 0.1, high: 4.1, steps: 12 };
        let found = bisect(bounds, |speed| speed <= 1.5);
        assert!((1.499..=1.5).contains(&found), "{found}");
        assert!(bisect(bounds, |_| false).abs() < f64::EPSILON);
        assert!((bisect(bounds, |_| true) - 4.1).abs() < f64::EPSILON);
    }
}
