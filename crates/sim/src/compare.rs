//! The same workload under several policies, side by side.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;
use slotwise::{Config, ConfigError};

use crate::clients::Clients;
use crate::fleet::{Record, Setup, fleet_of, simulate, simulate_with};
use crate::groups::{Groups, HEADING};
use crate::measure::{FIGURES, Summary};
use crate::policy::{PolicyKind, Reload, configured};
use crate::trace::Trace;

/// What `slotwise-sim compare --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The workload.
    pub trace: String,
    /// Replicas.
    pub replicas: usize,
    /// Their class.
    pub class: String,
    /// A factor on the workload's own pace.
    pub speed: f64,
    /// The policies, in the order of the command line.
    pub policies: Vec<Row>,
}

/// One policy's figures: medians, if there were several seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub policy: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub median: Summary,
    /// Least and greatest of each figure, if there were several seeds.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub range: Vec<(&'static str, [f64; 2])>,
    /// The figures by class and tenant, if the setup divides clients.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// The first seed's run; for drawings.
    #[serde(skip)]
    pub record: Record,
}

/// One of the policies that are compared.
#[derive(Clone, Copy, Debug)]
enum Contender<'a> {
    Named(&'a PolicyKind),
    /// The scheduler with a valid configuration of the caller's.
    Configured(&'a Configured),
}

/// A configuration of the caller's, and those that replace it during the run.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    /// The first.
    pub config: Config,
    /// The others.
    pub reloads: Vec<Reload>,
}

impl Contender<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Named(kind) => kind.name,
            Self::Configured(_) => "config",
        }
    }

    fn simulate(&self, trace: &Trace, setup: &Setup) -> Record {
        match self {
            Self::Named(kind) => simulate(trace, setup, kind),
            Self::Configured(Configured { config, reloads }) => {
                let policy = configured(config, reloads, &fleet_of(trace, setup));
                simulate_with(trace, setup, policy.expect("it was checked"))
            }
        }
    }
}

/// Runs every policy with every seed, on all cores.
pub fn compare(trace: &Trace, setup: &Setup, policies: &[PolicyKind], seeds: u64) -> Comparison {
    run(trace, setup, &policies.iter().map(Contender::Named).collect::<Vec<_>>(), seeds)
}

/// Compares with a configuration of the caller's, under the name `config`.
///
/// # Errors
///
/// A configuration is invalid, or changes a field that is fixed while a scheduler runs.
pub fn compare_with(
    trace: &Trace,
    setup: &Setup,
    policies: &[PolicyKind],
    own: &Configured,
    seeds: u64,
) -> Result<Comparison, ConfigError> {
    configured(&own.config, &own.reloads, &fleet_of(trace, setup))?;
    let mut contenders: Vec<_> = policies.iter().map(Contender::Named).collect();
    contenders.push(Contender::Configured(own));
    Ok(run(trace, setup, &contenders, seeds))
}

