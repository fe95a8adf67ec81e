//! The lifecycle of a request.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use slotwise::{AnswerId, Decision, Instant, Request, RequestId, Usage};
use slotwise_gateway::Gateway;

use super::Scheduler;
use crate::cost_function;
use crate::decision::{Dispatch, Evicted, Rejected};
use crate::error::{named, raise};
use crate::ids::{EndpointArg, RequestArg, SubsetArg};
use crate::request::{RequestOptions, seconds};
use crate::serde_bridge::to_python;

#[pymethods]
impl Scheduler {
    /// Picks a copy of a request for a mirror's pool, if there is room for copies.
    #[pyo3(signature = (prompt = None, *, limit = 0.5, **options))]
    fn pick_mirror<'py>(
        slf: &Bound<'py, Self>,
        prompt: Option<&Bound<'py, PyAny>>,
        limit: f64,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        if !slf.get().lock(py)?.has_room_for_mirror(limit) {
            return Ok(None);
        }
        let options = options.map_or_else(|| Ok(PyDict::new(py)), |options| options.copy())?;
        options.set_item("priority", Gateway::MIRROR_PRIORITY.0)?;
        options.set_item("flow", "")?;
        let picked = slf.call_method("pick", (prompt,), Some(&options))?;
        Ok(picked.is_instance_of::<Dispatch>().then_some(picked))
    }

    /// Decides about several requests, each a mapping of `pick`'s keywords. After an error, none
    /// stays in flight.
    #[pyo3(signature = (requests, *, now = None))]
    fn pick_many<'py>(
        slf: &Bound<'py, Self>,
        requests: Vec<Bound<'py, PyDict>>,
        now: Option<f64>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let now = slf.get().now(slf.py(), now)?.as_micros() as f64 / 1e6;
        let mut answers: Vec<Bound<'py, PyAny>> = Vec::with_capacity(requests.len());
        for request in requests {
            let options = request.copy()?;
            options.set_item("now", now)?;
            match slf.call_method("pick", (), Some(&options)) {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    for dispatch in answers.iter().filter(|it| it.is_instance_of::<Dispatch>()) {
                        slf.call_method1("cancel", (dispatch.getattr("request_id")?,))?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(answers)
    }

    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None,
        priority_order = "low_first", allow = None, model = None, adapter = None, cache_salt = None,
        cache_use = None, continues = None, priority = None, flow = None, session = None,
        deadline = None, slo_ttft = None, slo_tpot = None, expected_output_tokens = None,
        role = "unified", multimodal = false, streams = None, labels = None, plugin_headers = None,
        exclude = None, subset = None, subset_ports = "exact", now = None))]
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
        slo_ttft: Option<f64>,
        slo_tpot: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        multimodal: bool,
        streams: Option<bool>,
        labels: Option<&Bound<'py, PyDict>>,
        plugin_headers: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        subset: Option<SubsetArg>,
        subset_ports: &str,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = RequestOptions {
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
            slo_ttft,
            slo_tpot,
            expected_output_tokens,
            role,
            multimodal,
            streams,
            labels,
            plugin_headers,
            exclude: exclude.as_deref(),
            subset: subset.as_ref(),
            subset_ports,
            ttl: None,
            weight: None,
        };
        let now = self.now(py, now)?;
        options.with(py, now, &self.readers, &|request| {
            let costs = self.costs(py, now, request)?;
            let mut gateway = self.lock(py)?;
            let core = gateway.scheduler_mut();
            let picked = match costs {
                None => core.pick(now, request),
                Some(costs) => core.pick_by(now, request, |endpoint, terms| {
                    costs.get(&endpoint).copied().unwrap_or_else(|| terms.total())
                }),
            };
            let picked = match picked {
                Ok(answer) => Ok(Dispatch::new(core, answer)),
                Err(rejected) => Err(Rejected::new(core, request, rejected)),
            };
            // Creating an object may run the host's code, which may call the scheduler.
            drop(gateway);
            match picked {
                Ok(dispatch) => Ok(Bound::new(py, dispatch)?.into_any()),
                Err(rejected) => Ok(Bound::new(py, rejected)?.into_any()),
            }
        })
    }

    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None,
        priority_order = "low_first", allow = None, model = None, adapter = None, cache_salt = None,
        cache_use = None, continues = None, priority = None, flow = None, session = None,
        deadline = None, slo_ttft = None, slo_tpot = None, expected_output_tokens = None,
        role = "unified", multimodal = false, streams = None, labels = None, plugin_headers = None,
        exclude = None, subset = None, subset_ports = "exact", ttl = None, weight = None,
        now = None))]
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
        slo_ttft: Option<f64>,
        slo_tpot: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        multimodal: bool,
        streams: Option<bool>,
        labels: Option<&Bound<'py, PyDict>>,
        plugin_headers: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        subset: Option<SubsetArg>,
        subset_ports: &str,
        ttl: Option<f64>,
        weight: Option<f64>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = RequestOptions {
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
            slo_ttft,
            slo_tpot,
            expected_output_tokens,
            role,
            multimodal,
            streams,
            labels,
            plugin_headers,
            exclude: exclude.as_deref(),
            subset: subset.as_ref(),
            subset_ports,
            ttl,
            weight,
        };
        let now = self.now(py, now)?;
        options.with(py, now, &self.readers, &|request| {
            let mut gateway = self.lock(py)?;
            let core = gateway.scheduler_mut();
            let submitted = core.submit(now, request);
            let submitted = submitted.map_err(|rejected| Rejected::new(core, request, rejected));
            drop(gateway);
            match submitted {
                Ok(request) => Ok(request.as_u64().into_pyobject(py)?.into_any()),
                Err(rejected) => Ok(Bound::new(py, rejected)?.into_any()),
            }
        })
    }

    #[pyo3(signature = (prompt = None, *, body = None, path = None, headers = None,
        priority_order = "low_first", allow = None, model = None, adapter = None, cache_salt = None,
        cache_use = None, continues = None, priority = None, flow = None, session = None,
        deadline = None, slo_ttft = None, slo_tpot = None, expected_output_tokens = None,
        role = "unified", multimodal = false, streams = None, labels = None, plugin_headers = None,
        exclude = None, subset = None, subset_ports = "exact", now = None))]
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
        slo_ttft: Option<f64>,
        slo_tpot: Option<f64>,
        expected_output_tokens: Option<u32>,
        role: &str,
        multimodal: bool,
        streams: Option<bool>,
        labels: Option<&Bound<'py, PyDict>>,
        plugin_headers: Option<&Bound<'py, PyDict>>,
        exclude: Option<Vec<EndpointArg>>,
        subset: Option<SubsetArg>,
        subset_ports: &str,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = RequestOptions {
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
            slo_ttft,
            slo_tpot,
            expected_output_tokens,
            role,
            multimodal,
            streams,
            labels,
            plugin_headers,
            exclude: exclude.as_deref(),
            subset: subset.as_ref(),
            subset_ports,
            ttl: None,
            weight: None,
        };
        let now = self.now(py, now)?;
        options.with(py, now, &self.readers, &|request| {
            let explanation = self.lock(py)?.scheduler().explain(now, request);
            let decode = ("slotwise.values", "decode_explanation");
            to_python(py, decode, &(&explanation, explanation.to_string()))
        })
    }

    #[pyo3(signature = (*, now = None))]
    fn poll_decision<'py>(
        &self,
        py: Python<'py>,
        now: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.now(py, now)?;
        let mut gateway = self.lock(py)?;
        let Some(decision) = gateway.poll_decision(now) else { return Ok(None) };
        let core = gateway.scheduler();
        let dispatched = match decision {
            Decision::Dispatch(answer) => Ok(Dispatch::new(core, answer)),
            Decision::Evict(evicted) => Err(Evicted(evicted)),
            _ => {
                return Err(PyValueError::new_err("the core decided what this version cannot say"));
            }
        };
        drop(gateway);
        Ok(Some(match dispatched {
            Ok(dispatch) => Bound::new(py, dispatch)?.into_any(),
            Err(evicted) => Bound::new(py, evicted)?.into_any(),
        }))
    }

    fn next_timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        Ok(self.lock(py)?.scheduler().next_timeout().and_then(seconds))
    }

    #[pyo3(signature = (most = 64))]
    fn preemption_candidates(&self, py: Python<'_>, most: usize) -> PyResult<Vec<u64>> {
        Ok(self
            .lock(py)?
            .scheduler()
            .preemption_candidates(most)
            .into_iter()
            .map(RequestId::as_u64)
            .collect())
    }

    #[pyo3(signature = (request_id, *, now = None))]
    fn handle_first_token(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().handle_first_token(now, request_id.0))
    }

    #[pyo3(signature = (request_id, tokens, *, now = None))]
    fn handle_tokens(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        tokens: u32,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().handle_tokens(now, request_id.0, tokens))
    }

    #[pyo3(signature = (request_id, answer, *, now = None))]
    fn handle_answer(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        answer: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| {
            gateway.scheduler_mut().handle_answer(now, request_id.0, AnswerId::of(answer))
        })
    }

    #[pyo3(signature = (request_id, *, prompt_tokens = None, cached_tokens = None,
        completion_tokens = None, now = None))]
    fn complete(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        prompt_tokens: Option<u32>,
        cached_tokens: Option<u32>,
        completion_tokens: Option<u32>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let mut usage = Usage::default();
        usage.prompt_tokens = prompt_tokens;
        usage.cached_tokens = cached_tokens;
        usage.completion_tokens = completion_tokens;
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().complete(now, request_id.0, usage))
    }

    #[pyo3(signature = (request_id, failure = "engine", *, now = None))]
    fn fail(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, failure) = (self.now(py, now)?, named("failure", failure)?);
        self.input(py, |gateway| gateway.scheduler_mut().fail(now, request_id.0, failure))
    }

    #[pyo3(signature = (request_id, *, now = None))]
    fn cancel(&self, py: Python<'_>, request_id: RequestArg, now: Option<f64>) -> PyResult<bool> {
        let now = self.now(py, now)?;
        let cancelled = self.lock(py)?.scheduler_mut().cancel(now, request_id.0);
        self.wake(py)?;
        Ok(cancelled)
    }

    #[pyo3(signature = (request_id, endpoint_id, failure = "unreachable", *, now = None))]
    fn redirect(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        endpoint_id: EndpointArg,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, failure) = (self.now(py, now)?, named("failure", failure)?);
        self.input(py, |gateway| {
            gateway.scheduler_mut().redirect_after(now, request_id.0, endpoint_id.0, failure)
        })
    }
}

impl Scheduler {
    /// The result of the cost function, if configured. If the function fails, the error is reported
    /// and the built-in cost decides.
    fn costs(
        &self,
        py: Python<'_>,
        now: Instant,
        request: &Request<'_>,
    ) -> PyResult<Option<cost_function::Costs>> {
        let Some(cost) = &self.cost else { return Ok(None) };
        let _asking = cost_function::Asking::begin(self).map_err(raise)?;
        let explanation = self.lock(py)?.scheduler().explain(now, request);
        Ok(Some(cost_function::score(py, cost, &explanation).unwrap_or_else(|error| {
            error.write_unraisable(py, Some(cost.bind(py)));
            cost_function::Costs::new()
        })))
    }
}
