//! A dispatched request: the gateway crate's lease behind a lock, with the scheduler that it
//! belongs to. The lease of a `forward` is in its exchange.
//!
//! The lock of a lease is taken before that of its scheduler. Neither is held while Python runs.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use slotwise::{EndpointId, Instant};
use slotwise_gateway::Gateway;
use slotwise_gateway::lease::{self, IdleLimit, ReportedUsage};
use slotwise_wire::response::FinishReason;

use crate::decision::Dispatch;
use crate::error::{named, raise};
use crate::exchange::{Exchange, idle_limit};
use crate::ids::EndpointArg;
use crate::prompt::bytes;
use crate::request::instant;
use crate::response::{Outcome, Progress, usage};
use crate::scheduler::Scheduler;
use crate::shared::Shared;

/// A request in flight.
#[pyclass(frozen, subclass, weakref, module = "slotwise.aio")]
pub(crate) struct Lease {
    state: Source,
    scheduler: Py<Scheduler>,
    #[pyo3(get)]
    dispatch: Py<Dispatch>,
}

/// Where the state of a lease is.
#[expect(clippy::large_enum_variant, reason = "one allocation for a lease of its own")]
enum Source {
    Own(Shared<lease::Lease>),
    Exchange(Py<Exchange>),
}

/// What a lease is made of: a decision, or an exchange whose request is in flight or answered.
#[derive(FromPyObject)]
enum Origin {
    Dispatch(Py<Dispatch>),
    Exchange(Py<Exchange>),
}

impl Lease {
    /// Applies an input at the time of the scheduler's clock, and wakes the host.
    fn input<T>(
        &self,
        py: Python<'_>,
        apply: impl FnOnce(&mut lease::Lease, &mut Gateway, Instant) -> T,
    ) -> PyResult<T> {
        let scheduler = self.scheduler.get();
        match &self.state {
            Source::Own(state) => scheduler.apply(py, state, apply),
            Source::Exchange(exchange) => scheduler
                .apply(py, &exchange.get().state, |exchange, gateway, now| {
                    exchange.lease_mut().map(|lease| apply(lease, gateway, now))
                })?
                .ok_or_else(no_lease),
        }
    }

    /// Reads or changes the state.
    fn with<T>(&self, py: Python<'_>, with: impl FnOnce(&mut lease::Lease) -> T) -> PyResult<T> {
        match &self.state {
            Source::Own(state) => Ok(with(&mut *state.lock(py)?)),
            Source::Exchange(exchange) => {
                exchange.get().state.lock(py)?.lease_mut().map(with).ok_or_else(no_lease)
            }
        }
    }

    /// Reads the state.
    fn read<T>(&self, py: Python<'_>, read: impl FnOnce(&lease::Lease) -> T) -> PyResult<T> {
        self.with(py, |lease| read(lease))
    }

    fn has_ended(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, lease::Lease::has_ended)
    }

    fn require_begun(&self, py: Python<'_>) -> PyResult<()> {
        self.read(py, lease::Lease::require_begun)?.map_err(raise)
    }

    /// The current endpoint of the request, or its last one after the end.
    fn locate<T>(&self, py: Python<'_>, read: impl FnOnce(&lease::Lease) -> T) -> PyResult<T> {
        let scheduler = self.scheduler.get();
        self.with(py, |lease| {
            lease.locate(&*scheduler.lock(py)?);
            Ok(read(lease))
        })?
    }
}

#[pymethods]
impl Lease {
    #[new]
    fn new(py: Python<'_>, scheduler: Py<Scheduler>, origin: Origin) -> PyResult<Self> {
        let (state, dispatch) = match origin {
            Origin::Dispatch(dispatch) => {
                let gateway = scheduler.get().lock(py)?;
                let state = lease::Lease::new(&gateway, dispatch.get().answer.clone());
                (Source::Own(Shared::new(state)), dispatch)
            }
            Origin::Exchange(exchange) => {
                let state = exchange.get().state.lock(py)?;
                let dispatch = state.lease().map(|lease| lease.dispatch().clone());
                drop(state);
                let dispatch = dispatch.ok_or_else(no_lease)?;
                let dispatch = Dispatch::new(scheduler.get().lock(py)?.scheduler(), dispatch);
                (Source::Exchange(exchange), Py::new(py, dispatch)?)
            }
        };
        Ok(Self { state, scheduler, dispatch })
    }

