//! Runs a large gateway under steady traffic and prints what each minute of its time costs.
//!
//! - `soak` has 65,000 endpoints, an index with memory for 10 million blocks, and 5,000 requests a
//!   second, for an hour. The index fills for `--fill` minutes before the first printed one.
//! - `soak --minutes 5 --fill 1 --endpoints 1000 --blocks 200000 --rate 100` is a smaller one.
//!
//! Calls are timed in CPU time of the thread, so other processes hardly change the numbers. The
//! clock itself is measured first, and its time is subtracted.

use rustix::time::{ClockId, clock_gettime};
use slotwise_benches::{CallTimes, Soak, SoakMinute, SoakSize};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut size = SoakSize { endpoints: 65_000, blocks: 10_000_000, requests_per_second: 5_000 };
    let (mut minutes, mut fill) = (60, 10);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        let value: u64 = value.unwrap_or_else(|| panic!("{name} takes a number"));
        match name.as_str() {
            "--minutes" => minutes = value,
            "--fill" => fill = value,
            "--endpoints" => size.endpoints = value as usize,
            "--blocks" => size.blocks = value as usize,
            "--rate" => size.requests_per_second = value,
            _ => panic!("{name} is not an option"),
        }
    }
    let clock = clock_nanos();
    let mut soak = Soak::new(size, cpu_nanos);
    row(["minute", "CPU", "memory", "index", "blocks", "rejected"].map(String::from), |times| {
        ["p50", "p99", "p99.9"].map(|share| format!("{times} {share}"))
    });
    for minute in 1..=fill + minutes {
        let cost = soak.minute();
        if minute > fill {
            print(minute - fill, &cost, clock);
        }
    }
}

/// Prints a row of the table: megabytes, microseconds.
fn print(minute: u64, cost: &SoakMinute, clock: u64) {
    let spent = |times: &CallTimes| times.total().saturating_sub(times.calls() * clock);
    let spent: u64 = cost.calls.iter().map(|(_, times)| spent(times)).sum();
    let stats = &cost.stats;
    let cells = [
        minute.to_string(),
        format!("{:.1} %", spent as f64 / 60e9 * 100.0),
        megabytes(resident_bytes()),
        megabytes(stats.index_bytes as u64),
        stats.index_entries.to_string(),
        cost.rejected.to_string(),
    ];
    let mut calls = cost.calls.iter();
    row(cells, |_| {
        let (_, times) = calls.next().expect("a call for each column");
        [0.5, 0.99, 0.999]
            .map(|share| format!("{:.1}", times.quantile(share).saturating_sub(clock) as f64 / 1e3))
    });
}

/// Prints cells and three more for each call.
fn row(cells: [String; 6], mut of_call: impl FnMut(&str) -> [String; 3]) {
    let calls = ["pick", "first token", "end", "load report"];
    let all: Vec<_> = cells.into_iter().chain(calls.into_iter().flat_map(&mut of_call)).collect();
    println!("{}", all.join("\t"));
}

fn megabytes(bytes: u64) -> String {
    (bytes >> 20).to_string()
}

/// CPU time of this thread.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What one reading of the clock takes.
fn clock_nanos() -> u64 {
    let mut times = CallTimes::default();
    for _ in 0..100_000 {
        let begin = cpu_nanos();
        times.add(cpu_nanos() - begin);
    }
    times.quantile(0.5)
}

/// Memory of this process, where the system tells.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
