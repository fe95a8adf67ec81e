//! How a row is measured: contestants take turns, many rounds, so that noise hits all alike.

use std::time::{Duration, Instant};

use crate::table::Cell;

/// How much work a run does.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Whether this is a quick look.
    pub quick: bool,
    /// Samples of each contestant, at most.
    pub samples: usize,
    /// Time for a row, for all contestants together.
    pub row: Duration,
    /// Time to fill one contestant's index.
    pub fill: Duration,
}

impl Effort {
    /// All rows, about ten minutes.
    pub const FULL: Self =
        Self { quick: false, samples: 2_000, row: Duration::from_millis(700), fill: Duration::from_secs(45) };
    /// Fewer and smaller rows, about one minute.
    pub const QUICK: Self =
        Self { quick: true, samples: 400, row: Duration::from_millis(150), fill: Duration::from_secs(8) };

    /// One of two, by effort.
    pub fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Lets the contestants take turns until each has its samples or the row's time is over. `turn`
    /// gets the contestant's place, the round, and a list for samples in nanoseconds per operation;
    /// a contestant without an index adds none.
    pub fn race(
        &self,
        contestants: usize,
        mut turn: impl FnMut(usize, usize, &mut Vec<f64>),
    ) -> Vec<Samples> {
        let mut samples = vec![Samples::default(); contestants];
        let start = Instant::now();
        for round in 0.. {
            for place in 0..contestants {
                // Each round begins with another one.
                let at = (place + round) % contestants;
                turn(at, round, &mut samples[at].0);
            }
            let most = samples.iter().map(|samples| samples.0.len()).max().unwrap_or(0);
            if most >= self.samples || most == 0 || (round >= 2 && start.elapsed() > self.row) {
                break;
            }
        }
        samples
    }
}

/// One contestant's samples of one row, in nanoseconds per operation.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Their median and 99th percentile; without samples, the reason why there are none.
    pub fn cell(mut self, absent: &str) -> Cell {
        if self.0.is_empty() {
            return Cell::Absent(absent.to_owned());
        }
        self.0.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| self.0[((self.0.len() - 1) as f64 * part).round() as usize];
        let several = self.0.len() > 1;
        Cell::Measured { median: at(0.5), p99: several.then(|| at(0.99)), samples: self.0.len() }
    }
}

/// Nanoseconds of one of `operations`.
pub fn per(took: Duration, operations: usize) -> f64 {
    took.as_nanos() as f64 / operations.max(1) as f64
}

/// Takes samples for a turn: at most `count`, and after the first one not longer than the turn
/// lasts.
pub fn turn(count: usize, mut sample: impl FnMut(usize)) {
    let start = Instant::now();
    for at in 0..count {
        sample(at);
        if start.elapsed() > TURN {
            break;
        }
    }
}

/// Data that has nothing to do with anything: reading it leaves little of an index in the
/// processor's nearer caches.
#[derive(Debug)]
pub struct Other(Vec<u64>);

impl Default for Other {
    fn default() -> Self {
        Self(vec![1; OTHER / 8])
    }
}

impl Other {
    /// Reads it.
    pub fn read(&self) {
        std::hint::black_box(self.0.iter().step_by(8).sum::<u64>());
    }
}

/// Bytes of other data.
const OTHER: usize = 16 << 20;
/// How long a contestant has before the next one gets its turn.
const TURN: Duration = Duration::from_millis(10);
