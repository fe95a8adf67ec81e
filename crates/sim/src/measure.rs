//! The figures that are compared, from the events of a run.

use serde::Serialize;
use slotwise::Instant;

use crate::fleet::{Outcome, Record};

/// Unless another service level is given, a request is good if its first token comes within this
/// time.
pub const TTFT_SLO_S: f64 = 2.0;
/// And the mean time of the tokens after it is at most this.
pub const TPOT_SLO_S: f64 = 0.1;
/// The share of requests, the first ones, that only warm the caches.
const WARM_UP: f64 = 0.1;

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Requests that arrived after the warm-up.
    pub requests: u64,
    /// Requests after the warm-up that were answered.
    pub completed: u64,
    /// Requests after the warm-up that were rejected.
    pub rejected: u64,
    /// Time to first token, median, in seconds.
    pub ttft_p50_s: f64,
    /// Time to first token, 90th percentile.
    pub ttft_p90_s: f64,
    /// Time to first token, 99th percentile.
    pub ttft_p99_s: f64,
    /// Time per output token after the first, 90th percentile over requests of the mean of each.
    pub tpot_p90_s: f64,
    /// Time to the last token, median.
    pub e2e_p50_s: f64,
    /// Share of the requests that kept the service level. By default, the first token came within
    /// 2 s, and the others took 100 ms at most on average.
    pub goodput: f64,
    /// Share of prompt tokens that were found in the cache.
    pub hit_ratio: f64,
    /// Answers a second, from the first request to the last answer.
    pub throughput_rps: f64,
    /// Requests on the busiest replica over the mean of all, over time: 1 is perfect balance.
    pub imbalance: f64,
    /// Adapters that the replicas loaded, over the whole run.
    pub adapter_loads: u64,
    /// Time to first token, 95th percentile; for the sweep.
    #[serde(skip)]
    pub ttft_p95_s: f64,
}

/// One of the figures that are means, shares or percentiles: the list that medians and ranges go
/// through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// Its name, as in JSON.
    pub(crate) name: &'static str,
    place: fn(&mut Summary) -> &mut f64,
}

/// All figures.
pub(crate) const FIGURES: [Figure; 10] = [
    Figure { name: "ttft_p50_s", place: |s| &mut s.ttft_p50_s },
    Figure { name: "ttft_p90_s", place: |s| &mut s.ttft_p90_s },
    Figure { name: "ttft_p95_s", place: |s| &mut s.ttft_p95_s },
    Figure { name: "ttft_p99_s", place: |s| &mut s.ttft_p99_s },
    Figure { name: "tpot_p90_s", place: |s| &mut s.tpot_p90_s },
    Figure { name: "e2e_p50_s", place: |s| &mut s.e2e_p50_s },
    Figure { name: "goodput", place: |s| &mut s.goodput },
    Figure { name: "hit_ratio", place: |s| &mut s.hit_ratio },
    Figure { name: "throughput_rps", place: |s| &mut s.throughput_rps },
    Figure { name: "imbalance", place: |s| &mut s.imbalance },
];

impl Figure {
    /// Its value in each of several runs.
    pub(crate) fn of(self, runs: &[Summary]) -> Vec<f64> {
        runs.iter().map(|run| *(self.place)(&mut run.clone())).collect()
    }
}

