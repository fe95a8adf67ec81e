//! Admitters: whether a sheddable request is admitted before an endpoint is chosen.

mod latency_slo;
mod power;
mod probabilistic;

pub use latency_slo::LatencySloAdmitter;
pub use probabilistic::{ProbabilisticAdmitter, shed_probability};
