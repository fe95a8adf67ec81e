//! Reports of load generators: inference-perf, guidellm and aiperf.
//!
//! | tool | file | percentiles |
//! |---|---|---|
//! | inference-perf | `stage_*` and `summary_lifecycle_metrics.json` | seconds |
//! | guidellm | `benchmarks.json`, `benchmarks.csv` | milliseconds |
//! | aiperf | `profile_export_aiperf.json`, `profile_export_aiperf.csv` | by unit |
//!
//! A file that does not begin with a brace is read as CSV.
//!
//! Only aggregates are read: the rate of requests, mean lengths, and percentiles of latency.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::measurement_csv;

/// What one run of a load generator measured, at one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Completed requests a second.
    pub rate: f64,
    /// Mean tokens of a prompt.
    pub input: f64,
    /// Mean tokens of an answer.
    pub output: f64,
    /// Time to first token in seconds: median, 90th and 99th percentile.
    pub ttft: [f64; 3],
    /// Time per output token in seconds, likewise.
    pub tpot: [f64; 3],
}

/// Reads a report; guidellm's has one measurement for each load.
///
/// # Errors
///
/// When the file is no report of the three tools, or lacks a number. The error names the path of
/// the field in JSON, and the line in CSV. A run without streaming has no time to first token.
pub fn read(path: &Path) -> Result<Vec<Measured>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = path.display();
    if !text.trim_start().starts_with(['{', '[']) {
        return measurement_csv::read(&text).with_context(|| format!("{file}"));
    }
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{file} is no JSON document"))?;
    let measured = if report.get("successes").is_some() {
        inference_perf(&report).map(|one| vec![one])
    } else if let Some(benchmarks) = report.get("benchmarks").and_then(Value::as_array) {
        benchmarks
            .iter()
            .enumerate()
            .map(|(at, benchmark)| guidellm(benchmark).with_context(|| format!("benchmarks[{at}]")))
            .collect()
    } else if report.get("request_throughput").is_some() {
        aiperf(&report).map(|one| vec![one])
    } else {
        bail!(
            "{file} is no report: expected `successes` (inference-perf), `benchmarks` (guidellm) \
             or `request_throughput` (aiperf)"
        )
    };
    let measured = measured.with_context(|| format!("{file}"))?;
    if measured.is_empty() {
        bail!("{file} has no measurement");
    }
    Ok(measured)
}

fn inference_perf(report: &Value) -> Result<Measured> {
    let percentiles = |name: &str| -> Result<[f64; 3]> {
        let path = ["successes", "latency", name];
        let at = |percentile: &str| number(report, &[&path[..], &[percentile]].concat());
        Ok([at("median")?, at("p90")?, at("p99")?])
    };
    Ok(Measured {
        rate: number(report, &["successes", "throughput", "requests_per_sec"])?,
        input: number(report, &["successes", "prompt_len", "mean"])?,
        output: number(report, &["successes", "output_len", "mean"])?,
        ttft: percentiles("time_to_first_token")?,
        tpot: percentiles("time_per_output_token")?,
    })
}

fn guidellm(benchmark: &Value) -> Result<Measured> {
    let mean = |name: &str| number(benchmark, &["metrics", name, "successful", "mean"]);
    let percentiles = |name: &str| -> Result<[f64; 3]> {
        let path = ["metrics", name, "successful", "percentiles"];
        let at = |percentile: &str| {
            Ok::<_, anyhow::Error>(number(benchmark, &[&path[..], &[percentile]].concat())? / 1e3)
        };
        Ok([at("p50")?, at("p90")?, at("p99")?])
    };
    Ok(Measured {
        rate: mean("requests_per_second")?,
        input: mean("prompt_token_count")?,
        output: mean("output_token_count")?,
        ttft: percentiles("time_to_first_token_ms")?,
        // Its time per output token includes the first one; the inter-token latency does not.
        tpot: percentiles("inter_token_latency_ms")?,
    })
}

fn aiperf(report: &Value) -> Result<Measured> {
    let percentiles = |name: &str| -> Result<[f64; 3]> {
        let unit = report.get(name).and_then(|metric| metric.get("unit")).and_then(Value::as_str);
        let factor = match unit {
            Some("ms") => 1e-3,
            Some("sec" | "s" | "seconds") => 1.0,
            Some(other) => bail!("{name}.unit is {other:?}, expected ms or sec"),
            None => bail!("{name}.unit is missing"),
        };
        let at = |percentile: &str| {
            Ok::<_, anyhow::Error>(number(report, &[name, percentile])? * factor)
        };
        Ok([at("p50")?, at("p90")?, at("p99")?])
    };
    Ok(Measured {
        rate: number(report, &["request_throughput", "avg"])?,
        input: number(report, &["input_sequence_length", "avg"])?,
        output: number(report, &["output_sequence_length", "avg"])?,
        ttft: percentiles("time_to_first_token")?,
        tpot: percentiles("inter_token_latency")?,
    })
}

/// The positive number at a path.
fn number(report: &Value, path: &[&str]) -> Result<f64> {
    let value = path.iter().try_fold(report, |value, field| value.get(field));
    let number = value.and_then(Value::as_f64).filter(|number| *number > 0.0 && *number < 1e9);
    match (number, value) {
        (Some(number), _) => Ok(number),
        (None, None | Some(Value::Null)) => bail!("{} is missing", path.join(".")),
        (None, Some(other)) => bail!("{} is {other}, expected a positive number", path.join(".")),
    }
}
