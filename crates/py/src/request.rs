//! Requests: the prompt or the body, the headers, and the keywords of `pick`, `submit` and
//! `explain`.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use slotwise::{EndpointId, Implausible, Instant, Priority, Request, implausible};
use slotwise_wire::headers::RequestHeaders;
use slotwise_wire::request::Api;

use crate::body::{Pairs, Readers, api_at};
use crate::error::named;
use crate::ids::{EndpointArg, SubsetArg};
use crate::prompt::{Prompt, bytes};

/// The keywords of `pick`, `submit` and `explain`. Keywords take precedence over headers, and
/// headers over the body.
pub(crate) struct RequestOptions<'a, 'py> {
    pub(crate) prompt: Option<&'a Bound<'py, PyAny>>,
    pub(crate) body: Option<&'a Bound<'py, PyAny>>,
    pub(crate) path: Option<&'a str>,
    pub(crate) headers: Option<&'a Bound<'py, PyAny>>,
    pub(crate) priority_order: &'a str,
    pub(crate) allow: Option<&'a Bound<'py, PyAny>>,
    pub(crate) model: Option<&'a str>,
    pub(crate) adapter: Option<&'a str>,
    pub(crate) cache_salt: Option<&'a str>,
    pub(crate) cache_use: Option<&'a str>,
    pub(crate) continues: Option<&'a str>,
    pub(crate) priority: Option<i32>,
    pub(crate) flow: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) deadline: Option<f64>,
    pub(crate) slo_ttft: Option<f64>,
    pub(crate) slo_tpot: Option<f64>,
    pub(crate) expected_output_tokens: Option<u32>,
    pub(crate) role: &'a str,
    pub(crate) multimodal: bool,
    pub(crate) streams: Option<bool>,
    pub(crate) labels: Option<&'a Bound<'a, PyDict>>,
    pub(crate) plugin_headers: Option<&'a Bound<'a, PyDict>>,
    pub(crate) exclude: Option<&'a [EndpointArg]>,
    pub(crate) subset: Option<&'a SubsetArg>,
    pub(crate) subset_ports: &'a str,
    pub(crate) ttl: Option<f64>,
    pub(crate) weight: Option<f64>,
}

impl<'a> RequestOptions<'a, '_> {
    /// Builds the core's request and passes it on.
    pub(crate) fn with<'py>(
        &self,
        py: Python<'py>,
        now: Instant,
        readers: &Readers,
        ask: &dyn Fn(&Request<'_>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (labels, plugin_headers) = (texts(self.labels)?, texts(self.plugin_headers)?);
        let (labels, plugin_headers) = (borrowed(&labels)?, borrowed(&plugin_headers)?);
        let exclude: Vec<EndpointId> =
            self.exclude.unwrap_or_default().iter().map(|id| id.0).collect();
        let pairs = self.headers.map(Pairs::read).transpose()?;
        let pairs = pairs.as_ref().map(Pairs::slices).transpose()?;
        let allow = crate::allow::read(self.allow)?;
        let headers = pairs.map_or_else(RequestHeaders::default, |pairs| {
            RequestHeaders::read_allowed(&allow, pairs)
        });
        let order = named("priority_order", self.priority_order)?;
        let options = self.read(py, now, [&labels, &plugin_headers], &exclude)?;
        match (self.prompt, self.body) {
            (Some(prompt), None) => {
                if self.path.is_some() {
                    return Err(PyTypeError::new_err(
                        "path says what a body is, and there is none",
                    ));
                }
                let prompt = Prompt::read(prompt)?;
                let request = prompt.put_into(Request::new(""));
                ask(&options.merge(now, &allow, &headers, request))
            }
            (None, Some(body)) => {
                let api = self.path.map_or(Ok(Api::ChatCompletions), api_at)?;
                readers.with(py, api, &bytes(body, "body")?, |view| {
                    let request = view.to_request_allowed(order, &allow);
                    ask(&options.merge(now, &allow, &headers, request))
                })
            }
            _ => Err(PyTypeError::new_err("expected either a prompt or a body")),
        }
    }

    /// The keywords beside the prompt, as the gateway crate takes them.
    fn read<'o>(
        &self,
        py: Python<'_>,
        now: Instant,
        [labels, plugin_headers]: [&'o [(&'o str, &'o str)]; 2],
        exclude: &'o [EndpointId],
    ) -> PyResult<slotwise_gateway::RequestOptions<'o>>
    where
        'a: 'o,
    {
        let ttl = self.ttl.map(time_to_live).transpose()?;
        if let Some(ttl) = ttl {
            warn_implausible(py, implausible("ttl", ttl))?;
        }
        Ok(slotwise_gateway::RequestOptions {
            model: self.model,
            adapter: self.adapter,
            cache_salt: self.cache_salt,
            cache_use: self.cache_use.map(|name| named("cache_use", name)).transpose()?,
            continues: self.continues,
            session: self.session,
            flow: self.flow,
            priority: self.priority.map(Priority),
            weight: self.weight,
            deadline: self.deadline.map(|at| deadline(now, at)).transpose()?,
            slo_ttft: self.slo_ttft.map(service_level).transpose()?,
            slo_tpot: self.slo_tpot.map(service_level).transpose()?,
            ttl,
            expected_output_tokens: self.expected_output_tokens,
            role: Some(named("role", self.role)?),
            multimodal: self.multimodal,
            streams: self.streams,
            labels,
            plugin_headers,
            exclude,
            subset: self.subset.map(SubsetArg::as_subset),
            subset_ports: Some(named("subset_ports", self.subset_ports)?),
        })
    }
}