fn run(trace: &Trace, setup: &Setup, contenders: &[Contender<'_>], seeds: u64) -> Comparison {
    let bar = progress(contenders.len() as u64 * seeds, "runs");
    let rows = contenders.par_iter().map(|contender| {
        let runs: Vec<((Summary, Groups), Option<Record>)> = (0..seeds)
            .into_par_iter()
            .map(|seed| {
                let setup = Setup { seed: setup.seed + seed, ..setup.clone() };
                let record = contender.simulate(trace, &setup);
                bar.inc(1);
                let figures = (Summary::of(&record), Groups::of(&record, &setup.clients));
                (figures, (seed == 0).then_some(record))
            })
            .collect();
        let (figures, records): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        let (summaries, groups): (Vec<Summary>, Vec<Groups>) = figures.into_iter().unzip();
        Row {
            policy: contender.name(),
            median: Summary::median(&summaries),
            range: if seeds > 1 { range(&summaries) } else { Vec::new() },
            groups: (setup.clients != Clients::default()).then(|| Groups::median(&groups)),
            record: records.into_iter().flatten().next().unwrap_or_default(),
        }
    });
    let policies = rows.collect();
    bar.finish_and_clear();
    Comparison {
        trace: trace.name.clone(),
        replicas: setup.replicas,
        class: setup.mix().names(),
        speed: setup.speed,
        policies,
    }
}

/// A bar on the terminal, if there is one.
pub(crate) fn progress(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&template).expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn range(runs: &[Summary]) -> Vec<(&'static str, [f64; 2])> {
    let bounds = |values: &[f64]| {
        [
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(0.0, f64::max),
        ]
    };
    FIGURES.iter().map(|figure| (figure.name, bounds(&figure.of(runs)))).collect()
}

fn as_map<S: serde::Serializer>(
    range: &[(&'static str, [f64; 2])],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(range.iter().copied())
}

impl Comparison {
    /// A table for the terminal, with ratios against the two common baselines.
    pub fn table(&self) -> String {
        let against = |name: &str| self.policies.iter().find(|row| row.policy == name);
        let (round_robin, least_request) = (against("round-robin"), against("least-request"));
        let width = self.policies.iter().map(|row| row.policy.len()).max().unwrap_or(0).max(6);
        let mut table = format!(
            "{:<width$} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>7} {:>6} {:>6} {:>7} {:>7}\n",
            "policy",
            "TTFT p50",
            "p90",
            "p99",
            "TPOT p90",
            "e2e p50",
            "good",
            "hit",
            "req/s",
            "imbal",
            "reject",
            "p99/RR",
            "p99/LR",
        );
        let has_adapters = self.policies.iter().any(|row| row.median.adapter_loads > 0);
        if has_adapters {
            table.pop();
            table.push_str("   loads\n");
        }
        for row in &self.policies {
            let s = &row.median;
            let ratio = |other: Option<&Row>| match other {
                Some(other) if other.median.ttft_p99_s > 0.0 => {
                    format!("{:.2}", s.ttft_p99_s / other.median.ttft_p99_s)
                }
                _ => "-".into(),
            };
            let _ = write!(
                table,
                "{:<width$} {:>7.2}s {:>7.2}s {:>7.2}s {:>6.0}ms {:>7.1}s {:>5.1}% {:>5.1}% {:>7.2} {:>6.2} {:>6} {:>7} {:>7}",
                row.policy,
                s.ttft_p50_s,
                s.ttft_p90_s,
                s.ttft_p99_s,
                s.tpot_p90_s * 1e3,
                s.e2e_p50_s,
                s.goodput * 100.0,
                s.hit_ratio * 100.0,
                s.throughput_rps,
                s.imbalance,
                s.rejected,
                ratio(round_robin),
                ratio(least_request),
            );
            let _ = match has_adapters {
                true => writeln!(table, " {:>7}", s.adapter_loads),
                false => writeln!(table),
            };
        }
        table
    }

    /// The figures by class and tenant, for a second table; empty if clients are not divided.
    pub fn groups(&self) -> String {
        let width = self.policies.iter().map(|row| row.policy.len()).max().unwrap_or(0).max(6);
        let [group, requests, p50, p99, refused, good, jain, work] = HEADING;
        let lines: String = self
            .policies
            .iter()
            .filter_map(|row| Some(row.groups.as_ref()?.lines(row.policy, width)))
            .collect();
        if lines.is_empty() {
            return lines;
        }
        format!(
            "{:<width$} {group:<12} {requests:>8} {p50:>8} {p99:>8} {refused:>8} {good:>7} {jain:>6} {work:>8}\n{lines}\n",
            "policy"
        )
    }

    /// The requests at each reload of the first seed, one a line; empty without reloads.
    pub fn reloads(&self) -> String {
        let mut text = String::new();
        for row in &self.policies {
            for reload in &row.record.reloads {
                let (before, after) = (reload.before, reload.after);
                let _ = writeln!(
                    text,
                    "{}: reload at {:.3} s; queued {} -> {}, in flight {} -> {}",
                    row.policy,
                    reload.at.as_micros() as f64 / 1e6,
                    before.queued,
                    after.queued,
                    before.in_flight,
                    after.in_flight,
                );
            }
        }
        text
    }

    /// The messages between gateways in the run of the first seed, one policy a line; empty if none
    /// were sent.
    pub fn traffic(&self) -> String {
        let mut text = String::new();
        for row in &self.policies {
            let Some(traffic) = row.record.traffic else { continue };
            let _ = writeln!(
                text,
                "{}: a gateway sends {:.2} messages/s with {:.0} B/s, and receives {:.0} B/s; \
                 {} sent again, {} prompts without their first blocks, {} left out",
                row.policy,
                traffic.sent_per_s,
                traffic.sent_bytes_per_s,
                traffic.received_bytes_per_s,
                traffic.repeated,
                traffic.headless,
                traffic.left_out,
            );
        }
        text
    }

    /// Ranges over the seeds, for a table below the table.
    pub fn ranges(&self) -> String {
        let mut text = String::new();
        for row in self.policies.iter().filter(|row| !row.range.is_empty()) {
            let find = |name: &str| {
                row.range.iter().find(|(figure, _)| *figure == name).map(|(_, bounds)| *bounds)
            };
            if let (Some(p99), Some(good)) = (find("ttft_p99_s"), find("goodput")) {
                let _ = writeln!(
                    text,
                    "{:<24} p99 {:.2}-{:.2} s, good {:.1}-{:.1} %",
                    row.policy,
                    p99[0],
                    p99[1],
                    good[0] * 100.0,
                    good[1] * 100.0
                );
            }
        }
        text
    }
}
