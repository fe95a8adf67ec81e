//! The commands `autoscale`, `isolate` and `regions`.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use slotwise_sim::autoscale::{self, Shape, Signal};
use slotwise_sim::isolate;
use slotwise_sim::policy::PolicyKind;
use slotwise_sim::regions;
use slotwise_sim::replica::Class;

#[derive(Args)]
pub(crate) struct AutoscaleArgs {
    /// The class of all replicas.
    #[arg(long, value_name = "C", default_value = "llama-8b-a100")]
    class: Class,
    /// The day's load by hour: office, evening or plateau.
    #[arg(long, value_name = "NAME", default_value = "office")]
    day: Shape,
    /// Requests a second at the peak of the day.
    #[arg(long, value_name = "X", default_value_t = 16.0)]
    peak: f64,
    /// Mean tokens of a prompt.
    #[arg(long, value_name = "TOKENS", default_value_t = 2_000.0)]
    input: f64,
    /// Mean tokens of an answer.
    #[arg(long, value_name = "TOKENS", default_value_t = 200.0)]
    output: f64,
    /// The day is compressed to so many hours.
    #[arg(long, value_name = "H", default_value_t = 2.0)]
    hours: f64,
    /// Start-up times of a replica in seconds, separated by commas.
    #[arg(long, value_name = "S,T", value_delimiter = ',', default_value = "60,120,300")]
    start_up: Vec<f64>,
    /// Signals, separated by commas: queue, kv, hint; all unless given.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    signal: Vec<Signal>,
    /// Targets of each signal, separated by commas; about eight of its own unless given.
    #[arg(long, value_name = "X,Y", value_delimiter = ',')]
    target: Vec<f64>,
    /// Seeds of the days, separated by commas.
    #[arg(long, value_name = "N,M", value_delimiter = ',', default_value = "1,2,3")]
    seed: Vec<u64>,
    /// The share of the requests that must keep 2 s to the first token and 100 ms a token.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    level: f64,
    /// Prints one JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_autoscale(args: &AutoscaleArgs) -> Result<()> {
    ensure!((0.01..=1_000.0).contains(&args.peak), "--peak must lie in [0.01, 1000]");
    ensure!((8.0..=1e5).contains(&args.input), "--input must lie in [8, 100000]");
    ensure!((1.0..=1e5).contains(&args.output), "--output must lie in [1, 100000]");
    ensure!((0.1..=24.0).contains(&args.hours), "--hours must lie in [0.1, 24]");
    ensure!((0.0..=1.0).contains(&args.level), "--level must lie in [0, 1]");
    ensure!(
        args.start_up.iter().all(|seconds| (1.0..=3_600.0).contains(seconds)),
        "--start-up must lie in [1, 3600]"
    );
    ensure!(
        args.target.iter().all(|target| (1e-3..=1e6).contains(target)),
        "--target must lie in [0.001, 1000000]"
    );
    let load = autoscale::Load {
        shape: args.day,
        input: args.input,
        output: args.output,
        peak: args.peak,
        length: Duration::from_secs_f64(args.hours * 3_600.0),
    };
    let signals = if args.signal.is_empty() { Signal::ALL.to_vec() } else { args.signal.clone() };
    let search = autoscale::Search {
        class: args.class,
        start_ups: args.start_up.iter().map(|time| Duration::from_secs_f64(*time)).collect(),
        signals,
        targets: args.target.clone(),
        limits: [2, 64],
        level: args.level,
        seeds: args.seed.clone(),
    };
    let days = autoscale::days(&load, &search);
    if args.json {
        println!("{}", serde_json::to_string(&days)?);
    } else {
        println!("A day in {} h, {} seeds\n", args.hours, args.seed.len());
        print!("{}", autoscale::table(&days));
        println!(
            "Replica-hours are means over the seeds; the other figures are of the worst seed. A \
             star: the fewest replica-hours of a signal with {:.0} % of the requests within 2 s and \
             100 ms a token. All figures are simulated.",
            args.level * 100.0
        );
    }
    Ok(())
}

#[derive(Args)]
pub(crate) struct IsolateArgs {
    /// The class of all replicas.
    #[arg(long, value_name = "C", default_value = Class::default().name)]
    class: Class,
    /// Replicas.
    #[arg(long, value_name = "N", default_value_t = 8)]
    replicas: usize,
    /// Short requests a second, separated by commas.
    #[arg(long, value_name = "X,Y", value_delimiter = ',', default_value = "60,80,96")]
    rates: Vec<f64>,
    /// Short requests of a run.
    #[arg(long, value_name = "N", default_value_t = 6_530)]
    requests: usize,
    /// Tokens in an engine's step (max_num_batched_tokens).
    #[arg(long, value_name = "TOKENS", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(16..))]
    batched_tokens: u32,
    /// Policies, separated by commas; `slotwise-sim list` names them.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = PolicyKind::named, default_value = "slotwise,round-robin")]
    policies: Vec<PolicyKind>,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Prints one JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_isolate(args: &IsolateArgs) -> Result<()> {
    ensure!((2..=1_024).contains(&args.replicas), "--replicas must lie in [2, 1024]");
    ensure!((100..=1_000_000).contains(&args.requests), "--requests must lie in [100, 1000000]");
    ensure!(
        args.rates.iter().all(|rate| (0.1..=1e5).contains(rate)),
        "--rates must lie in [0.1, 100000]"
    );
    let mut rows = Vec::new();
    for rate in &args.rates {
        let load = isolate::Load {
            class: args.class,
            replicas: args.replicas,
            rate: *rate,
            requests: args.requests,
            batched_tokens: args.batched_tokens,
        };
        rows.extend(isolate::isolation(&load, &args.policies, args.seeds));
    }
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else {
        print!("{}", isolate::table(&rows));
        println!(
            "p99 TTFT of {} short requests: the median of {} seeds, and the range of the increase. \
             All figures are simulated.",
            args.requests, args.seeds
        );
    }
    Ok(())
}

#[derive(Args)]
pub(crate) struct RegionsArgs {
    /// The class of all replicas.
    #[arg(long, value_name = "C", default_value = Class::default().name)]
    class: Class,
    /// Replicas of each region.
    #[arg(long, value_name = "N", default_value_t = 4)]
    replicas: usize,
    /// Conversations that begin in a second at a region's peak.
    #[arg(long, value_name = "X", default_value_t = 5.0)]
    peak: f64,
    /// The seed of the workload.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// A command that runs one more router, such as `benches/rivals/regions_gorgo.py`.
    #[arg(long, value_name = "COMMAND")]
    external: Option<String>,
    /// Prints one JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run_regions(args: &RegionsArgs) -> Result<()> {
    ensure!((1..=64).contains(&args.replicas), "--replicas must lie in [1, 64]");
    ensure!((0.01..=1_000.0).contains(&args.peak), "--peak must lie in [0.01, 1000]");
    let setup = regions::Setup {
        class: args.class,
        replicas: args.replicas,
        peak: args.peak,
        day: Duration::from_secs(1_800),
        length: Duration::from_secs(1_800),
        lost_at: Duration::from_secs(600),
        lost_for: Duration::from_secs(300),
        seed: args.seed,
    };
    let all = regions::compare(&setup, args.external.as_deref());
    if args.json {
        println!("{}", serde_json::to_string(&all)?);
    } else {
        println!("{} requests, all figures simulated\n", all[0].requests);
        print!("{}", regions::table(&all));
    }
    Ok(())
}
