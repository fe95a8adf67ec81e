//! One client request over several attempts: the gateway crate's exchange behind a lock.
//!
//! The lock of an exchange is taken before that of its scheduler. Neither is held while Python
//! runs.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use slotwise::{EndpointId, Instant};
use slotwise_gateway::exchange::{self, Output};
use slotwise_gateway::lease::{self, IdleLimit};
use slotwise_gateway::{Gateway, KvConnector};
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::request::KvTransfer;

use crate::body::{Pairs, api_at};
use crate::decision::Dispatch;
use crate::error::{named, raise_wire, unknown};
use crate::ids::{EndpointArg, RequestArg};
use crate::prompt::bytes;
use crate::refusal::refusal_of;
use crate::request::instant;
use crate::response::Outcome;
use crate::scheduler::Scheduler;
use crate::shared::Shared;

/// A request of a client.
#[pyclass(frozen, module = "slotwise.aio")]
pub(crate) struct Exchange {
    pub(crate) state: Shared<exchange::Exchange>,
    pub(crate) scheduler: Py<Scheduler>,
}

impl Exchange {
    fn input<T>(
        &self,
        py: Python<'_>,
        apply: impl FnOnce(&mut exchange::Exchange, &mut Gateway, Instant) -> T,
    ) -> PyResult<T> {
        self.scheduler.get().apply(py, &self.state, apply)
    }
}

#[pymethods]
impl Exchange {
    #[new]
    #[pyo3(signature = (scheduler, path = "", *, attempts = 3, exclude = None,
        connector = "sidecar", bootstrap_port = KvTransfer::BOOTSTRAP_PORT, room_salt = 0,
        primary_port = 0, answers_as = None, drop_usage = false, idle_limit = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        scheduler: Py<Scheduler>,
        path: &str,
        attempts: i64,
        exclude: Option<Vec<EndpointArg>>,
        connector: &str,
        bootstrap_port: u16,
        room_salt: u64,
        primary_port: u16,
        answers_as: Option<&str>,
        drop_usage: bool,
        idle_limit: Option<f64>,
    ) -> PyResult<Self> {
        let connector = KvConnector::from_name(connector, bootstrap_port, room_salt)
            .map_err(|error| unknown("connector", error))?;
        let exclude: Vec<_> = exclude.iter().flatten().map(|endpoint| endpoint.0).collect();
        let state = exchange::Exchange::new(BodyShape::of_path(path))
            .attempts(usize::try_from(attempts).unwrap_or_default())
            .exclude(&exclude)
            .connector(connector)
            .primary_port(primary_port)
            .drop_usage(drop_usage)
            .idle_limit(idle_limit.map_or_else(IdleLimit::default, IdleLimit::from_secs));
        let state = match answers_as {
            Some(model) => state.answers_as(model),
            None => state,
        };
        Ok(Self { state: Shared::new(state), scheduler })
    }

    /// Bytes of a prefilling endpoint's answer that are read at most.
    #[classattr]
    const PREFILL_ANSWER: usize = exchange::Exchange::PREFILL_ANSWER;

    /// The next output: its name and its values.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let output = self.state.lock(py)?.poll();
        let Some(output) = output else { return Ok(None) };
        let tuple = match output {
            Output::Dispatch => (intern!(py, "dispatch"),).into_pyobject(py)?,
            Output::Prefill(call) => (intern!(py, "prefill"), Call { call }).into_pyobject(py)?,
            Output::Send(call) => (intern!(py, "send"), Call { call }).into_pyobject(py)?,
            Output::Abort => (intern!(py, "abort"),).into_pyobject(py)?,
            Output::Reply(reply) => {
                (intern!(py, "reply"), reply.status, reply.headers).into_pyobject(py)?
            }
            Output::Body(body) => {
                (intern!(py, "body"), PyBytes::new(py, &body)).into_pyobject(py)?
            }
            Output::End => (intern!(py, "end"),).into_pyobject(py)?,
            _ => (intern!(py, "break"),).into_pyobject(py)?,
        };
        Ok(Some(tuple.into_any()))
    }

    fn handle_decision(&self, decision: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = decision.py();
        if let Ok(dispatch) = decision.cast::<Dispatch>() {
            let dispatch = dispatch.get().answer.clone();
            return self.input(py, |state, gateway, now| {
                state.handle_pick(gateway, now, Ok(dispatch));
            });
        }
        self.handle_refusal(decision)
    }

    fn handle_refusal(&self, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let refusal = refusal_of(reason)?;
        self.input(reason.py(), |state, gateway, now| {
            state.handle_refusal(gateway, now, &refusal);
        })
    }

    fn handle_prefilled(
        &self,
        request_id: RequestArg,
        status: u16,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let bytes = bytes(body, "body")?;
        self.input(body.py(), |state, gateway, now| {
            state.handle_prefilled(gateway, now, request_id.0, status, &bytes);
        })
    }

    #[pyo3(signature = (request_id, failure = "unreachable"))]
    fn handle_prefill_failure(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        failure: &str,
    ) -> PyResult<()> {
        let failure = named("failure", failure)?;
        self.input(py, |state, gateway, now| {
            state.handle_prefill_failure(gateway, now, request_id.0, failure);
        })
    }

    #[pyo3(signature = (failure = "unreachable"))]
    fn handle_unreachable(&self, py: Python<'_>, failure: &str) -> PyResult<()> {
        let failure = named("failure", failure)?;
        self.input(py, |state, gateway, now| state.handle_unreachable(gateway, now, failure))
    }

    fn handle_head(&self, status: u16, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, pairs) = (headers.py(), Pairs::read(headers)?);
        let texts = pairs.texts()?;
        let headers = texts.iter().map(|(name, value)| (&**name, value.as_bytes()));
        self.state.lock(py)?.handle_head(status, headers);
        Ok(())
    }

    /// Returns whether the host sends the chunk to the client itself. With the times of `wait` and
    /// `end_wait`, both are part of this call.
    #[pyo3(signature = (chunk, since = None, until = None))]
    fn handle_chunk(
        &self,
        chunk: &Bound<'_, PyAny>,
        since: Option<f64>,
        until: Option<f64>,
    ) -> PyResult<bool> {
        let bytes = bytes(chunk, "chunk")?;
        let waited = waited(since, until)?;
        let passing = self.input(chunk.py(), |state, gateway, now| {
            if let Some((since, until)) = waited {
                state.wait(since);
                state.end_wait(until);
            }
            state.handle_chunk(gateway, now, &bytes)
        })?;
        Ok(passing.is_passed_on())
    }

    #[pyo3(signature = (close = "clean"))]
    fn handle_close(&self, py: Python<'_>, close: &str) -> PyResult<()> {
        let close = named("close", close)?;
        self.input(py, |state, gateway, now| state.handle_close(gateway, now, close))
    }

    fn handle_client_disconnected(&self, py: Python<'_>) -> PyResult<()> {
        self.input(py, |state, gateway, now| state.handle_client_disconnected(gateway, now))
    }

    /// Starts waiting for the endpoint at `now`, on the host's clock. Returns the longest time to
    /// wait.
    fn wait(&self, py: Python<'_>, now: f64) -> PyResult<Option<f64>> {
        let now = instant("now", now)?;
        let until = self.state.lock(py)?.wait(now);
        Ok(until.map(|until| until.saturating_since(now).as_secs_f64()))
    }

    /// Stops waiting.
    fn end_wait(&self, py: Python<'_>, now: f64) -> PyResult<()> {
        let now = instant("now", now)?;
        self.state.lock(py)?.end_wait(now);
        Ok(())
    }

    /// The current idle limit, and whether the first token has arrived.
    fn idle_limit(&self, py: Python<'_>) -> PyResult<(f64, bool)> {
        let mut state = self.state.lock(py)?;
        Ok(state.lease_mut().map_or((f64::INFINITY, false), idle_limit))
    }

    #[getter]
    fn excluded(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        Ok(self.state.lock(py)?.excluded().iter().copied().map(EndpointId::as_u64).collect())
    }

    #[getter]
    fn has_lease(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state.lock(py)?.lease().is_some())
    }

    #[getter]
    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state.lock(py)?.has_ended())
    }

    #[getter]
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        Ok(self.state.lock(py)?.outcome().copied().map(Outcome))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.scheduler)
    }
}