type Texts<'py> = Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>;

/// The texts of a mapping; none if there is no mapping.
fn texts<'py>(mapping: Option<&Bound<'py, PyDict>>) -> PyResult<Texts<'py>> {
    let entries = mapping.into_iter().flatten();
    entries.map(|(key, value)| Ok((key.cast_into()?, value.cast_into()?))).collect()
}

fn borrowed<'a>(texts: &'a Texts<'_>) -> PyResult<Vec<(&'a str, &'a str)>> {
    texts.iter().map(|(key, value)| Ok((key.to_str()?, value.to_str()?))).collect()
}

/// A deadline in seconds on the scheduler's clock. A deadline more than a day ahead is an error: it
/// is on another clock, and would never expire.
fn deadline(now: Instant, seconds: f64) -> PyResult<Instant> {
    let at = instant("deadline", seconds)?;
    if at.saturating_since(now) > Duration::from_secs(86_400) {
        let message = format!(
            "deadline must be seconds on the scheduler's clock, as now is: {seconds} is more than \
             a day ahead. Pass time.monotonic() + 5, \
             say, and not time.time() + 5"
        );
        return Err(PyValueError::new_err(message));
    }
    Ok(at)
}

/// The duration of the argument `name`, in seconds.
pub(crate) fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{name} must be seconds, and not {seconds}")))
}

/// A service level in seconds.
fn service_level(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("a service level must be positive seconds, but is {seconds}"))
    })
}

/// Warns of an implausible duration, once for each field.
pub(crate) fn warn_implausible(py: Python<'_>, found: Option<Implausible>) -> PyResult<()> {
    let Some(found) = found else { return Ok(()) };
    let (field, is) = (found.field, found.is.as_secs_f64());
    let (least, most) = (found.least.as_secs_f64(), found.most.as_secs_f64());
    let message = format!(
        "{field} is {is} seconds, where {least} to {most} is plausible: \
         times are seconds, not milliseconds"
    );
    py.import("slotwise.warn_once")?.call_method1("warn_once", (field, message)).map(drop)
}

/// Infinity, or a value beyond the core's range, sets no limit.
fn time_to_live(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err(format!(
            "ttl must not be negative, but it is {seconds}"
        )));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Converts seconds on the host's monotonic clock to the core's unit, microseconds.
pub(crate) fn instant(what: &str, seconds: f64) -> PyResult<Instant> {
    if !(0.0..LAST).contains(&seconds) {
        let message = format!("{what} must be seconds on a monotonic clock, not {seconds}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Instant::from_micros((seconds * 1e6).round() as u64))
}

/// A time on the scheduler's clock in seconds; `None` if it is beyond the clock's range.
pub(crate) fn seconds(at: Instant) -> Option<f64> {
    let seconds = at.as_micros() as f64 / 1e6;
    (seconds < LAST).then_some(seconds)
}

/// Seconds: 2^53 microseconds are 285 years, and exact.
const LAST: f64 = 9_007_199_254.0;
