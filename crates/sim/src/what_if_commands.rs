//! The commands `curve` and `plan`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use slotwise_sim::curve::{curves, single_requests, table};
use slotwise_sim::fit::fit;
use slotwise_sim::measurement;
use slotwise_sim::plan::{self, Search, plan};
use slotwise_sim::prices::Prices;
use slotwise_sim::replica::{CLASSES, Class};
use slotwise_sim::service_level::ServiceLevel;
use slotwise_sim::trace::{Format, Trace};
use slotwise_sim::what_if::{curve_page, plan_page};

/// The requests.
#[derive(Args)]
struct Requests {
    /// A trace file or a folder, as for `compare`; its clock is scaled to the rate.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output", "spread"])]
    trace: Option<PathBuf>,
    /// The format of the trace, or a built-in workload: mixed, chat, agents, no-reuse.
    #[arg(long, value_name = "F", conflicts_with_all = ["input", "output", "spread"])]
    format: Option<Format>,
    /// Mean tokens of a prompt, where requests share nothing; 1,000 unless given.
    #[arg(long, value_name = "TOKENS")]
    input: Option<f64>,
    /// Mean tokens of an answer; 250 unless given.
    #[arg(long, value_name = "TOKENS")]
    output: Option<f64>,
    /// Sigma of the logarithm of both lengths; 0.6 unless given, and 0 for equal lengths.
    #[arg(long, value_name = "S")]
    spread: Option<f64>,
    /// Requests of a run.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    requests: u32,
}

/// The user's own measurement, as a further class.
#[derive(Args)]
struct Own {
    /// A report of inference-perf, guidellm or aiperf, as JSON or CSV: adds the class `measured`,
    /// fitted to it.
    /// Several reports at several loads fit better than one.
    #[arg(long, value_name = "FILE")]
    measured: Vec<PathBuf>,
    /// The class that is scaled to the reports: the model and the hardware that were measured.
    #[arg(long, value_name = "C", requires = "measured", default_value = "llama-8b-h100")]
    measured_class: Class,
    /// The replicas that were measured.
    #[arg(long, value_name = "N", requires = "measured", default_value_t = 1)]
    measured_replicas: usize,
}

#[derive(Args)]
pub(crate) struct CurveArgs {
    #[command(flatten)]
    requests: Requests,
    /// Classes, separated by commas; `slotwise-sim list` names them. Unless given: the measured
    /// one, or the default class.
    #[arg(long, value_name = "C,D", value_delimiter = ',')]
    class: Vec<Class>,
    /// Numbers of replicas, separated by commas.
    #[arg(long, value_name = "N,M", value_delimiter = ',', default_value = "1,2,4")]
    replicas: Vec<usize>,
    /// Loads in requests a second, separated by commas; shares of each fleet's largest throughput
    /// unless given.
    #[arg(long, value_name = "X,Y", value_delimiter = ',')]
    rates: Vec<f64>,
    #[command(flatten)]
    own: Own,
    /// Prints one JSON array instead of tables.
    #[arg(long)]
    json: bool,
    /// Writes one self-contained HTML page with the curves.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    requests: Requests,
    /// The service level, such as ttft=2s,tpot=100ms: 95 % of the requests keep each time.
    #[arg(long, value_name = "LEVEL")]
    slo: ServiceLevel,
    /// Requests a second.
    #[arg(long, value_name = "X")]
    rate: f64,
    /// Prices of an hour of each class, a TOML file; without it, no costs are printed.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Classes, separated by commas; all, and the measured one, unless given.
    #[arg(long, value_name = "C,D", value_delimiter = ',')]
    class: Vec<Class>,
    /// The most replicas to try.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    most: u32,
    /// Seeds that must all keep the level.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    #[command(flatten)]
    own: Own,
    /// Prints one JSON array instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes one self-contained HTML page.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(crate) fn run_curve(args: &CurveArgs) -> Result<()> {
    ensure!(
        args.replicas.iter().all(|count| (1..=4_096).contains(count)),
        "--replicas must lie between 1 and 4096"
    );
    ensure!(args.rates.iter().all(|rate| in_range(*rate)), "--rates must lie in [0.001, 1000000]");
    let trace = args.requests.load()?;
    let mut classes = args.class.clone();
    classes.extend(args.own.class()?);
    if classes.is_empty() {
        classes.push(Class::default());
    }
    let curves = curves(&trace, &classes, &args.replicas, &args.rates);
    if args.json {
        println!("{}", serde_json::to_string(&curves)?);
    } else {
        println!("{}: {} requests a run\n", trace.name, trace.requests());
        print!("{}", table(&curves));
        println!("All figures are simulated.");
    }
    write(args.report.as_deref(), || curve_page(&trace.name, &curves))
}

pub(crate) fn run_plan(args: &PlanArgs) -> Result<()> {
    ensure!(in_range(args.rate), "--rate must lie in [0.001, 1000000]");
    let trace = args.requests.load()?;
    let own = args.own.class()?;
    let mut classes = if args.class.is_empty() { CLASSES.to_vec() } else { args.class.clone() };
    classes.extend(own);
    let prices = args.prices.as_deref().map(Prices::read).transpose()?;
    let search =
        Search { level: args.slo, rate: args.rate, seeds: args.seeds, most: args.most as usize };
    let rows = plan(&trace, &classes, search, prices.as_ref());
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else {
        println!("{} at {} requests a second\n", trace.name, args.rate);
        print!("{}", plan::table(&rows, prices.as_ref()));
        println!(
            "The least number of replicas with which 95 % of the requests keep each time, with {} \
             seeds. All figures are simulated.",
            args.seeds
        );
    }
    write(args.report.as_deref(), || {
        plan_page(&trace.name, args.rate, args.slo, &rows, prices.as_ref())
    })
}

impl Requests {
    fn load(&self) -> Result<Trace> {
        let mut trace = match (&self.trace, self.format) {
            (Some(path), format) => Trace::read(path, format)?,
            (None, Some(Format::Builtin(mix))) => Trace::generate(mix, 0),
            (None, Some(format)) => anyhow::bail!("--format {format} needs a --trace FILE"),
            (None, None) => {
                let (input, output) = (self.input.unwrap_or(1e3), self.output.unwrap_or(250.0));
                let spread = self.spread.unwrap_or(0.6);
                ensure!((8.0..=1e5).contains(&input), "--input must lie in [8, 100000]");
                ensure!((1.0..=1e5).contains(&output), "--output must lie in [1, 100000]");
                ensure!((0.0..=3.0).contains(&spread), "--spread must lie in [0, 3]");
                single_requests(input, output, spread, self.requests as usize)
            }
        };
        trace.truncate(self.requests as usize);
        ensure!(trace.requests() >= 20, "a run needs 20 requests or more");
        Ok(trace)
    }
}

impl Own {
    /// The fitted class; its coefficients and errors go to the standard error.
    fn class(&self) -> Result<Option<Class>> {
        let mut measured = Vec::new();
        for path in &self.measured {
            measured.extend(measurement::read(path)?);
        }
        if measured.is_empty() {
            return Ok(None);
        }
        ensure!(
            (1..=1_024).contains(&self.measured_replicas),
            "--measured-replicas must lie between 1 and 1024"
        );
        let fit = fit(self.measured_class, self.measured_replicas, &measured);
        eprintln!("{}", fit.table());
        Ok(Some(fit.class))
    }
}

fn in_range(rate: f64) -> bool {
    (0.001..=1e6).contains(&rate)
}

fn write(path: Option<&Path>, page: impl FnOnce() -> Result<String>) -> Result<()> {
    if let Some(path) = path {
        std::fs::write(path, page()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
