//! How many replicas of which class keep a service level, and what they cost.

use std::fmt::Write as _;

use rayon::prelude::*;
use serde::Serialize;

use crate::compare::progress;
use crate::curve::{own_rate, setup};
use crate::fleet::simulate;
use crate::measure::{Summary, measured, percentile, sorted};
use crate::policy::PolicyKind;
use crate::prices::Prices;
use crate::replica::Class;
use crate::service_level::ServiceLevel;
use crate::trace::Trace;

/// The answer for one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The class.
    pub class: &'static str,
    /// Its model and hardware.
    pub title: String,
    /// The least number of replicas that keeps the level with every seed; none within the limit.
    pub replicas: Option<usize>,
    /// Time to first token at that number, 95th percentile of the worst seed, in seconds.
    pub ttft_p95_s: f64,
    /// Time per output token, likewise.
    pub tpot_p95_s: f64,
    /// The price of an hour.
    pub cost_per_hour: Option<f64>,
}

/// The search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The service level: 95 % of the requests keep each time.
    pub level: ServiceLevel,
    /// Requests a second.
    pub rate: f64,
    /// Seeds that must all keep the level.
    pub seeds: u64,
    /// The most replicas to try.
    pub most: usize,
}

/// Finds the number of replicas of each class by doubling and bisection.
pub fn plan(trace: &Trace, classes: &[Class], search: Search, prices: Option<&Prices>) -> Vec<Row> {
    let bar = progress(classes.len() as u64, "classes");
    let row = |class: &Class| {
        let worst = |replicas: usize| worst(trace, *class, replicas, search);
        let keeps = |replicas: usize| {
            worst(replicas)
                .is_some_and(|[ttft, tpot]| ttft <= search.level.ttft && tpot <= search.level.tpot)
        };
        let replicas = least(search.most, keeps);
        let [ttft_p95_s, tpot_p95_s] = worst(replicas.unwrap_or(search.most)).unwrap_or([0.0; 2]);
        let price = prices.and_then(|prices| prices.per_replica_hour.get(class.name));
        bar.inc(1);
        Row {
            class: class.name,
            title: class.to_string(),
            replicas,
            ttft_p95_s,
            tpot_p95_s,
            cost_per_hour: price.zip(replicas).map(|(price, count)| price * count as f64),
        }
    };
    let rows = classes.par_iter().map(row).collect();
    bar.finish_and_clear();
    rows
}

/// The worst 95th percentiles over the seeds; none if a request was not answered.
fn worst(trace: &Trace, class: Class, replicas: usize, search: Search) -> Option<[f64; 2]> {
    let speed = search.rate / own_rate(trace);
    let kind = PolicyKind::named("slotwise").expect("a known policy");
    let runs = (1..=search.seeds).into_par_iter().map(|seed| {
        let record = simulate(trace, &setup(class, replicas, speed, seed), &kind);
        let summary = Summary::of(&record);
        let tpot = sorted(measured(&record).iter().filter_map(|request| request.tpot()));
        (summary.completed == summary.requests)
            .then(|| [summary.ttft_p95_s, percentile(&tpot, 0.95)])
    });
    let runs: Option<Vec<[f64; 2]>> = runs.collect();
    Some(runs?.into_iter().fold([0.0, 0.0], |a, b| [a[0].max(b[0]), a[1].max(b[1])]))
}

/// The least number from 1 to `most` for which `holds` is true. `holds` must be monotonic.
fn least(most: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, 1);
    while !holds(high) {
        if high == most {
            return None;
        }
        (low, high) = (high, (2 * high).min(most));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// A table for the terminal, the cheapest class first. Without prices it has no cost.
pub fn table(rows: &[Row], prices: Option<&Prices>) -> String {
    let mut table =
        format!("{:<18} {:>8} {:>9} {:>9}", "class", "replicas", "TTFT p95", "TPOT p95");
    if let Some(prices) = prices {
        let _ = write!(table, " {:>14}", format!("{}/hour", prices.currency));
    }
    table.push_str("  hardware\n");
    for row in sorted_rows(rows) {
        let replicas = row.replicas.map_or_else(|| "-".into(), |replicas| replicas.to_string());
        let _ = write!(
            table,
            "{:<18} {replicas:>8} {:>8.2}s {:>7.0}ms",
            row.class,
            row.ttft_p95_s,
            row.tpot_p95_s * 1e3
        );
        if prices.is_some() {
            let cost = row.cost_per_hour.map_or_else(|| "-".into(), |cost| format!("{cost:.2}"));
            let _ = write!(table, " {cost:>14}");
        }
        let _ = writeln!(table, "  {}", row.title);
    }
    table
}

/// The cheapest first; without prices, the fewest replicas first.
pub fn sorted_rows(rows: &[Row]) -> Vec<&Row> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |row: &Row| {
            let cost = row.cost_per_hour.unwrap_or(f64::INFINITY);
            (cost, row.replicas.unwrap_or(usize::MAX))
        };
        let ((a_cost, a_count), (b_cost, b_count)) = (key(a), key(b));
        a_cost.total_cmp(&b_cost).then(a_count.cmp(&b_count))
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_is_found_for_every_answer() {
        for most in 1..40 {
            for wanted in 1..=most {
                assert_eq!(least(most, |count| count >= wanted), Some(wanted));
            }
            assert_eq!(least(most, |_| false), None);
        }
    }
}
