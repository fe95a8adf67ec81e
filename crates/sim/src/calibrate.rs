//! The coefficients of a class, from measured kernel times.
//!
//! Vidur's profiles have, for each number of tokens and degree of tensor parallelism, the time of
//! every matrix operation of one layer. The matrix work of a step is the sum of their medians times
//! the number of layers. `floor` is its smallest value. `lin` is the mean time per token of batches
//! of 2,048 to 4,096 tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::trace::{csv_error, read};

/// The operations of a layer, and how often each occurs in one.
const OPERATIONS: [(&str, f64); 9] = [
    ("input_layernorm", 1.0),
    ("attn_pre_proj", 1.0),
    ("attn_rope", 1.0),
    ("attn_post_proj", 1.0),
    ("post_attention_layernorm", 1.0),
    ("mlp_up_proj", 1.0),
    ("mlp_act", 1.0),
    ("mlp_down_proj", 1.0),
    ("add", 2.0),
];

/// Matrix work of a step, in seconds, by tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// (tokens, seconds), fewest first.
    pub curve: Vec<(u32, f64)>,
    /// The least that a step takes.
    pub floor: f64,
    /// Seconds a token of large batches.
    pub lin: f64,
}

/// Reads a profile, for a model of `layers` layers on `parallel` GPUs.
///
/// # Errors
///
/// When the file is no such profile, or does not have that degree of parallelism.
pub fn calibrate(path: &Path, layers: u32, parallel: u32) -> Result<Calibration> {
    let text = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| csv_error(path, &error))?.clone();
    let column = |name: &str| {
        headers.iter().position(|header| header == name).with_context(|| {
            format!(
                "{} has no column {name}: it is no profile of matrix operations",
                path.display()
            )
        })
    };
    let (tokens, workers) = (column("num_tokens")?, column("num_tensor_parallel_workers")?);
    let operations: Vec<(usize, f64)> = OPERATIONS
        .iter()
        .map(|(name, times)| Ok((column(&format!("time_stats.{name}.median"))?, *times)))
        .collect::<Result<_>>()?;

    let mut curve = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(path, &error))?;
        let line = record.position().map_or(1, |place| place.line());
        let number = |at: usize| record[at].trim().parse::<f64>();
        let needed = |at: usize| {
            number(at).with_context(|| {
                format!(
                    "{}:{line}: {:?} in column {} is no number",
                    path.display(),
                    &record[at],
                    &headers[at]
                )
            })
        };
        if needed(workers)? as u32 != parallel {
            continue;
        }
        // An operation that a batch was too large to measure is empty: the row has no sum.
        let layer: Option<f64> =
            operations.iter().map(|(at, times)| number(*at).ok().map(|ms| ms * times)).sum();
        if let Some(layer) = layer.filter(|ms| ms.is_finite()) {
            curve.insert(needed(tokens)? as u32, layer / 1e3 * f64::from(layers));
        }
    }
    let curve: Vec<(u32, f64)> = curve.into_iter().collect();
    let large: Vec<(u32, f64)> =
        curve.iter().copied().filter(|(tokens, _)| (2_048..=4_096).contains(tokens)).collect();
    let (Some((_, floor)), false) = (curve.first(), large.is_empty()) else {
        bail!("{} has no rows with {parallel} workers and 2,048 to 4,096 tokens", path.display());
    };
    let lin = large.iter().map(|(tokens, seconds)| seconds / f64::from(*tokens)).sum::<f64>()
        / large.len() as f64;
    Ok(Calibration { floor: *floor, lin, curve })
}

impl Calibration {
    /// A table for the terminal: measured times beside those of the fitted coefficients.
    pub fn table(&self) -> String {
        let mut table = format!(
            "floor {:.1} ms, lin {:.1} us/token\n{:>8} {:>12} {:>12} {:>8}\n",
            self.floor * 1e3,
            self.lin * 1e6,
            "tokens",
            "measured ms",
            "fitted ms",
            "error"
        );
        for wanted in [1, 64, 128, 256, 512, 1_024, 2_048, 4_096] {
            let Some((tokens, measured)) = self.curve.iter().find(|(tokens, _)| *tokens >= wanted)
            else {
                continue;
            };
            let fitted = self.floor.max(self.lin * f64::from(*tokens));
            let error = (fitted / measured - 1.0) * 100.0;
            let _ = writeln!(
                table,
                "{tokens:>8} {:>12.2} {:>12.2} {error:>+7.0}%",
                measured * 1e3,
                fitted * 1e3
            );
        }
        table
    }
}