    #[getter]
    fn request_id(&self) -> u64 {
        self.dispatch.get().answer.request_id.as_u64()
    }

    #[getter]
    fn endpoint_id(&self, py: Python<'_>) -> PyResult<u64> {
        self.locate(py, |state| state.endpoint_id()).map(EndpointId::as_u64)
    }

    #[getter]
    fn endpoint_name(&self, py: Python<'_>) -> PyResult<String> {
        self.locate(py, |state| state.endpoint_name().to_owned())
    }

    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        self.has_ended(py)
    }

    #[getter]
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        self.read(py, |state| state.outcome().copied().map(Outcome))
    }

    #[getter]
    fn answer(slf: Py<Self>) -> Answer {
        Answer(slf)
    }

    fn begin(&self, py: Python<'_>, status: u16, content_type: &str) -> PyResult<()> {
        self.with(py, |lease| lease.begin(status, content_type))
    }

    fn feed(&self, chunk: &Bound<'_, PyAny>) -> PyResult<Progress> {
        let py = chunk.py();
        if self.has_ended(py)? {
            return Ok(Progress::default());
        }
        self.require_begun(py)?;
        let chunk = bytes(chunk, "chunk")?;
        let progress = self.input(py, |state, gateway, now| state.feed(gateway, now, &chunk))?;
        progress.map(Progress).map_err(raise)
    }

    #[pyo3(signature = (close = "clean"))]
    fn finish(&self, py: Python<'_>, close: &str) -> PyResult<Outcome> {
        self.require_begun(py)?;
        if let Some(outcome) = self.outcome(py)? {
            return Ok(outcome);
        }
        let close = named("close", close)?;
        let outcome = self.input(py, |state, gateway, now| state.finish(gateway, now, close))?;
        outcome.map(Outcome).map_err(raise)
    }

    fn first_token(&self, py: Python<'_>) -> PyResult<()> {
        self.input(py, |state, gateway, now| state.handle_first_token(gateway, now))
    }

    fn tokens(&self, tokens: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = tokens.py();
        if self.has_ended(py)? {
            return Ok(());
        }
        let tokens = tokens.extract()?;
        self.input(py, |state, gateway, now| state.handle_tokens(gateway, now, tokens))
    }

    #[pyo3(signature = (endpoint_id, failure = "unreachable"))]
    fn redirect(&self, py: Python<'_>, endpoint_id: EndpointArg, failure: &str) -> PyResult<()> {
        let failure = named("failure", failure)?;
        self.input(py, |state, gateway, now| state.redirect(gateway, now, endpoint_id.0, failure))?
            .map_err(raise)
    }

    #[pyo3(signature = (failure = "engine"))]
    fn fail(&self, py: Python<'_>, failure: &str) -> PyResult<bool> {
        if self.has_ended(py)? {
            return Ok(false);
        }
        let failure = named("failure", failure)?;
        self.input(py, |state, gateway, now| state.fail(gateway, now, failure))
    }

    fn cancel(&self, py: Python<'_>) -> PyResult<bool> {
        self.input(py, |state, gateway, now| state.cancel(gateway, now))
    }

    /// Completes the request. Returns whether this call ended it, and the names of the dropped
    /// counts.
    fn _complete(&self, reported: &Bound<'_, PyAny>) -> PyResult<(bool, Vec<&'static str>)> {
        let py = reported.py();
        if self.has_ended(py)? {
            return Ok((false, Vec::new()));
        }
        let reported = reported_usage(reported)?;
        let (ended, implausible) =
            self.input(py, |state, gateway, now| state.complete(gateway, now, Some(reported)))?;
        Ok((ended, implausible.iter().map(|(name, _)| name).collect()))
    }

    /// Ends the request by the end of its connection, unless it has ended.
    fn _close(&self, py: Python<'_>, close: &str) -> PyResult<()> {
        let close = named("close", close)?;
        if self.has_ended(py)? {
            return Ok(());
        }
        self.input(py, |state, gateway, now| state.close(gateway, now, close))
    }

    /// Handles a chunk on its way to the client, after a wait on the host's clock. Before `begin`,
    /// the chunk may be any object.
    fn _pass(&self, chunk: &Bound<'_, PyAny>, since: f64, until: f64) -> PyResult<()> {
        let py = chunk.py();
        let (since, until) = (instant("since", since)?, instant("until", until)?);
        let reads = self.with(py, |state| {
            if !state.has_ended() {
                state.silence().wait(since);
            }
            state.silence().end_wait(until);
            state.reader().is_some() && !state.has_ended()
        })?;
        let chunk = if reads { bytes(chunk, "chunk")? } else { Default::default() };
        self.input(py, |state, gateway, now| state.pass(gateway, now, &chunk)).map(drop)
    }

    /// Sets the idle limit: the predicted one, a number of seconds, or none.
    #[pyo3(signature = (limit = None))]
    fn _set_idle_limit(&self, py: Python<'_>, limit: Option<f64>) -> PyResult<()> {
        let limit = limit.map_or_else(IdleLimit::default, IdleLimit::from_secs);
        self.with(py, |lease| lease.silence().set_limit(limit))
    }

    /// Starts waiting for the endpoint at `now`, on the host's clock. Returns the longest time to
    /// wait.
    fn _wait(&self, py: Python<'_>, now: f64) -> PyResult<Option<f64>> {
        let now = instant("now", now)?;
        let until = self.with(py, |lease| match lease.has_ended() {
            true => None,
            false => lease.silence().wait(now),
        })?;
        Ok(until.map(|until| until.saturating_since(now).as_secs_f64()))
    }

    /// Stops waiting.
    fn _end_wait(&self, py: Python<'_>, now: f64) -> PyResult<()> {
        let now = instant("now", now)?;
        self.with(py, |lease| lease.silence().end_wait(now))
    }

    /// The current idle limit, and whether the first token has arrived.
    fn _idle_limit(&self, py: Python<'_>) -> PyResult<(f64, bool)> {
        self.with(py, idle_limit)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Source::Exchange(exchange) = &self.state {
            visit.call(exchange)?;
        }
        visit.call(&self.scheduler)?;
        visit.call(&self.dispatch)
    }
}

