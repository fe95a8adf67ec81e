//! Reports of guidellm and aiperf as CSV. inference-perf writes none.
//!
//! ```text
//! guidellm   three header rows: group, metric with status and unit, statistic; then one row for
//!            each load. The statistic `Percentiles` is a list from the least to the greatest.
//! aiperf     a section `Metric,avg,...,p50,...` with one row for each metric, and a section
//!            `Metric,Value`. The name of a metric ends with its unit in parentheses.
//! ```

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use csv::StringRecord;

use crate::measurement::Measured;

/// Reads a report; guidellm's has one measurement for each load.
///
/// # Errors
///
/// When the text is no report of the two tools, or lacks a number. The error names the line.
pub(crate) fn read(text: &str) -> Result<Vec<Measured>> {
    // The reader counts the line of a carriage return too late.
    let text = text.replace("\r\n", "\n");
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.context("no CSV")?;
        let line = row.position().map_or(1, csv::Position::line);
        rows.push(Row { line, cells: row });
    }
    let Some(first) = rows.first() else { bail!("line 1: the file is empty") };
    if first.cell(0).eq_ignore_ascii_case("metric") {
        Ok(vec![aiperf(&rows)?])
    } else if first.cells.iter().any(|cell| cell == THROUGHPUT[0]) {
        guidellm(&rows)
    } else {
        bail!(
            "line 1: no report: expected `Metric` in the first cell (aiperf) or a cell \
             `{}` (guidellm)",
            THROUGHPUT[0]
        )
    }
}

/// A row and its line.
struct Row {
    line: u64,
    cells: StringRecord,
}

impl Row {
    fn cell(&self, at: usize) -> &str {
        self.cells.get(at).unwrap_or("").trim()
    }

    /// The positive number of a cell. Thousands may be separated by commas.
    fn number(&self, at: usize, name: &str) -> Result<f64> {
        let text = self.cell(at);
        let number = text.replace(',', "").parse().ok().and_then(positive);
        number.with_context(|| self.unexpected(name, text, "a positive number"))
    }

    fn unexpected(&self, name: &str, text: &str, expected: &str) -> String {
        format!("line {}: {name} is {text:?}, expected {expected}", self.line)
    }
}

fn positive(number: f64) -> Option<f64> {
    (number > 0.0 && number < 1e9).then_some(number)
}

fn aiperf(rows: &[Row]) -> Result<Measured> {
    let mut sections = Vec::new();
    let mut header = None;
    for row in rows {
        if row.cell(0).eq_ignore_ascii_case("metric") {
            header = Some(row);
        } else if let Some(header) = header {
            let (name, unit) = split_unit(row.cell(0));
            sections.push(Metric { name, unit, header, row });
        }
    }
    let find = |name: &str| {
        let found = sections.iter().find(|metric| metric.name.eq_ignore_ascii_case(name));
        found.with_context(|| format!("no line has the metric {name:?}"))
    };
    let times = |name: &str| -> Result<[f64; 3]> {
        let metric = find(name)?;
        let factor = match metric.unit {
            "ms" => 1e-3,
            "s" | "sec" | "seconds" => 1.0,
            unit => bail!(metric.row.unexpected(&format!("the unit of {name}"), unit, "ms or sec")),
        };
        let at = |column| Ok::<_, anyhow::Error>(metric.value(&[column])? * factor);
        Ok([at("p50")?, at("p90")?, at("p99")?])
    };
    let mean = |name: &str| find(name)?.value(&["avg", "value"]);
    Ok(Measured {
        rate: mean("Request Throughput")?,
        input: mean("Input Sequence Length")?,
        output: mean("Output Sequence Length")?,
        ttft: times("Time to First Token")?,
        tpot: times("Inter Token Latency")?,
    })
}

/// A row of aiperf, with the header of its section.
struct Metric<'a> {
    name: &'a str,
    unit: &'a str,
    header: &'a Row,
    row: &'a Row,
}

impl Metric<'_> {
    /// The number below the first of these columns that the section has.
    fn value(&self, columns: &[&str]) -> Result<f64> {
        let is_wanted = |cell: &str| columns.iter().any(|name| cell.eq_ignore_ascii_case(name));
        let at = self.header.cells.iter().position(|cell| is_wanted(cell.trim()));
        let at = at.with_context(|| {
            format!(
                "line {}: no column {}, which {} needs",
                self.header.line, columns[0], self.name
            )
        })?;
        self.row.number(at, &format!("{} of {}", columns[0], self.name))
    }
}

/// The name and the unit of `Time to First Token (ms)`.
fn split_unit(name: &str) -> (&str, &str) {
    match name.strip_suffix(')').and_then(|name| name.rsplit_once('(')) {
        Some((name, unit)) => (name.trim(), unit.trim()),
        None => (name, ""),
    }
}

/// A column of guidellm: its group and its metric.
type Column = [&'static str; 2];

const THROUGHPUT: Column = ["Server Throughput", "Successful Requests/Sec"];
const INPUT: Column = ["Token Metrics", "Successful Input Tokens"];
const OUTPUT: Column = ["Token Metrics", "Successful Output Tokens"];
const TTFT: Column = ["Time to First Token", "Successful ms"];
const TPOT: Column = ["Inter Token Latency", "Successful ms"];

/// The percentiles of guidellm's list: least, 0.1, 1, 5, 10, 25, 75, 90, 95, 99, greatest.
const PERCENTILES: usize = 11;
const P90: usize = 7;
const P99: usize = 9;

fn guidellm(rows: &[Row]) -> Result<Vec<Measured>> {
    ensure!(rows.len() > 3, "line {}: no row follows the three header rows", rows.len());
    let (header, loads) = rows.split_at(3);
    let width = header.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let columns: HashMap<[&str; 3], usize> =
        (0..width).map(|at| ([0, 1, 2].map(|row: usize| header[row].cell(at)), at)).collect();
    let column = |[group, metric]: Column, statistic: &str| {
        let found = columns.get(&[group, metric, statistic]).copied();
        found.with_context(|| format!("lines 1 to 3: no column {group} / {metric} / {statistic}"))
    };
    let mean = |row: &Row, wanted: Column| row.number(column(wanted, "Mean")?, wanted[0]);
    let times = |row: &Row, wanted: Column| -> Result<[f64; 3]> {
        let name = wanted[0];
        let median = row.number(column(wanted, "Median")?, name)?;
        let list = row.cell(column(wanted, "Percentiles")?);
        let expected = || row.unexpected(name, list, "a list of 11 numbers");
        let percentiles: Vec<f64> = serde_json::from_str(list).with_context(expected)?;
        ensure!(percentiles.len() == PERCENTILES, expected());
        let at = |at: usize| positive(percentiles[at]).with_context(expected);
        Ok([median / 1e3, at(P90)? / 1e3, at(P99)? / 1e3])
    };
    let load = |row: &Row| {
        Ok(Measured {
            rate: mean(row, THROUGHPUT)?,
            input: mean(row, INPUT)?,
            output: mean(row, OUTPUT)?,
            ttft: times(row, TTFT)?,
            tpot: times(row, TPOT)?,
        })
    };
    loads.iter().map(load).collect()
}
