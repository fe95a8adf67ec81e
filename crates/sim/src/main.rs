//! The command `slotwise-sim`.

mod pool_commands;
mod what_if_commands;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use slotwise::{Config, KvTransferCost};
use slotwise_gateway::config;
use slotwise_sim::calibrate::calibrate;
use slotwise_sim::clients::{Classes, Clients, Group};
use slotwise_sim::compare::{Configured, compare, compare_with};
use slotwise_sim::fleet::Setup;
use slotwise_sim::forecast::{Accuracy, EXPLANATION, HEADING};
use slotwise_sim::policy::{
    ABLATIONS, DISAGGREGATED, FLOW, Gateways, POLICIES, PolicyKind, Reload, Setting, Spread,
};
use slotwise_sim::pools::Pools;
use slotwise_sim::replica::{AdapterRanks, CLASSES, Class, ClassMix, EngineConfig};
use slotwise_sim::report;
use slotwise_sim::service_level::ServiceLevel;
use slotwise_sim::sweep::{Bounds, sweep};
use slotwise_sim::trace::{Arrivals, Format, Half, Mix, Trace};

use pool_commands::{
    AutoscaleArgs, IsolateArgs, RegionsArgs, run_autoscale, run_isolate, run_regions,
};
use what_if_commands::{CurveArgs, PlanArgs, run_curve, run_plan};

/// A fleet of simulated model servers, to see what a routing policy is worth.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a workload under several policies and prints their figures side by side. The first
    /// tenth of the requests only warms the caches and is not counted.
    Compare(Compare),
    /// Finds the largest speed at which each policy keeps p95 TTFT <= 5 s and p90 TPOT <= 100 ms.
    Sweep(SweepArgs),
    /// Compares predicted with simulated latency, and checks refusals for deadlines.
    Forecast(ForecastArgs),
    /// Draws latency against throughput for classes and numbers of replicas.
    Curve(CurveArgs),
    /// Finds how many replicas of which class keep a service level, and their cost.
    Plan(PlanArgs),
    /// Compares replica-hours of autoscaling signals over a day's load.
    Autoscale(AutoscaleArgs),
    /// Measures what one long request costs the short ones beside it.
    Isolate(IsolateArgs),
    /// Compares routers of two regions with shifted peaks, of which one is lost for 5 minutes.
    Regions(RegionsArgs),
    /// Lists the policies and the classes of replicas.
    List,
    /// Derives a class's matrix work from one of Vidur's kernel profiles.
    Calibrate(CalibrateArgs),
}

