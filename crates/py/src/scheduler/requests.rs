//! A request's life.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use slotwise::{AnswerId, Decision, Instant, Request, RequestId, Usage};
use slotwise_gateway::lease::{report_progress, settle};

use super::Scheduler;
use crate::cost_function;
use crate::decision::{Dispatch, Evicted, Rejected};
use crate::error::raise;
use crate::ids::{EndpointArg, RequestArg};
use crate::prompt::bytes;
use crate::request::{Wishes, seconds};
use crate::response::{Outcome, Progress, ResponseReader, close, failure};
use crate::serde_bridge::to_python;

#[pymethods]
impl Scheduler {
    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None, priority_order = "low_first", allow = None,
        model = None, adapter = None, cache_salt = None, cache_use = None, continues = None, priority = None, flow = None,
        session = None,
        deadline = None, expected_output_tokens = None, role = "unified", labels = None, exclude = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn pick<'py>(
        &self,
        py: Python<'py>,
        prompt: Option<&Bound<'py, PyAny>>,
        body: Option<&Bound<'py, PyAny>>,
        path: Option<&str>,
        headers: Option<&Bound<'py, PyAny>>,
        priority_order: &str,
        allow: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        cache_use: Option<&str>,
        continues: Option<&str>,
        priority: Option<i32>,
        flow: Option<&str>,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Wishes {
            prompt,
            body,
            path,
            headers,
            priority_order,
            allow,
            model,
            adapter,
            cache_salt,
            cache_use,
            continues,
            priority,
            flow,
            session,
            deadline,
            expected_output_tokens,
            role,
            labels,
            exclude: exclude.as_deref(),
            ttl: None,
            weight: None,
        };
        let now = self.clock.read(py, now)?;
        let picked = options.with(py, now, &self.readers, |request| {
            let costs = self.costs(py, now, request)?;
            let mut core = self.lock(py)?;
            let picked = match costs {
                None => core.pick(now, request),
                Some(costs) => core.pick_by(now, request, |endpoint, terms| {
                    costs.get(&endpoint).copied().unwrap_or_else(|| terms.total())
                }),
            };
            Ok(match picked {
                Ok(answer) => Ok(Dispatch::new(&core, answer)),
                Err(rejected) => Err(Rejected::new(&core, request, rejected)),
            })
        })?;
        match picked {
            Ok(dispatch) => Ok(Bound::new(py, dispatch)?.into_any()),
            Err(rejected) => Ok(Bound::new(py, rejected)?.into_any()),
        }
    }

    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None, priority_order = "low_first", allow = None,
        model = None, adapter = None, cache_salt = None, cache_use = None, continues = None, priority = None, flow = None,
        session = None,
        deadline = None, expected_output_tokens = None, role = "unified", labels = None, exclude = None, ttl = None,
        weight = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        prompt: Option<&Bound<'py, PyAny>>,
        body: Option<&Bound<'py, PyAny>>,
        path: Option<&str>,
        headers: Option<&Bound<'py, PyAny>>,
        priority_order: &str,
        allow: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        cache_use: Option<&str>,
        continues: Option<&str>,
        priority: Option<i32>,
        flow: Option<&str>,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        ttl: Option<f64>,
        weight: Option<f64>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Wishes {
            prompt,
            body,
            path,
            headers,
            priority_order,
            allow,
            model,
            adapter,
            cache_salt,
            cache_use,
            continues,
            priority,
            flow,
            session,
            deadline,
            expected_output_tokens,
            role,
            labels,
            exclude: exclude.as_deref(),
            ttl,
            weight,
        };
        let now = self.clock.read(py, now)?;
        let submitted = options.with(py, now, &self.readers, |request| {
            let mut core = self.lock(py)?;
            let submitted = core.submit(now, request);
            Ok(submitted.map_err(|rejected| Rejected::new(&core, request, rejected)))
        })?;
        match submitted {
            Ok(request) => Ok(request.as_u64().into_pyobject(py)?.into_any()),
            Err(rejected) => Ok(Bound::new(py, rejected)?.into_any()),
        }
    }

    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None, priority_order = "low_first", allow = None,
        model = None, adapter = None, cache_salt = None, cache_use = None, continues = None, priority = None, flow = None,
        session = None,
        deadline = None, expected_output_tokens = None, role = "unified", labels = None, exclude = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        prompt: Option<&Bound<'py, PyAny>>,
        body: Option<&Bound<'py, PyAny>>,
        path: Option<&str>,
        headers: Option<&Bound<'py, PyAny>>,
        priority_order: &str,
        allow: Option<&Bound<'py, PyAny>>,
        model: Option<&str>,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        cache_use: Option<&str>,
        continues: Option<&str>,
        priority: Option<i32>,
        flow: Option<&str>,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Wishes {
            prompt,
            body,
            path,
            headers,
            priority_order,
            allow,
            model,
            adapter,
            cache_salt,
            cache_use,
            continues,
            priority,
            flow,
            session,
            deadline,
            expected_output_tokens,
            role,
            labels,
            exclude: exclude.as_deref(),
            ttl: None,
            weight: None,
        };
        let now = self.clock.read(py, now)?;
        let explanation = options
            .with(py, now, &self.readers, |request| Ok(self.lock(py)?.explain(now, request)))?;
        to_python(
            py,
            ("slotwise.values", "decode_explanation"),
            &(&explanation, explanation.to_string()),
        )
    }

    #[pyo3(signature = (*, now = None))]
    fn poll_decision<'py>(
        &self,
        py: Python<'py>,
        now: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.clock.read(py, now)?;
        let mut core = self.lock(py)?;
        let Some(decision) = core.poll_decision(now) else { return Ok(None) };
        let dispatched = match decision {
            Decision::Dispatch(answer) => Ok(Dispatch::new(&core, answer)),
            Decision::Evict(evicted) => Err(Evicted(evicted)),
            _ => {
                return Err(PyValueError::new_err("the core decided what this version cannot say"));
            }
        };
        drop(core);
        Ok(Some(match dispatched {
            Ok(dispatch) => Bound::new(py, dispatch)?.into_any(),
            Err(evicted) => Bound::new(py, evicted)?.into_any(),
        }))
    }

    fn next_timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        Ok(self.lock(py)?.next_timeout().and_then(seconds))
    }

    #[pyo3(signature = (most = 64))]
    fn preemption_candidates(&self, py: Python<'_>, most: usize) -> PyResult<Vec<u64>> {
        Ok(self.lock(py)?.preemption_candidates(most).into_iter().map(RequestId::as_u64).collect())
    }

    #[pyo3(signature = (request, *, now = None))]
    fn handle_first_token(
        &self,
        py: Python<'_>,
        request: RequestArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.handle_first_token(now, request.0))
    }

    #[pyo3(signature = (request, tokens, *, now = None))]
    fn handle_tokens(
        &self,
        py: Python<'_>,
        request: RequestArg,
        tokens: u32,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.handle_tokens(now, request.0, tokens))
    }

    #[pyo3(signature = (request, answer, *, now = None))]
    fn handle_answer(
        &self,
        py: Python<'_>,
        request: RequestArg,
        answer: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.handle_answer(now, request.0, AnswerId::of(answer)))
    }

    #[pyo3(signature = (request, *, prompt_tokens = None, cached_tokens = None, completion_tokens = None, now = None))]
    fn complete(
        &self,
        py: Python<'_>,
        request: RequestArg,
        prompt_tokens: Option<u32>,
        cached_tokens: Option<u32>,
        completion_tokens: Option<u32>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let mut usage = Usage::default();
        usage.prompt_tokens = prompt_tokens;
        usage.cached_tokens = cached_tokens;
        usage.completion_tokens = completion_tokens;
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.complete(now, request.0, usage))
    }

    #[pyo3(signature = (request, failure = "engine", *, now = None))]
    fn fail(
        &self,
        py: Python<'_>,
        request: RequestArg,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, failure) = (self.clock.read(py, now)?, self::failure(failure)?);
        self.tell(py, |core| core.fail(now, request.0, failure))
    }

    #[pyo3(signature = (request, *, now = None))]
    fn cancel(&self, py: Python<'_>, request: RequestArg, now: Option<f64>) -> PyResult<bool> {
        let now = self.clock.read(py, now)?;
        Ok(self.lock(py)?.cancel(now, request.0))
    }

    #[pyo3(signature = (request, endpoint, failure = "unreachable", *, now = None))]
    fn redirect(
        &self,
        py: Python<'_>,
        request: RequestArg,
        endpoint: EndpointArg,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, failure) = (self.clock.read(py, now)?, self::failure(failure)?);
        self.tell(py, |core| core.redirect_after(now, request.0, endpoint.0, failure))
    }

    /// Reads on in a request's answer, and tells the core what came. Returns it, too.
    #[pyo3(signature = (request, reader, chunk, *, now = None))]
    fn _feed(
        &self,
        py: Python<'_>,
        request: RequestArg,
        reader: &ResponseReader,
        chunk: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<Progress> {
        let (now, chunk) = (self.clock.read(py, now)?, bytes(chunk, "chunk")?);
        let progress = reader.read(py, &chunk);
        if progress != slotwise_wire::response::Progress::default() {
            self.tell(py, |core| report_progress(core, now, request.0, progress))?;
        }
        Ok(Progress(progress))
    }

    /// Nothing more comes of a request's answer: settles the request.
    #[pyo3(signature = (request, reader, close = "clean", *, now = None))]
    fn _finish(
        &self,
        py: Python<'_>,
        request: RequestArg,
        reader: &ResponseReader,
        close: &str,
        now: Option<f64>,
    ) -> PyResult<Outcome> {
        let (now, close) = (self.clock.read(py, now)?, self::close(close)?);
        let outcome = reader.end(py, close);
        self.tell(py, |core| settle(core, now, request.0, &outcome))?;
        Ok(Outcome(outcome))
    }
}

impl Scheduler {
    /// What the cost function returns, where there is one. A broken one is reported, and the built-in cost decides.
    fn costs(
        &self,
        py: Python<'_>,
        now: Instant,
        request: &Request<'_>,
    ) -> PyResult<Option<cost_function::Costs>> {
        let Some(cost) = &self.cost else { return Ok(None) };
        let _asking = cost_function::Asking::begin(self).map_err(raise)?;
        let explanation = self.lock(py)?.explain(now, request);
        Ok(Some(cost_function::score(py, cost, &explanation).unwrap_or_else(|error| {
            error.write_unraisable(py, Some(cost.bind(py)));
            cost_function::Costs::new()
        })))
    }
}
