//! Replica-hours of autoscaling signals over a day's load, at an equal service level.
//!
//! Each signal drives the same autoscaler ([`hpa`]) of the same gateway. For each start-up time and
//! each signal, several targets are tried; the cheapest one that keeps the level counts.

mod elastic;
pub mod hpa;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::str::FromStr;
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
            Self::Queue => &[0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0],
            Self::Kv => &[0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.3],
            Self::Hint => &[0.8, 0.9, 1.0, 1.1, 1.2],
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Queue => "HPA on queue size",
            Self::Kv => "HPA on KV use",
            Self::Hint => "HPA on desired replicas",
        }
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "queue" => Ok(Self::Queue),
            "kv" => Ok(Self::Kv),
            "hint" => Ok(Self::Hint),
            _ => Err(format!("no signal is called {name:?}; known are queue, kv, hint")),
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

/// Days of one autoscaler, one for each seed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Days {
    /// The signal.
    pub signal: Signal,
    /// Its target for a replica.
    pub target: f64,
    /// Seconds from the start of a replica to its first request.
    pub start_up_s: f64,
    /// Hours of replicas of a day, the mean over the seeds.
    pub replica_hours: f64,
    /// The most replicas at once with any seed.
    pub most: usize,
    /// Share of the requests within the service level of `compare`, with the worst seed.
    pub good: f64,
    /// Time to first token, 95th percentile of the worst seed, in seconds.
    pub ttft_p95_s: f64,
    /// Whether it is the cheapest target of its signal that keeps the level with every seed.
    pub best: bool,
}

/// The rate of requests by hour, over its peak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shape {
    /// Night, morning, noon with a dip, afternoon, evening.
    #[default]
    Office,
    /// A slow morning, and one peak in the evening.
    Evening,
    /// A batch window: the load quadruples within an hour, stays, and ends within one.
    Plateau,
}

impl Shape {
    /// All shapes, by their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("office", Self::Office), ("evening", Self::Evening), ("plateau", Self::Plateau)];

    const fn hours(self) -> [f64; 24] {
        match self {
            Self::Office => [
                0.16, 0.12, 0.10, 0.10, 0.12, 0.18, 0.30, 0.48, 0.72, 0.92, 1.00, 0.96, 0.80, 0.86,
                0.98, 1.00, 0.94, 0.82, 0.66, 0.54, 0.46, 0.38, 0.28, 0.20,
            ],
            Self::Evening => [
                0.40, 0.28, 0.20, 0.15, 0.12, 0.12, 0.15, 0.20, 0.26, 0.32, 0.36, 0.40, 0.46, 0.44,
                0.42, 0.46, 0.54, 0.66, 0.80, 0.94, 1.00, 0.96, 0.80, 0.58,
            ],
            Self::Plateau => [
                0.20, 0.20, 0.20, 0.20, 0.20, 0.20, 0.22, 0.25, 0.25, 1.00, 1.00, 1.00, 1.00, 1.00,
                1.00, 1.00, 1.00, 0.40, 0.25, 0.25, 0.22, 0.20, 0.20, 0.20,
            ],
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape);
        found.ok_or_else(|| {
            let known = Self::ALL.map(|(name, _)| name).join(", ");
            format!("no day is called {name:?}; known are {known}")
        })
    }
}

/// A day's load, compressed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The rate by hour.
    pub shape: Shape,
    /// Mean tokens of a prompt.
    pub input: f64,
    /// Mean tokens of an answer.
    pub output: f64,
    /// Requests a second at the peak.
    pub peak: f64,
    /// The length of the day.
    pub length: Duration,
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Search {
    /// The class of all replicas.
    pub class: Class,
    /// Start-up times.
    pub start_ups: Vec<Duration>,
    /// Signals.
    pub signals: Vec<Signal>,
    /// Targets of each signal; its own ones if empty.
    pub targets: Vec<f64>,
    /// The least and the most replicas.
    pub limits: [usize; 2],
    /// The share of the requests that must keep the service level.
    pub level: f64,
    /// Seeds, one for each day.
    pub seeds: Vec<u64>,
}

/// The requests of one day.
pub fn day(load: &Load, seed: u64) -> Trace {
    let Load { input, output, peak, length, .. } = *load;
    let hours = load.shape.hours();
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
        let (from, to) = (hours[hour as usize], hours[(hour as usize + 1) % 24]);
        if rng.unit() < from + (to - from) * hour.fract() {
            times.push(now);
        }
    }
    let trace = single_requests(input, output, 0.6, times.len());
    Trace { arrivals: Arrivals::Recorded { seconds: times, quantum: 0.0 }, ..trace }
}