impl Summary {
    /// The figures of a run, without its warm-up.
    pub fn of(record: &Record) -> Self {
        let requests = measured(record);
        let completed: Vec<&Outcome> = requests.iter().filter(|r| r.finished.is_some()).collect();
        let ttft = sorted(completed.iter().filter_map(|r| r.ttft()));
        let tpot = sorted(completed.iter().filter_map(|r| r.tpot()));
        let e2e = sorted(completed.iter().filter_map(|r| r.e2e()));
        let good = completed.iter().filter(|r| record.level.holds(r)).count();
        let (cached, input) = completed
            .iter()
            .fold((0u64, 0u64), |(c, i), r| (c + u64::from(r.cached), i + u64::from(r.input)));
        let first = requests.first().map_or(Instant::ORIGIN, |r| r.arrived);
        let last = completed.iter().filter_map(|r| r.finished).max().unwrap_or(first);
        Self {
            requests: requests.len() as u64,
            completed: completed.len() as u64,
            rejected: requests.iter().filter(|r| r.replica.is_none()).count() as u64,
            ttft_p50_s: percentile(&ttft, 0.50),
            ttft_p90_s: percentile(&ttft, 0.90),
            ttft_p95_s: percentile(&ttft, 0.95),
            ttft_p99_s: percentile(&ttft, 0.99),
            tpot_p90_s: percentile(&tpot, 0.90),
            e2e_p50_s: percentile(&e2e, 0.50),
            goodput: share(good as f64, requests.len() as f64),
            hit_ratio: share(cached as f64, input as f64),
            throughput_rps: share(
                completed.len() as f64,
                last.saturating_since(first).as_secs_f64(),
            ),
            adapter_loads: record.adapter_loads,
            imbalance: imbalance(
                record.loads.iter().filter(|(at, _)| *at >= first).map(|(_, loads)| &**loads),
            ),
        }
    }

    /// The median of each figure over several runs.
    pub fn median(runs: &[Self]) -> Self {
        let count = |of: fn(&Self) -> u64| {
            median(runs.iter().map(|run| of(run) as f64).collect()).round() as u64
        };
        let mut all = Self {
            requests: count(|s| s.requests),
            completed: count(|s| s.completed),
            rejected: count(|s| s.rejected),
            adapter_loads: count(|s| s.adapter_loads),
            ..Self::default()
        };
        for figure in FIGURES {
            *(figure.place)(&mut all) = median(figure.of(runs));
        }
        all
    }
}

impl Outcome {
    /// Seconds to the first token.
    pub fn ttft(&self) -> Option<f64> {
        Some(self.first_token?.saturating_since(self.arrived).as_secs_f64())
    }

    /// Mean seconds per token after the first; none if there was only one.
    pub fn tpot(&self) -> Option<f64> {
        let after = self.output.checked_sub(1).filter(|tokens| *tokens > 0)?;
        Some(self.finished?.saturating_since(self.first_token?).as_secs_f64() / f64::from(after))
    }

    /// Seconds to the last token.
    pub fn e2e(&self) -> Option<f64> {
        Some(self.finished?.saturating_since(self.arrived).as_secs_f64())
    }
}

/// The value that `share` of the sorted values do not exceed; 0 if there are none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The middle value, or the mean of the two middle ones; 0 if there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    (values[last / 2] + values[last.div_ceil(2)]) / 2.0
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The sum of the busiest replica's requests over the sum of the mean, so that quiet seconds weigh
/// little.
fn imbalance<'a>(loads: impl Iterator<Item = &'a [u32]>) -> f64 {
    let (mut busiest, mut mean) = (0.0, 0.0);
    for replicas in loads {
        busiest += f64::from(replicas.iter().copied().max().unwrap_or(0));
        mean += f64::from(replicas.iter().sum::<u32>()) / replicas.len().max(1) as f64;
    }
    if mean > 0.0 { busiest / mean } else { 1.0 }
}

/// The requests after the warm-up.
pub(crate) fn measured(record: &Record) -> &[Outcome] {
    &record.requests[(record.requests.len() as f64 * WARM_UP) as usize..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.9, 0.99, 1.0].map(|p| percentile(&values, p) as u32), [50, 90, 99, 100]);
        assert_eq!(percentile(&[7.0], 0.5) as u32, 7);
        assert_eq!(percentile(&[], 0.5) as u32, 0);
    }

    #[test]
    fn imbalance_is_one_when_all_carry_the_same() {
        let of = |loads: [[u32; 2]; 2]| imbalance(loads.iter().map(|loads| &loads[..]));
        assert!((of([[3, 3], [5, 5]]) - 1.0).abs() < 1e-12);
        assert!((of([[4, 0], [0, 4]]) - 2.0).abs() < 1e-12);
    }
}
