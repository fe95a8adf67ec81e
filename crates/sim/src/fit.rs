//! A class of replicas from the user's own measurement.
//!
//! Two factors scale a built-in class: one on its prefill (matrix work and attention a token), one
//! on its decode (the fixed time and the floor of a step, and the KV reads). Each round replays the
//! measured loads and corrects the factors by the ratio of measured to simulated medians.

use std::fmt::Write as _;

use crate::curve::{Point, at_rate, single_requests};
use crate::measurement::Measured;
use crate::replica::{Class, Source};

/// A fitted class, with what it leaves unexplained.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The class, called `measured`.
    pub class: Class,
    /// The class that was scaled.
    pub base: Class,
    /// The factors on its prefill and on its decode.
    pub factors: [f64; 2],
    /// Simulated over measured medians at each load: time to first token, time per output token.
    pub ratios: Vec<[f64; 2]>,
    /// The mean error of these medians, as a factor: 0.1 is 10 %.
    pub error: f64,
    /// The measurement.
    pub measured: Vec<Measured>,
}

/// Rounds of correction.
const ROUNDS: usize = 12;
/// The share of the error that a round corrects, on a logarithmic scale.
const STEP: f64 = 0.7;
/// Requests of each replay.
const REQUESTS: usize = 600;

/// Fits `base` to measurements of `replicas` replicas.
pub fn fit(base: Class, replicas: usize, measured: &[Measured]) -> Fit {
    let mut factors = [1.0, 1.0];
    let mut best: Option<Fit> = None;
    for _ in 0..ROUNDS {
        let class = scaled(base, factors);
        let points: Vec<Point> = measured.iter().map(|one| replay(class, replicas, one)).collect();
        let ratios: Vec<[f64; 2]> = points
            .iter()
            .zip(measured)
            .map(|(point, one)| [point.ttft[0] / one.ttft[0], point.tpot[0] / one.tpot[0]])
            .collect();
        let error = error(&ratios);
        if best.as_ref().is_none_or(|best| error < best.error) {
            let ratios = ratios.clone();
            best = Some(Fit { class, base, factors, ratios, error, measured: measured.to_vec() });
        }
        for (at, factor) in factors.iter_mut().enumerate() {
            let log = ratios.iter().map(|ratio| ratio[at].max(1e-6).ln()).sum::<f64>();
            let mean = log / ratios.len().max(1) as f64;
            *factor = (*factor * (-STEP * mean).exp()).clamp(0.02, 50.0);
        }
    }
    best.expect("there is a round")
}

fn replay(class: Class, replicas: usize, one: &Measured) -> Point {
    let trace = single_requests(one.input, one.output, 0.0, REQUESTS);
    at_rate(&trace, class, replicas, one.rate, 1)
}

/// The mean of the absolute logarithms, as a factor.
fn error(ratios: &[[f64; 2]]) -> f64 {
    let logs = ratios.iter().flatten().map(|ratio| ratio.max(1e-6).ln().abs());
    (logs.sum::<f64>() / (2 * ratios.len().max(1)) as f64).exp() - 1.0
}

fn scaled(base: Class, [prefill, decode]: [f64; 2]) -> Class {
    Class {
        name: "measured",
        title: "your measurement",
        source: Source::Measured,
        lin: base.lin * prefill,
        attn: base.attn * prefill,
        base: base.base * decode,
        floor: base.floor * decode,
        kvr: base.kvr * decode,
        ..base
    }
}

impl Fit {
    /// The coefficients, and the fitted beside the measured medians.
    pub fn table(&self) -> String {
        let [prefill, decode] = self.factors;
        let mut table = format!(
            "measured: {} with prefill x {prefill:.2} and decode x {decode:.2}; mean error of the \
             medians {:.0}%\n{:>8} {:>8} {:>8} {:>12} {:>8} {:>12} {:>8}\n",
            self.base.name,
            self.error * 100.0,
            "req/s",
            "input",
            "output",
            "TTFT p50",
            "error",
            "TPOT p50",
            "error"
        );
        for (one, [ttft, tpot]) in self.measured.iter().zip(&self.ratios) {
            let _ = writeln!(
                table,
                "{:>8.2} {:>8.0} {:>8.0} {:>10.0}ms {:>+7.0}% {:>10.1}ms {:>+7.0}%",
                one.rate,
                one.input,
                one.output,
                one.ttft[0] * 1e3,
                (ttft - 1.0) * 100.0,
                one.tpot[0] * 1e3,
                (tpot - 1.0) * 100.0
            );
        }
        table
    }
}