/// The days of all start-up times, signals and targets.
pub fn days(load: &Load, search: &Search) -> Vec<Days> {
    let traces: Vec<Trace> = search.seeds.iter().map(|seed| day(load, *seed)).collect();
    let sizings = search.sizings();
    let bar = progress((sizings.len() * traces.len()) as u64, "days");
    let run = |sizing: &Sizing| {
        let days: Vec<Day> = traces
            .par_iter()
            .map(|trace| {
                let day = one(trace, sizing);
                bar.inc(1);
                day
            })
            .collect();
        Days::of(sizing, &days)
    };
    let mut all: Vec<Days> = sizings.par_iter().map(run).collect();
    bar.finish_and_clear();
    for start_up in &search.start_ups {
        for signal in &search.signals {
            let of = |days: &&mut Days| {
                days.signal == *signal
                    && days.start_up_s.total_cmp(&start_up.as_secs_f64()).is_eq()
                    && days.good >= search.level
            };
            let best = all
                .iter_mut()
                .filter(of)
                .min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
            if let Some(best) = best {
                best.best = true;
            }
        }
    }
    all
}

impl Search {
    fn sizings(&self) -> Vec<Sizing> {
        let mut sizings = Vec::new();
        let [least, most] = self.limits;
        for start_up in &self.start_ups {
            for signal in &self.signals {
                let targets = match self.targets.as_slice() {
                    [] => signal.targets(),
                    given => given,
                };
                sizings.extend(targets.iter().map(|target| Sizing {
                    class: self.class,
                    signal: *signal,
                    target: *target,
                    start_up: *start_up,
                    least,
                    most,
                }));
            }
        }
        sizings
    }
}

/// One day of one autoscaler.
#[derive(Clone, Copy, Debug)]
struct Day {
    hours: Hours,
    good: f64,
    ttft_p95_s: f64,
}

impl Days {
    fn of(sizing: &Sizing, days: &[Day]) -> Self {
        Self {
            signal: sizing.signal,
            target: sizing.target,
            start_up_s: sizing.start_up.as_secs_f64(),
            replica_hours: share(
                days.iter().map(|day| day.hours.replica_hours).sum(),
                days.len() as f64,
            ),
            most: days.iter().map(|day| day.hours.most).max().unwrap_or(0),
            good: days.iter().map(|day| day.good).fold(1.0, f64::min),
            ttft_p95_s: days.iter().map(|day| day.ttft_p95_s).fold(0.0, f64::max),
            best: false,
        }
    }
}

fn one(trace: &Trace, sizing: &Sizing) -> Day {
    let usage = Rc::new(RefCell::new(Hours::default()));
    let policy = Elastic::new(sizing, trace.block_tokens, Rc::clone(&usage));
    let setup = setup(sizing.class, sizing.engines(), 1.0, 1);
    let record = simulate_with(trace, &setup, Box::new(policy));
    let good = record.requests.iter().filter(|request| record.level.holds(request)).count();
    let ttft = sorted(record.requests.iter().filter_map(|request| request.ttft()));
    let hours = *usage.borrow();
    Day {
        hours,
        good: share(good as f64, record.requests.len() as f64),
        ttft_p95_s: percentile(&ttft, 0.95),
    }
}

/// A table for the terminal; a star marks the cheapest target of a signal within the level.
pub fn table(days: &[Days]) -> String {
    let mut table = format!(
        "{:>8}  {:<24} {:>7} {:>13} {:>6} {:>7} {:>9}\n",
        "start-up", "signal", "target", "replica-hours", "most", "good", "TTFT p95"
    );
    for day in days {
        let _ = writeln!(
            table,
            "{:>7.0}s  {:<24} {:>7.2} {:>12.2}{} {:>6} {:>6.1}% {:>8.2}s",
            day.start_up_s,
            day.signal.title(),
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

    fn load(input: f64, output: f64, peak: f64, seconds: u64) -> Load {
        let length = Duration::from_secs(seconds);
        Load { shape: Shape::Office, input, output, peak, length }
    }

    #[test]
    fn a_day_has_its_peak_at_noon_and_repeats() {
        let load = load(500.0, 50.0, 20.0, 2_400);
        let trace = day(&load, 1);
        let Arrivals::Recorded { seconds, .. } = &trace.arrivals else { panic!("recorded") };
        let within = |from: f64, to: f64| {
            seconds.iter().filter(|at| (from..to).contains(*at)).count() as f64 / (to - from)
        };
        assert!(within(1_000.0, 1_100.0) > 5.0 * within(200.0, 400.0));
        let again = day(&load, 1);
        assert_eq!(format!("{:?}", again.arrivals), format!("{:?}", trace.arrivals));
    }

    #[test]
    fn a_fleet_grows_and_shrinks_with_the_load() {
        let trace = day(&load(2_000.0, 100.0, 12.0, 1_200), 1);
        let sizing = Sizing {
            class: "llama-8b-a100".parse().expect("known"),
            signal: Signal::Hint,
            target: 1.0,
            start_up: Duration::from_secs(30),
            least: 1,
            most: 20,
        };
        let day = one(&trace, &sizing);
        assert!(day.hours.most > 1 && day.hours.most < 20, "{day:?}");
        assert!(day.hours.replica_hours < day.hours.most as f64 / 3.0, "{day:?}");
        assert!(day.good > 0.5, "{day:?}");
    }
}