#[derive(Args)]
struct Workload {
    /// A trace file, plain or .gz, or a folder of JSON files; without one, a built-in workload.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// mooncake (also as aiperf and guidellm extend it), azure, burstgpt, claude-code, bailian,
    /// weka, otel, aiperf (profile_export.jsonl), guidellm (benchmarks.json), inference-perf
    /// (per_request_lifecycle_metrics.json); told from the file's content unless given. Built in:
    /// mixed, chat, agents, no-reuse.
    #[arg(long, value_name = "F")]
    format: Option<Format>,
    /// Replicas in the fleet.
    #[arg(long, value_name = "N", default_value_t = 8)]
    replicas: usize,
    /// Replicas that only prefill for others. For the policies pd-*.
    #[arg(long, value_name = "N")]
    prefill: Option<usize>,
    /// Replicas that do not prefill for others; the rest does both. For the policies pd-*.
    #[arg(long, value_name = "N")]
    decode: Option<usize>,
    /// Bandwidth between replicas, in Gbit/s; 200 unless given. For the policies pd-*.
    #[arg(long, value_name = "GBITS")]
    kv_bandwidth: Option<f64>,
    /// What they are, in turn; `slotwise-sim list` names the classes. Of several, ours describes
    /// only the first to the scheduler, which has to learn the speeds of the others.
    #[arg(long, value_name = "C,D", default_value = Class::default().name)]
    class: ClassMix,
    /// Policies, separated by commas; all baselines and slotwise unless given. `slotwise-sim list`
    /// names them.
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', value_parser = PolicyKind::named)]
    policies: Vec<PolicyKind>,
    /// How many seeds: the figures are medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How often metrics are scraped, in milliseconds; 50 unless given. For policies that read
    /// metrics.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    scrape_ms: Option<u64>,
    /// How long metrics and KV events are on their way, in milliseconds; 5 unless given. For
    /// policies that read either.
    #[arg(long, value_name = "MS")]
    delay_ms: Option<u64>,
    /// Gateways in front of the fleet, each with a part of the requests. For slotwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_024))]
    gateways: Option<u64>,
    /// The mean time between two messages of a gateway to its peers, in milliseconds; without it,
    /// gateways send none. Messages take --delay-ms. With --gateways.
    #[arg(long, value_name = "MS", requires = "gateways")]
    delta_ms: Option<u64>,
    /// The share of messages that are lost on the way to a peer, in percent; 0 unless given. With
    /// --delta-ms.
    #[arg(long, value_name = "PERCENT", requires = "delta_ms")]
    loss: Option<f64>,
    /// Which gateway gets a request: a random one, unless given, or that of its session. Without a
    /// session, the prompt's first block decides. With --gateways.
    #[arg(long, value_name = "random|session", requires = "gateways")]
    spread: Option<Spread>,
    /// Only the first or the second half of the sessions.
    #[arg(long, value_name = "first|second")]
    half: Option<Half>,
    /// Only the first N requests.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Tokens in an engine's step (max_num_batched_tokens).
    #[arg(long, value_name = "TOKENS", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(16..))]
    batched_tokens: u32,
    /// Sequences in an engine's step (max_num_seqs).
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_seqs: usize,
    /// Makes N replicas F times slower than the others.
    #[arg(long, value_name = "N:F", value_parser = slow)]
    slow: Option<(usize, f64)>,
    /// Gives each session one of N LoRA adapters (Zipf).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    adapters: Option<u32>,
    /// Zipf's exponent for --adapters; 1 unless given, and 0 for equal popularity.
    #[arg(long, value_name = "S", requires = "adapters")]
    adapter_skew: Option<f64>,
    /// The seed that gives sessions their adapters; 0 unless given.
    #[arg(long, value_name = "N", requires = "adapters")]
    adapter_seed: Option<u64>,
    /// LoRA adapters side by side on a replica (max_loras); 4 unless given. With --adapters.
    #[arg(long, value_name = "N", requires = "adapters", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    adapter_slots: Option<u32>,
    /// How long loading an adapter stops an engine, in milliseconds; 300 unless given. With
    /// --adapters.
    #[arg(long, value_name = "MS", requires = "adapters")]
    adapter_load_time_ms: Option<u64>,
    /// The ranks of the adapters, in turn: load times grow with the rank, and steps take longer.
    /// Without it, ranks have no effect. With --adapters.
    #[arg(long, value_name = "R,S", requires = "adapters", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4_096))]
    adapter_ranks: Vec<u32>,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Compare {
    #[command(flatten)]
    workload: Workload,
    /// A factor on the trace's clock; for session traces, sessions started per second.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// The service level, such as ttft=5s,tpot=50ms: for the prices of slotwise, and for the share
    /// of good requests; ttft=2s,tpot=100ms unless given.
    #[arg(long, value_name = "LEVEL")]
    slo: Option<ServiceLevel>,
    #[command(flatten)]
    senders: Senders,
    /// A file of a configuration, whose scheduler is compared under the name `config`. Its
    /// endpoints are replaced by the fleet's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The pool of the file, if it has several.
    #[arg(long, value_name = "NAME", requires = "config")]
    pool: Option<String>,
    /// A configuration that replaces the one of --config so many seconds after the begin, while
    /// requests wait and run. May be given several times.
    #[arg(long, value_name = "FILE@SECONDS", requires = "config", value_parser = reload)]
    reload: Vec<(PathBuf, Duration)>,
    /// Writes one self-contained HTML page with plots.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// The clients; for policies with flow control, also their treatment. An option without effect is
/// an error.
#[derive(Args)]
struct Senders {
    /// This share of the sessions (of the requests, where each is alone) is batch of priority B,
    /// the others are interactive of priority I; 1 and 0 unless given. For slotwise-flow and
    /// gie-flow, or with --only.
    #[arg(long, value_name = "SHARE[:I:B]", value_parser = classes)]
    priorities: Option<Classes>,
    /// Tenants, by Zipf's law; the first sends ten times its share. For slotwise-flow, or with
    /// --only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tenants: Option<u32>,
    /// Only these clients send, at unchanged times, which gives their figures without the others:
    /// interactive (with --priorities) or quiet (with --tenants).
    #[arg(long, value_name = "GROUP", value_parser = group)]
    only: Option<Group>,
    /// How long a request may wait at the gateway, in seconds; 60 unless given. For policies that
    /// hold requests.
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<f64>,
    /// Queues new sessions while no cache has room for them. For slotwise-flow.
    #[arg(long)]
    guard: bool,
}

#[derive(Args)]
struct SweepArgs {
    #[command(flatten)]
    workload: Workload,
    /// The lowest speed to try.
    #[arg(long, value_name = "X")]
    low: Option<f64>,
    /// The highest speed to try.
    #[arg(long, value_name = "X")]
    high: Option<f64>,
    /// How often the interval is halved.
    #[arg(long, value_name = "N", default_value_t = 8)]
    steps: u32,
}

#[derive(Args)]
struct ForecastArgs {
    #[command(flatten)]
    workload: Workload,
    /// Factors on the trace's clock, separated by commas.
    #[arg(long, value_name = "X,Y", value_delimiter = ',', default_value = "0.02,0.05,0.1")]
    speeds: Vec<f64>,
    /// The deadline of a first token, in seconds after the arrival.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    deadline: f64,
}

#[derive(Args)]
struct CalibrateArgs {
    /// A profile of matrix operations (`mlp.csv`), plain or .gz.
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Layers of the model.
    #[arg(long, value_name = "N")]
    layers: u32,
    /// GPUs that share a layer.
    #[arg(long, value_name = "N", default_value_t = 1)]
    parallel: u32,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare(args) => run_compare(&args),
        Command::Sweep(args) => run_sweep(&args),
        Command::Forecast(args) => run_forecast(&args),
        Command::Curve(args) => run_curve(&args),
        Command::Plan(args) => run_plan(&args),
        Command::Autoscale(args) => run_autoscale(&args),
        Command::Isolate(args) => run_isolate(&args),
        Command::Regions(args) => run_regions(&args),
        Command::List => {
            list();
            Ok(())
        }
        Command::Calibrate(args) => run_calibrate(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_calibrate(args: &CalibrateArgs) -> Result<()> {
    print!("{}", calibrate(&args.profile, args.layers, args.parallel)?.table());
    Ok(())
}

fn run_compare(args: &Compare) -> Result<()> {
    args.workload.check()?;
    args.senders.check(&args.workload.policies())?;
    let setup = Setup {
        clients: args.senders.clients()?,
        level: args.slo.unwrap_or_default(),
        ..args.workload.setup(args.speed)?
    };
    let trace = args.workload.load()?;
    let (policies, seeds) = (args.workload.policies(), args.workload.seeds);
    let comparison = match &args.config {
        None => compare(&trace, &setup, &policies, seeds),
        Some(file) => {
            let scheduler = |file: &Path| scheduler_of(file, args.pool.as_deref());
            let reload =
                |(file, at): &(PathBuf, Duration)| Ok(Reload { at: *at, config: scheduler(file)? });
            let reloads = args.reload.iter().map(reload).collect::<Result<Vec<_>>>()?;
            let own = Configured { config: scheduler(file)?, reloads };
            compare_with(&trace, &setup, &policies, &own, seeds)?
        }
    };
    if args.workload.json {
        println!("{}", serde_json::to_string(&comparison)?);
    } else {
        println!("{}", args.workload.headline(&trace, args.speed));
        println!("{}", comparison.table());
        print!("{}", comparison.groups());
        print!("{}", comparison.ranges());
        print!("{}", comparison.reloads());
        print!("{}", comparison.traffic());
        println!(
            "All figures are simulated. p99/RR and p99/LR: p99 TTFT over that of round-robin and least-request."
        );
    }
    if let Some(path) = &args.report {
        let page = report::page(&comparison, &setup)?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The configuration of a pool's scheduler.
fn scheduler_of(file: &Path, pool: Option<&str>) -> Result<Config> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let loaded = config::read(&name, &text).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration is invalid\n{}", lines.join("\n"))
    })?;
    for ignored in &loaded.ignored {
        eprintln!("{ignored}");
    }
    let mut pools = loaded.configuration.pools;
    let names = pools.keys().cloned().collect::<Vec<_>>().join(", ");
    let pool = match pool {
        Some(pool) => pools.remove(pool),
        None if pools.len() > 1 => None,
        None => pools.pop_first().map(|(_, pool)| pool),
    };
    Ok(pool.with_context(|| format!("--pool must be one of {names}"))?.scheduler)
}

fn run_forecast(args: &ForecastArgs) -> Result<()> {
    ensure!(
        (0.001..=1e6).contains(&args.deadline),
        "--deadline must lie between 0.001 and 1000000"
    );
    let trace = args.workload.load()?;
    println!("{}\n{HEADING}", args.workload.headline(&trace, 1.0));
    for speed in &args.speeds {
        let deadline = Duration::from_secs_f64(args.deadline);
        let setup = Setup { deadline, ..args.workload.setup(*speed)? };
        println!("{speed:>6} {}", Accuracy::of_seeds(&trace, &setup, args.workload.seeds));
    }
    println!("{EXPLANATION}");
    Ok(())
}

fn run_sweep(args: &SweepArgs) -> Result<()> {
    args.workload.check()?;
    let setup = args.workload.setup(1.0)?;
    let trace = args.workload.load()?;
    // Session traces begin at so many sessions a second, others at the pace of the trace.
    let (low, high) =
        if matches!(trace.arrivals, Arrivals::Sessions) { (0.004, 0.16) } else { (0.2, 4.0) };
    let bounds =
        Bounds { low: args.low.unwrap_or(low), high: args.high.unwrap_or(high), steps: args.steps };
    ensure!(
        0.0 < bounds.low && bounds.low < bounds.high,
        "--low must be positive and below --high"
    );
    let found = sweep(&trace, &setup, &args.workload.policies(), args.workload.seeds, bounds);
    if args.workload.json {
        println!("{}", serde_json::to_string(&found)?);
    } else {
        println!("{}\n{}", args.workload.headline(&trace, 1.0), found.table());
        println!(
            "Largest speed with p95 TTFT <= 5 s and p90 TPOT <= 100 ms. All figures are simulated."
        );
    }
    Ok(())
}

fn list() {
    println!("Policies:");
    for kind in POLICIES.iter().chain(&FLOW).chain(&DISAGGREGATED).chain(&ABLATIONS) {
        println!("  {:<24} {}", kind.name, kind.summary);
    }
    println!("\nClasses:");
    for class in CLASSES {
        println!("  {:<24} {class}, {} tokens of KV", class.name, class.kv_tokens);
    }
}

impl Workload {
    /// Refuses options without effect.
    fn check(&self) -> Result<()> {
        let given = [
            ("--scrape-ms", Setting::ScrapeInterval, self.scrape_ms.is_some()),
            ("--delay-ms", Setting::NewsDelay, self.delay_ms.is_some()),
            ("--gateways", Setting::Gateways, self.gateways.is_some()),
            ("--prefill", Setting::Pools, self.prefill.is_some()),
            ("--decode", Setting::Pools, self.decode.is_some()),
            ("--kv-bandwidth", Setting::Pools, self.kv_bandwidth.is_some()),
        ];
        check(&given, &self.policies())
    }

    fn load(&self) -> Result<Trace> {
        let mut trace = match (&self.trace, self.format) {
            (Some(path), format) => Trace::read(path, format)?,
            (None, Some(Format::Builtin(mix))) => Trace::generate(mix, 0),
            (None, None) => Trace::generate(Mix::Mixed, 0),
            (None, Some(format)) => anyhow::bail!("--format {format} needs a --trace FILE"),
        };
        if let Some(half) = self.half {
            trace.keep(half);
        }
        if let Some(limit) = self.limit {
            trace.truncate(limit);
        }
        if let Some(adapters) = self.adapters {
            let skew = self.adapter_skew.unwrap_or(1.0);
            ensure!((0.0..=10.0).contains(&skew), "--adapter-skew must lie between 0 and 10");
            trace.assign_adapters(adapters, skew, self.adapter_seed.unwrap_or(0));
        }
        Ok(trace)
    }

    fn setup(&self, speed: f64) -> Result<Setup> {
        ensure!((1e-6..=1e6).contains(&speed), "--speed must lie between 0.000001 and 1000000");
        ensure!(self.replicas > 0, "--replicas must be positive");
        let (prefill, decode) = (self.prefill.unwrap_or(0), self.decode.unwrap_or(0));
        ensure!(
            prefill.saturating_add(decode) <= self.replicas && prefill < self.replicas,
            "--prefill and --decode must leave a replica that decodes, of {} replicas",
            self.replicas
        );
        let gigabits = self.kv_bandwidth.unwrap_or(200.0);
        ensure!((0.001..=1e6).contains(&gigabits), "--kv-bandwidth must lie in [0.001, 1000000]");
        let bytes = f64::from(self.class.of(0).kv_bytes);
        let transfer = KvTransferCost::new(bytes, gigabits * 1e9 / 8.0);
        ensure!(self.max_seqs > 0, "--max-seqs must be positive");
        let adapters = self.adapters.unwrap_or(0);
        let adapter_ranks = AdapterRanks::new(adapters, &self.adapter_ranks)
            .map_err(|error| anyhow::anyhow!("--adapter-ranks: {error}"))?;
        let engine = EngineConfig {
            adapter_ranks,
            max_batched_tokens: self.batched_tokens,
            max_seqs: self.max_seqs,
            adapter_slots: self.adapter_slots.unwrap_or(4) as usize,
            adapter_load_time: Duration::from_millis(self.adapter_load_time_ms.unwrap_or(300)),
            ..EngineConfig::new(self.class.of(0))
        };
        Ok(Setup {
            replicas: self.replicas,
            pools: Pools { prefill, decode, transfer },
            engine,
            mix: Some(self.class),
            deadline: Duration::MAX,
            level: ServiceLevel::default(),
            slow: self.slow,
            scrape: Duration::from_millis(self.scrape_ms.unwrap_or(50)),
            delay: Duration::from_millis(self.delay_ms.unwrap_or(5)),
            speed,
            clients: Clients::default(),
            gateways: self.gateways()?,
            seed: 1,
        })
    }

    fn gateways(&self) -> Result<Option<Gateways>> {
        let loss = self.loss.unwrap_or(0.0);
        ensure!((0.0..=100.0).contains(&loss), "--loss must lie between 0 and 100");
        Ok(self.gateways.map(|count| Gateways {
            count: count as usize,
            spread: self.spread.unwrap_or_default(),
            delta: self.delta_ms.map(Duration::from_millis),
            loss: loss / 100.0,
            latency: Duration::from_millis(self.delay_ms.unwrap_or(5)),
        }))
    }

    fn policies(&self) -> Vec<PolicyKind> {
        if self.policies.is_empty() { POLICIES.to_vec() } else { self.policies.clone() }
    }

    fn headline(&self, trace: &Trace, speed: f64) -> String {
        let spread = match trace.arrivals {
            Arrivals::Recorded { quantum, .. } if quantum > 0.0 => {
                format!(", arrivals spread over {quantum} s")
            }
            _ => String::new(),
        };
        format!(
            "{}: {} requests, {} x {}, speed {speed}, {} seed{}{spread}",
            trace.name,
            trace.requests(),
            self.replicas,
            self.class,
            self.seeds,
            if self.seeds == 1 { "" } else { "s" },
        )
    }
}

/// Refuses those of the given options that none of the policies reads.
fn check(options: &[(&str, Setting, bool)], policies: &[PolicyKind]) -> Result<()> {
    for (option, setting, _) in options.iter().filter(|(.., given)| *given) {
        setting.check(option, policies).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

impl Senders {
    /// Refuses options without effect. Classes and tenants also select clients where only some
    /// send.
    fn check(&self, policies: &[PolicyKind]) -> Result<()> {
        let (only_interactive, only_quiet) =
            (self.only == Some(Group::Interactive), self.only == Some(Group::Quiet));
        ensure!(
            !only_interactive || self.priorities.is_some(),
            "--only interactive has no effect without --priorities, which defines the batch share"
        );
        ensure!(
            !only_quiet || self.tenants.is_some_and(|tenants| tenants > 1),
            "--only quiet needs --tenants 2 or more: the first tenant is not quiet"
        );
        let given = [
            ("--priorities", Setting::Priorities, self.priorities.is_some() && !only_interactive),
            ("--tenants", Setting::Tenants, self.tenants.is_some() && !only_quiet),
            ("--ttl", Setting::Ttl, self.ttl.is_some()),
            ("--guard", Setting::Guard, self.guard),
        ];
        check(&given, policies)
    }

    fn clients(&self) -> Result<Clients> {
        let ttl = self.ttl.unwrap_or(60.0);
        ensure!((0.001..=1e6).contains(&ttl), "--ttl must lie between 0.001 and 1000000");
        Ok(Clients {
            classes: self.priorities,
            tenants: self.tenants.unwrap_or(1),
            only: self.only,
            ttl: Duration::from_secs_f64(ttl),
            guard: self.guard,
        })
    }
}

fn classes(text: &str) -> Result<Classes, String> {
    let mut parts = text.split(':');
    let share = parts
        .next()
        .and_then(|share| share.parse().ok())
        .filter(|share| (0.0..=1.0).contains(share));
    let priorities: Option<Vec<i32>> = parts.map(|priority| priority.parse().ok()).collect();
    let (interactive_priority, batch_priority) = match priorities.as_deref() {
        Some([]) => (1, 0),
        Some([interactive, batch]) => (*interactive, *batch),
        _ => return Err(format!("{text:?} is not like 0.8 or 0.8:1:0")),
    };
    let batch = share.ok_or_else(|| format!("{text:?} does not begin with a share from 0 to 1"))?;
    Ok(Classes { batch, interactive_priority, batch_priority })
}

fn reload(text: &str) -> Result<(PathBuf, Duration), String> {
    let parsed = text.rsplit_once('@').and_then(|(file, at)| Some((file, at.parse::<f64>().ok()?)));
    parsed
        .filter(|(file, at)| !file.is_empty() && (0.0..=1e6).contains(at))
        .map(|(file, at)| (file.into(), Duration::from_secs_f64(at)))
        .ok_or_else(|| format!("{text:?} is not like gateway.yaml@30, with a time up to 1000000 s"))
}

fn group(name: &str) -> Result<Group, String> {
    match name {
        "interactive" => Ok(Group::Interactive),
        "quiet" => Ok(Group::Quiet),
        _ => Err(format!("no group is called {name:?}; known are interactive, quiet")),
    }
}

fn slow(text: &str) -> Result<(usize, f64), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(count, factor)| Some((count.parse().ok()?, factor.parse().ok()?)));
    let sensible = |(_, factor): &(usize, f64)| (0.001..=1_000.0).contains(factor);
    parsed
        .filter(sensible)
        .ok_or_else(|| format!("{text:?} is not like 2:2.0, with a factor from 0.001 to 1000"))
}
