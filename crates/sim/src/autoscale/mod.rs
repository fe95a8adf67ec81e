//! Replica-hours of autoscaling signals over a day's load, at an equal service level.
//!
//! Each signal drives the same autoscaler ([`hpa`]) of the same gateway. For each start-up time and
//! each signal, several targets are tried; the cheapest one that keeps the level counts.

mod elastic;
pub mod hpa;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use rayon::prelude::*;
use serde::Serialize;
use slotwise::Rng;

use crate::compare::progress;
use crate::curve::setup;
use crate::fleet::simulate_with;
use crate::measure::{percentile, share, sorted};
use crate::replica::Class;
use crate::trace::{Arrivals, Trace, single_requests};
use elastic::{Elastic, Hours};

/// The metric that an autoscaler follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// `slotwise_pool_average_queue_size`.
    Queue,
    /// `slotwise_pool_average_kv_cache_utilization`.
    Kv,
    /// `slotwise_pool_desired_replicas`.
    Hint,
}

impl Signal {
    /// All signals.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Kv, Self::Hint];

    /// The targets of a replica that are tried.
    pub const fn targets(self) -> &'static [f64] {
        match self {
            Self::Queue => &[0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
            Self::Kv => &[0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.4],
            Self::Hint => &[0.8, 0.9, 1.0, 1.15, 1.3, 1.5],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "HPA on queue size",
            Self::Kv => "HPA on KV use",
            Self::Hint => "HPA on desired replicas",
        }
    }
}

/// A deployment and its autoscaler.
#[derive(Clone, Copy, Debug)]
pub struct Sizing {
    /// The class of all replicas.
    pub class: Class,
    /// The signal.
    pub signal: Signal,
    /// Its target for a replica.
    pub target: f64,
    /// Time from the start of a replica to its first request.
    pub start_up: Duration,
    /// The least replicas, with which the day begins.
    pub least: usize,
    /// The most replicas.
    pub most: usize,
}

impl Sizing {
    /// Replicas that run at most: those that drain come on top.
    fn engines(&self) -> usize {
        2 * self.most
    }
}

/// One day of one autoscaler.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Day {
    /// The signal.
    pub signal: Signal,
    /// Its target for a replica.
    pub target: f64,
    /// Seconds from the start of a replica to its first request.
    pub start_up_s: f64,
    /// Hours of replicas.
    pub replica_hours: f64,
    /// The most replicas at once.
    pub most: usize,
    /// Share of the requests within the service level of `compare`.
    pub good: f64,
    /// Time to first token, 95th percentile, in seconds.
    pub ttft_p95_s: f64,
    /// Whether it is the cheapest target of its signal within the level.
    pub best: bool,
}

/// A day's load, compressed: the rate of requests by hour, over its peak. Night, morning, noon with
/// a dip, afternoon, evening.
const DAY: [f64; 24] = [
    0.16, 0.12, 0.10, 0.10, 0.12, 0.18, 0.30, 0.48, 0.72, 0.92, 1.00, 0.96, 0.80, 0.86, 0.98, 1.00,
    0.94, 0.82, 0.66, 0.54, 0.46, 0.38, 0.28, 0.20,
];

/// Requests whose rate follows a day with this peak, in requests a second, compressed to `length`.
pub fn day(input: f64, output: f64, peak: f64, length: Duration, seed: u64) -> Trace {
    let mut rng = Rng::new(seed ^ 0xda4);
    let seconds = length.as_secs_f64();
    let mut times = Vec::new();
    let mut now = 0.0;
    // Arrivals at the peak's rate are kept with the probability of their hour.
    loop {
        now -= (1.0 - rng.unit()).ln() / peak;
        if now >= seconds {
            break;
        }
        let hour = now / seconds * 24.0;
        let (from, to) = (DAY[hour as usize], DAY[(hour as usize + 1) % 24]);
        if rng.unit() < from + (to - from) * hour.fract() {
            times.push(now);
        }
    }
    let trace = single_requests(input, output, 0.6, times.len());
    Trace { arrivals: Arrivals::Recorded { seconds: times, quantum: 0.0 }, ..trace }
}

