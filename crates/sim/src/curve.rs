//! Latency against throughput, for each class of replicas and each size of the fleet.

use std::fmt::Write as _;
use std::time::Duration;

use rayon::prelude::*;
use serde::Serialize;
use slotwise::KvTransferCost;

use crate::clients::Clients;
use crate::compare::progress;
use crate::fleet::{Outcome, Setup, simulate};
use crate::measure::{measured, percentile, share, sorted};
use crate::policy::PolicyKind;
use crate::pools::Pools;
use crate::replica::{Class, EngineConfig};
use crate::service_level::ServiceLevel;
use crate::trace::{Arrivals, Trace};

pub use crate::trace::single_requests;

/// The curve of one class at one number of replicas.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The class's name.
    pub class: String,
    /// Replicas.
    pub replicas: usize,
    /// Points of rising load.
    pub points: Vec<Point>,
}

/// The latencies at one load. Times are in seconds: median, 90th and 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Requests that arrive in a second.
    pub rate: f64,
    /// Answers a second.
    pub throughput: f64,
    /// Tokens of answers a second.
    pub tokens: f64,
    /// Time to first token.
    pub ttft: [f64; 3],
    /// Time per output token after the first.
    pub tpot: [f64; 3],
    /// Time to the last token.
    pub e2e: [f64; 3],
    /// Requests that no replica could serve.
    pub refused: usize,
}

/// Shares of the largest throughput at which a curve has points, if no rates are given.
const SHARES: [f64; 9] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1];

/// The curves of each class and each number of replicas, classes first. Without `rates`, the loads
/// are shares of the largest throughput.
pub fn curves(trace: &Trace, classes: &[Class], replicas: &[usize], rates: &[f64]) -> Vec<Curve> {
    let fleets: Vec<(Class, usize)> = classes
        .iter()
        .flat_map(|class| replicas.iter().map(|replicas| (*class, *replicas)))
        .collect();
    let bar = progress(fleets.len() as u64, "curves");
    let curve = |(class, replicas): &(Class, usize)| {
        let rates = if rates.is_empty() {
            let most = largest_throughput(trace, *class, *replicas);
            SHARES.iter().map(|share| share * most).collect()
        } else {
            rates.to_vec()
        };
        let points =
            rates.par_iter().map(|rate| at_rate(trace, *class, *replicas, *rate, 1)).collect();
        bar.inc(1);
        Curve { class: class.name.into(), replicas: *replicas, points }
    };
    let curves = fleets.par_iter().map(curve).collect();
    bar.finish_and_clear();
    curves
}

/// Answers a second while every replica has more requests than it can batch.
fn largest_throughput(trace: &Trace, class: Class, replicas: usize) -> f64 {
    at_rate(trace, class, replicas, own_rate(trace) * 1e3, 1).throughput.max(1e-3)
}

/// The latencies at `rate` requests a second under slotwise.
pub fn at_rate(trace: &Trace, class: Class, replicas: usize, rate: f64, seed: u64) -> Point {
    let setup = setup(class, replicas, rate / own_rate(trace), seed);
    let kind = PolicyKind::named("slotwise").expect("a known policy");
    let record = simulate(trace, &setup, &kind);
    let requests = measured(&record);
    let times = |of: fn(&Outcome) -> Option<f64>| {
        let times = sorted(requests.iter().filter_map(of));
        [0.5, 0.9, 0.99].map(|share| percentile(&times, share))
    };
    let finished: Vec<&Outcome> =
        requests.iter().filter(|request| request.finished.is_some()).collect();
    let ends = sorted(
        finished.iter().filter_map(|request| Some(request.finished?.as_micros() as f64 / 1e6)),
    );
    let throughput = middle_rate(&ends);
    let tokens = finished.iter().map(|request| f64::from(request.output)).sum::<f64>();
    Point {
        rate,
        throughput,
        tokens: throughput * share(tokens, finished.len() as f64),
        ttft: times(Outcome::ttft),
        tpot: times(Outcome::tpot),
        e2e: times(Outcome::e2e),
        refused: requests.iter().filter(|request| request.refused.is_some()).count(),
    }
}

/// Ends a second over the middle four fifths: the first and the last answers of a run come while
/// the fleet is not loaded.
fn middle_rate(ends: &[f64]) -> f64 {
    let (from, to) = (ends.len() / 10, ends.len() - ends.len().div_ceil(10));
    if from >= to {
        return 0.0;
    }
    share((to - from) as f64, ends[to] - ends[from])
}

/// A fleet of equal replicas with its defaults.
pub(crate) fn setup(class: Class, replicas: usize, speed: f64, seed: u64) -> Setup {
    Setup {
        replicas,
        pools: Pools {
            prefill: 0,
            decode: 0,
            transfer: KvTransferCost::new(f64::from(class.kv_bytes), 25e9),
        },
        engine: EngineConfig::new(class),
        mix: None,
        deadline: Duration::MAX,
        level: ServiceLevel::default(),
        slow: None,
        scrape: Duration::from_millis(50),
        delay: Duration::from_millis(5),
        speed,
        clients: Clients::default(),
        gateways: None,
        seed,
    }
}

/// Requests a second at speed 1: of all sessions, if their clients wait for no answer.
pub fn own_rate(trace: &Trace) -> f64 {
    let requests = trace.requests().max(1) as f64;
    let sessions = trace
        .sessions
        .iter()
        .filter(|session| !session.spawned && !session.turns.is_empty())
        .count()
        .max(1) as f64;
    match &trace.arrivals {
        Arrivals::Poisson(rate) => rate * requests / sessions,
        Arrivals::Sessions => requests / sessions,
        Arrivals::Recorded { seconds, .. } => {
            requests / seconds.iter().copied().fold(0.0, f64::max).max(1e-3)
        }
    }
}

/// A table for the terminal.
pub fn table(curves: &[Curve]) -> String {
    let mut table = String::new();
    for curve in curves {
        let _ = writeln!(
            table,
            "{} x {}\n{:>9} {:>9} {:>9} | {:>8} {:>8} {:>8} | {:>6} {:>6} {:>6} | {:>7} {:>7} {:>7}",
            curve.replicas,
            curve.class,
            "offered/s",
            "req/s",
            "tokens/s",
            "TTFT p50",
            "p90",
            "p99",
            "TPOT",
            "p90",
            "p99",
            "e2e p50",
            "p90",
            "p99"
        );
        for point in &curve.points {
            let _ = write!(
                table,
                "{:>9.2} {:>9.2} {:>9.0} |",
                point.rate, point.throughput, point.tokens
            );
            point.ttft.iter().for_each(|time| {
                let _ = write!(table, " {time:>7.2}s");
            });
            table.push_str(" |");
            point.tpot.iter().for_each(|time| {
                let _ = write!(table, " {:>4.0}ms", time * 1e3);
            });
            table.push_str(" |");
            point.e2e.iter().for_each(|time| {
                let _ = write!(table, " {time:>6.1}s");
            });
            table.push('\n');
        }
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::middle_rate;

    #[test]
    fn slow_ends_do_not_count() {
        let mut ends: Vec<f64> = (0..100).map(|number| 10.0 + f64::from(number) * 0.5).collect();
        assert!((middle_rate(&ends) - 2.0).abs() < 1e-9);
        ends[99] = 1e6;
        ends[0] = -1e6;
        assert!((middle_rate(&ends) - 2.0).abs() < 1e-9);
        assert!(middle_rate(&[]).abs() < 1e-9 && middle_rate(&[1.0]).abs() < 1e-9);
    }
}
