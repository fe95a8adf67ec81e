//! What a request asks for besides its prompt.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use slotwise::{Instant, Priority, Request, Role};

use crate::prompt::Prompt;

/// The keywords of `pick`, `submit` and `explain`.
pub(crate) struct Wishes<'a> {
    pub(crate) model: &'a str,
    pub(crate) adapter: Option<&'a str>,
    pub(crate) cache_salt: Option<&'a str>,
    pub(crate) priority: i32,
    pub(crate) flow: &'a str,
    pub(crate) session: Option<&'a str>,
    pub(crate) deadline: Option<f64>,
    pub(crate) expected_output: u32,
    pub(crate) role: &'a str,
    pub(crate) labels: Option<&'a Bound<'a, PyDict>>,
    pub(crate) ttl: Option<f64>,
    pub(crate) weight: f64,
}

impl Wishes<'_> {
    /// Builds the core's request and passes it on.
    pub(crate) fn with<T>(&self, prompt: &Prompt<'_>, ask: impl FnOnce(&Request<'_>) -> T) -> PyResult<T> {
        let labels = match self.labels {
            Some(labels) => labels
                .iter()
                .map(|(key, value)| Ok((key.cast_into::<PyString>()?, value.cast_into::<PyString>()?)))
                .collect::<PyResult<Vec<_>>>()?,
            None => Vec::new(),
        };
        let labels = labels
            .iter()
            .map(|(key, value)| Ok((key.to_str()?, value.to_str()?)))
            .collect::<PyResult<Vec<(&str, &str)>>>()?;
        let mut request = Request::new(self.model)
            .priority(Priority(self.priority))
            .flow(self.flow)
            .expected_output(self.expected_output)
            .role(role(self.role)?)
            .weight(self.weight)
            .labels(&labels);
        request.adapter = self.adapter;
        request.cache_salt = self.cache_salt;
        request.session = self.session;
        request.deadline = self.deadline.map(|at| instant("deadline", at)).transpose()?;
        request.ttl = self.ttl.map(time_to_live).transpose()?;
        Ok(ask(&prompt.put_into(request)))
    }
}

fn role(name: &str) -> PyResult<Role> {
    match name {
        "unified" => Ok(Role::Unified),
        "prefill" => Ok(Role::Prefill),
        "decode" => Ok(Role::Decode),
        _ => {
            Err(PyValueError::new_err(format!("role must be 'unified', 'prefill' or 'decode', not {name:?}")))
        }
    }
}

/// Infinity, or more than the core can count, means: without a limit.
fn time_to_live(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err(format!("ttl must not be negative, but it is {seconds}")));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Seconds on the host's monotonic clock as the core counts them: in microseconds.
pub(crate) fn instant(what: &str, seconds: f64) -> PyResult<Instant> {
    // 2^53 microseconds are 285 years, and exact.
    if !(0.0..9_007_199_254.0).contains(&seconds) {
        let message = format!("{what} must be seconds on a monotonic clock, not {seconds}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Instant::from_micros((seconds * 1e6).round() as u64))
}