/// The days of all signals, targets and start-up times.
pub fn days(
    trace: &Trace,
    class: Class,
    start_ups: &[Duration],
    limits: [usize; 2],
    level: f64,
) -> Vec<Day> {
    let [least, most] = limits;
    let sizings: Vec<Sizing> = start_ups
        .iter()
        .flat_map(|start_up| Signal::ALL.map(|signal| (*start_up, signal)))
        .flat_map(|(start_up, signal)| {
            let sizing = move |target: &f64| Sizing {
                class,
                signal,
                target: *target,
                start_up,
                least,
                most,
            };
            signal.targets().iter().map(sizing)
        })
        .collect();
    let bar = progress(sizings.len() as u64, "days");
    let run = |sizing: &Sizing| {
        let day = one(trace, sizing);
        bar.inc(1);
        day
    };
    let mut days: Vec<Day> = sizings.par_iter().map(run).collect();
    bar.finish_and_clear();
    for start_up in start_ups {
        for signal in Signal::ALL {
            let of = |day: &&mut Day| {
                day.signal == signal
                    && day.start_up_s.total_cmp(&start_up.as_secs_f64()).is_eq()
                    && day.good >= level
            };
            let best = days
                .iter_mut()
                .filter(of)
                .min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
            if let Some(best) = best {
                best.best = true;
            }
        }
    }
    days
}

fn one(trace: &Trace, sizing: &Sizing) -> Day {
    let usage = Rc::new(RefCell::new(Hours::default()));
    let policy = Elastic::new(sizing, trace.block_tokens, Rc::clone(&usage));
    let setup = setup(sizing.class, sizing.engines(), 1.0, 1);
    let record = simulate_with(trace, &setup, Box::new(policy));
    let good = record.requests.iter().filter(|request| request.is_good()).count();
    let ttft = sorted(record.requests.iter().filter_map(|request| request.ttft()));
    let usage = *usage.borrow();
    Day {
        signal: sizing.signal,
        target: sizing.target,
        start_up_s: sizing.start_up.as_secs_f64(),
        replica_hours: usage.replica_hours,
        most: usage.most,
        good: share(good as f64, record.requests.len() as f64),
        ttft_p95_s: percentile(&ttft, 0.95),
        best: false,
    }
}

/// A table for the terminal; a star marks the cheapest target of a signal within the level.
pub fn table(days: &[Day]) -> String {
    let mut table = format!(
        "{:>8}  {:<24} {:>7} {:>13} {:>6} {:>7} {:>9}\n",
        "start-up", "signal", "target", "replica-hours", "most", "good", "TTFT p95"
    );
    for day in days {
        let _ = writeln!(
            table,
            "{:>7.0}s  {:<24} {:>7.2} {:>12.2}{} {:>6} {:>6.1}% {:>8.2}s",
            day.start_up_s,
            day.signal.name(),
            day.target,
            day.replica_hours,
            if day.best { "*" } else { " " },
            day.most,
            day.good * 100.0,
            day.ttft_p95_s
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_peak_at_noon_and_repeats() {
        let trace = day(500.0, 50.0, 20.0, Duration::from_secs(2_400), 1);
        let Arrivals::Recorded { seconds, .. } = &trace.arrivals else { panic!("recorded") };
        let within = |from: f64, to: f64| {
            seconds.iter().filter(|at| (from..to).contains(*at)).count() as f64 / (to - from)
        };
        assert!(within(1_000.0, 1_100.0) > 5.0 * within(200.0, 400.0));
        let again = day(500.0, 50.0, 20.0, Duration::from_secs(2_400), 1);
        assert_eq!(format!("{:?}", again.arrivals), format!("{:?}", trace.arrivals));
    }

    #[test]
    fn a_fleet_grows_and_shrinks_with_the_load() {
        let trace = day(2_000.0, 100.0, 12.0, Duration::from_secs(1_200), 1);
        let sizing = Sizing {
            class: "llama-8b-a100".parse().expect("known"),
            signal: Signal::Hint,
            target: 1.0,
            start_up: Duration::from_secs(30),
            least: 1,
            most: 20,
        };
        let day = one(&trace, &sizing);
        assert!(day.most > 1 && day.most < 20, "{day:?}");
        assert!(day.replica_hours < day.most as f64 / 3.0, "{day:?}");
        assert!(day.good > 0.5, "{day:?}");
    }
}