/// The exchange's request is not in flight yet, or was refused by the gateway.
fn no_lease() -> PyErr {
    PyRuntimeError::new_err("no endpoint has the request of this exchange")
}

/// The part of an answer that has been read.
#[pyclass(frozen, module = "slotwise.aio")]
pub(crate) struct Answer(Py<Lease>);

impl Answer {
    fn read<T>(&self, py: Python<'_>, read: impl FnOnce(&lease::Lease) -> T) -> PyResult<T> {
        self.0.get().read(py, read)
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn begun(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, lease::Lease::has_begun)
    }

    #[getter]
    fn tokens(&self, py: Python<'_>) -> PyResult<u32> {
        self.read(py, |state| state.answer_tokens().0)
    }

    #[getter]
    fn exact(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, |state| state.answer_tokens().1)
    }

    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let usage = self.read(py, lease::Lease::answer_usage)?;
        self::usage(py, usage)
    }

    #[getter]
    fn finish_reason(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        self.read(py, |state| state.finish_reason().map(FinishReason::as_str))
    }

    #[getter]
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        self.0.get().outcome(py)
    }

    #[getter]
    fn complete(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, |state| state.outcome().is_some_and(|outcome| outcome.is_complete()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// The counts of a `slotwise.Usage`, without validation.
fn reported_usage(usage: &Bound<'_, PyAny>) -> PyResult<ReportedUsage> {
    let class = usage.py().import("slotwise.values")?.getattr("Usage")?;
    if !usage.is_instance(&class)? {
        let message = format!("usage must be a slotwise.Usage, not {}", usage.get_type());
        return Err(PyTypeError::new_err(message));
    }
    let mut reported = ReportedUsage::default();
    reported.prompt_tokens = number(usage, "prompt_tokens")?;
    reported.cached_tokens = number(usage, "cached_tokens")?;
    reported.completion_tokens = number(usage, "completion_tokens")?;
    Ok(reported)
}

fn number(usage: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<f64>> {
    let value = usage.getattr(name)?;
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        // An integer beyond the range of floats is no valid count either.
        return Ok(Some(value.extract().unwrap_or(f64::INFINITY)));
    }
    Err(PyTypeError::new_err(format!("usage.{name} must be an int, not {}", value.get_type())))
}