/// What is sent to an endpoint.
#[pyclass(frozen, name = "ExchangeCall", module = "slotwise._core")]
#[derive(Debug)]
pub(crate) struct Call {
    call: exchange::Call,
}

#[pymethods]
impl Call {
    #[getter]
    fn request_id(&self) -> u64 {
        self.call.request_id.as_u64()
    }

    #[getter]
    fn url(&self) -> &str {
        &self.call.url
    }

    #[getter]
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.call.headers.clone()
    }

    /// The body for this endpoint, from the client's.
    fn body<'py>(
        &self,
        py: Python<'py>,
        path: &str,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (api, body) = (api_at(path)?, bytes(body, "body")?);
        let body = self.call.body(api, &body).map_err(raise_wire)?;
        Ok(PyBytes::new(py, &body))
    }
}

/// The begin and the end of a wait, on the host's clock.
pub(crate) fn waited(
    since: Option<f64>,
    until: Option<f64>,
) -> PyResult<Option<(Instant, Instant)>> {
    let Some((since, until)) = since.zip(until) else { return Ok(None) };
    Ok(Some((instant("since", since)?, instant("until", until)?)))
}

/// The current idle limit of a lease, and whether the first token has arrived.
pub(crate) fn idle_limit(lease: &mut lease::Lease) -> (f64, bool) {
    let silence = lease.silence();
    let limit = silence.allowed().map_or(f64::INFINITY, |limit| limit.as_secs_f64());
    (limit, silence.has_started())
}
