//! The scheduler behind a lock, and the clock that it is told of.
//!
//! The lock is never held while Python runs: a scorer may call the scheduler itself. Calls that take long release the GIL, so
//! a thread that finds the lock taken releases the GIL too while it waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant as HostInstant;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyDict, PyString};
use slotwise::{AdapterState, Decision, EndpointId, Failure, Instant, RequestId, Usage};

use crate::answer::{Dispatch, Evicted, Rejected};
use crate::error::raise;
use crate::event::Event;
use crate::plain::{from_python, to_python};
use crate::prompt::{Prompt, bytes};
use crate::request::{Wishes, instant};
use crate::scorer;

/// Decides where requests go, and keeps account of all that follows from it.
#[pyclass(frozen, subclass, module = "slotwise")]
pub(crate) struct Scheduler {
    core: Mutex<slotwise::Scheduler>,
    clock: Clock,
    scorer: Option<Py<PyAny>>,
}

/// `time.monotonic()` without calling it: its reading when the scheduler was made, and what has passed since.
struct Clock {
    reading: f64,
    taken: HostInstant,
}

impl Clock {
    fn start(py: Python<'_>) -> PyResult<Self> {
        let reading = py.import("time")?.call_method0("monotonic")?.extract()?;
        Ok(Self { reading, taken: HostInstant::now() })
    }

    fn read(&self, now: Option<f64>) -> PyResult<Instant> {
        instant("now", now.unwrap_or_else(|| self.reading + self.taken.elapsed().as_secs_f64()))
    }
}

impl Scheduler {
    fn lock<'a>(&'a self, py: Python<'_>) -> MutexGuard<'a, slotwise::Scheduler> {
        // The core does not panic; if it did, its state would still be that of some call before.
        match self.core.try_lock() {
            Ok(core) => core,
            Err(_) => self.core.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (config = None, *, scorer = None))]
    fn new(py: Python<'_>, config: Option<&Bound<'_, PyAny>>, scorer: Option<Py<PyAny>>) -> PyResult<Self> {
        let config = config.map(from_python::<slotwise::Config>).transpose()?.unwrap_or_default();
        if let Some(scorer) = scorer.as_ref().filter(|scorer| !scorer.bind(py).is_callable()) {
            let message = format!("scorer must be callable, not {}", scorer.bind(py).get_type());
            return Err(PyTypeError::new_err(message));
        }
        let core = slotwise::Scheduler::new(config).map_err(raise)?;
        Ok(Self { core: Mutex::new(core), clock: Clock::start(py)?, scorer })
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = self.lock(py).config().clone();
        to_python(py, "decode_config", &config)
    }

    fn endpoint<'py>(&self, py: Python<'py>, endpoint: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.lock(py).endpoint(EndpointId::from_u64(endpoint)).cloned();
        found.map(|endpoint| to_python(py, "decode_endpoint", &endpoint)).transpose()
    }

    fn endpoint_named(&self, py: Python<'_>, name: &str) -> Option<u64> {
        self.lock(py).endpoint_named(name).map(EndpointId::as_u64)
    }

    fn endpoint_of(&self, py: Python<'_>, request: u64) -> Option<u64> {
        self.lock(py).endpoint_of(RequestId::from_u64(request)).map(EndpointId::as_u64)
    }

    // News from the world.

    #[pyo3(signature = (endpoint, *, now = None))]
    fn add_endpoint(&self, py: Python<'_>, endpoint: &Bound<'_, PyAny>, now: Option<f64>) -> PyResult<u64> {
        let (now, endpoint) = (self.clock.read(now)?, from_python(endpoint)?);
        self.lock(py).add_endpoint(now, endpoint).map(EndpointId::as_u64).map_err(raise)
    }

    #[pyo3(signature = (endpoint, description, *, now = None))]
    fn update_endpoint(
        &self,
        py: Python<'_>,
        endpoint: u64,
        description: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, description) = (self.clock.read(now)?, from_python(description)?);
        self.lock(py).update_endpoint(now, EndpointId::from_u64(endpoint), description).map_err(raise)
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn remove_endpoint<'py>(
        &self,
        py: Python<'py>,
        endpoint: u64,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = self.clock.read(now)?;
        let removed = self.lock(py).remove_endpoint(now, EndpointId::from_u64(endpoint)).map_err(raise)?;
        let in_flight: Vec<u64> = removed.in_flight.into_iter().map(RequestId::as_u64).collect();
        to_python(py, "decode_removed", &(removed.endpoint, in_flight))
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn drain_endpoint(&self, py: Python<'_>, endpoint: u64, now: Option<f64>) -> PyResult<()> {
        let now = self.clock.read(now)?;
        self.lock(py).drain_endpoint(now, EndpointId::from_u64(endpoint)).map_err(raise)
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn resume_endpoint(&self, py: Python<'_>, endpoint: u64, now: Option<f64>) -> PyResult<()> {
        let now = self.clock.read(now)?;
        self.lock(py).resume_endpoint(now, EndpointId::from_u64(endpoint)).map_err(raise)
    }

    #[pyo3(signature = (endpoint, *, waiting = None, running = None, kv_usage = None, sampled_at = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_load(
        &self,
        py: Python<'_>,
        endpoint: u64,
        waiting: Option<u32>,
        running: Option<u32>,
        kv_usage: Option<f64>,
        sampled_at: Option<f64>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let mut load = slotwise::Load::default();
        (load.waiting, load.running) = (waiting, running);
        load.sampled_at = sampled_at.map(|at| instant("sampled_at", at)).transpose()?;
        let load = kv_usage.map_or(load, |share| load.kv_usage(share));
        let now = self.clock.read(now)?;
        self.lock(py).handle_load(now, EndpointId::from_u64(endpoint), load).map_err(raise)
    }

    #[pyo3(signature = (endpoint, active, *, slots = 0, now = None))]
    fn handle_adapters(
        &self,
        py: Python<'_>,
        endpoint: u64,
        active: Vec<Bound<'_, PyString>>,
        slots: u32,
        now: Option<f64>,
    ) -> PyResult<()> {
        let active = active.iter().map(|name| name.to_str()).collect::<PyResult<Vec<_>>>()?;
        let now = self.clock.read(now)?;
        let state = AdapterState::active(&active).slots(slots);
        self.lock(py).handle_adapters(now, EndpointId::from_u64(endpoint), state).map_err(raise)
    }

    #[pyo3(signature = (endpoint, event, *, now = None))]
    fn handle_kv_event(
        &self,
        py: Python<'_>,
        endpoint: u64,
        event: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.clock.read(now)?, EndpointId::from_u64(endpoint));
        let event = Event::read(event)?;
        let handled = if event.blocks() < LONG {
            event.with(|event| self.lock(py).handle_kv_event(now, endpoint, event))
        } else {
            py.detach(|| {
                let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
                event.with(|event| core.handle_kv_event(now, endpoint, event))
            })
        };
        handled.map_err(raise)
    }

    // A gateway that starts again.

    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let snapshot = py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).snapshot());
        PyBytes::new(py, &snapshot)
    }

    #[pyo3(signature = (snapshot, *, now = None))]
    fn restore(&self, py: Python<'_>, snapshot: &Bound<'_, PyAny>, now: Option<f64>) -> PyResult<usize> {
        let (now, snapshot) = (self.clock.read(now)?, bytes(snapshot, "snapshot")?);
        py.detach(|| self.core.lock().unwrap_or_else(PoisonError::into_inner).restore(now, &snapshot))
            .map_err(raise)
    }

    // A request's life.

    #[pyo3(signature = (prompt, *, model = "", adapter = None, cache_salt = None, priority = 0, flow = "",
        session = None, deadline = None, expected_output = 0, role = "unified", labels = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn pick<'py>(
        &self,
        py: Python<'py>,
        prompt: &Bound<'py, PyAny>,
        model: &str,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        priority: i32,
        flow: &str,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output: u32,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wishes = Wishes {
            model,
            adapter,
            cache_salt,
            priority,
            flow,
            session,
            deadline,
            expected_output,
            role,
            labels,
            ttl: None,
            weight: 1.0,
        };
        let (now, prompt) = (self.clock.read(now)?, Prompt::read(prompt)?);
        let picked = wishes.with(&prompt, |request| {
            let costs = self.scorer.as_ref().map(|scorer| {
                let explanation = self.lock(py).explain(now, request);
                scorer::score(py, scorer, &explanation).unwrap_or_else(|error| {
                    error.write_unraisable(py, Some(scorer.bind(py)));
                    scorer::Costs::new()
                })
            });
            let mut core = self.lock(py);
            let picked = match costs {
                None => core.pick(now, request),
                Some(costs) => core.pick_by(now, request, |endpoint, terms| {
                    costs.get(&endpoint).copied().unwrap_or_else(|| terms.total())
                }),
            };
            picked.map(|answer| Dispatch::new(&core, answer))
        })?;
        match picked {
            Ok(dispatch) => Ok(Bound::new(py, dispatch)?.into_any()),
            Err(rejected) => Ok(Bound::new(py, Rejected::from(rejected))?.into_any()),
        }
    }

    #[pyo3(signature = (prompt, *, model = "", adapter = None, cache_salt = None, priority = 0, flow = "",
        session = None, deadline = None, expected_output = 0, role = "unified", labels = None, ttl = None,
        weight = 1.0, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        prompt: &Bound<'py, PyAny>,
        model: &str,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        priority: i32,
        flow: &str,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output: u32,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        ttl: Option<f64>,
        weight: f64,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wishes = Wishes {
            model,
            adapter,
            cache_salt,
            priority,
            flow,
            session,
            deadline,
            expected_output,
            role,
            labels,
            ttl,
            weight,
        };
        let (now, prompt) = (self.clock.read(now)?, Prompt::read(prompt)?);
        match wishes.with(&prompt, |request| self.lock(py).submit(now, request))? {
            Ok(request) => Ok(request.as_u64().into_pyobject(py)?.into_any()),
            Err(rejected) => Ok(Bound::new(py, Rejected::from(rejected))?.into_any()),
        }
    }

    #[pyo3(signature = (*, now = None))]
    fn poll_decision<'py>(&self, py: Python<'py>, now: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.clock.read(now)?;
        let mut core = self.lock(py);
        let Some(decision) = core.poll_decision(now) else { return Ok(None) };
        let dispatched = match decision {
            Decision::Dispatch(answer) => Ok(Dispatch::new(&core, answer)),
            Decision::Evict(evicted) => Err(Evicted(evicted)),
            _ => return Err(PyValueError::new_err("the core decided what this version cannot say")),
        };
        drop(core);
        Ok(Some(match dispatched {
            Ok(dispatch) => Bound::new(py, dispatch)?.into_any(),
            Err(evicted) => Bound::new(py, evicted)?.into_any(),
        }))
    }

    fn next_timeout(&self, py: Python<'_>) -> Option<f64> {
        self.lock(py).next_timeout().map(|at| at.as_micros() as f64 / 1e6)
    }

    #[pyo3(signature = (most = 64))]
    fn victims(&self, py: Python<'_>, most: usize) -> Vec<u64> {
        self.lock(py).victims(most).into_iter().map(RequestId::as_u64).collect()
    }

    #[pyo3(signature = (request, *, now = None))]
    fn handle_first_token(&self, py: Python<'_>, request: u64, now: Option<f64>) -> PyResult<()> {
        let now = self.clock.read(now)?;
        self.lock(py).handle_first_token(now, RequestId::from_u64(request)).map_err(raise)
    }

    #[pyo3(signature = (request, tokens, *, now = None))]
    fn handle_tokens(&self, py: Python<'_>, request: u64, tokens: u32, now: Option<f64>) -> PyResult<()> {
        let now = self.clock.read(now)?;
        self.lock(py).handle_tokens(now, RequestId::from_u64(request), tokens).map_err(raise)
    }

    #[pyo3(signature = (request, *, prompt_tokens = None, cached_tokens = None, completion_tokens = None, now = None))]
    fn complete(
        &self,
        py: Python<'_>,
        request: u64,
        prompt_tokens: Option<u32>,
        cached_tokens: Option<u32>,
        completion_tokens: Option<u32>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let mut usage = Usage::default();
        usage.prompt_tokens = prompt_tokens;
        usage.cached_tokens = cached_tokens;
        usage.completion_tokens = completion_tokens;
        let now = self.clock.read(now)?;
        self.lock(py).complete(now, RequestId::from_u64(request), usage).map_err(raise)
    }

    #[pyo3(signature = (request, failure = "engine", *, now = None))]
    fn fail(&self, py: Python<'_>, request: u64, failure: &str, now: Option<f64>) -> PyResult<()> {
        let failure = match failure {
            "unreachable" => Failure::Unreachable,
            "engine" => Failure::Engine,
            "timeout" => Failure::Timeout,
            _ => {
                let message =
                    format!("failure must be 'unreachable', 'engine' or 'timeout', not {failure:?}");
                return Err(PyValueError::new_err(message));
            }
        };
        let now = self.clock.read(now)?;
        self.lock(py).fail(now, RequestId::from_u64(request), failure).map_err(raise)
    }

    #[pyo3(signature = (request, *, now = None))]
    fn cancel(&self, py: Python<'_>, request: u64, now: Option<f64>) -> PyResult<bool> {
        let now = self.clock.read(now)?;
        Ok(self.lock(py).cancel(now, RequestId::from_u64(request)))
    }

    #[pyo3(signature = (request, endpoint, *, now = None))]
    fn redirect(&self, py: Python<'_>, request: u64, endpoint: u64, now: Option<f64>) -> PyResult<()> {
        let now = self.clock.read(now)?;
        let (request, endpoint) = (RequestId::from_u64(request), EndpointId::from_u64(endpoint));
        self.lock(py).redirect(now, request, endpoint).map_err(raise)
    }

    // Looking in.

    #[pyo3(signature = (prompt, *, model = "", adapter = None, cache_salt = None, priority = 0, flow = "",
        session = None, deadline = None, expected_output = 0, role = "unified", labels = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        prompt: &Bound<'py, PyAny>,
        model: &str,
        adapter: Option<&str>,
        cache_salt: Option<&str>,
        priority: i32,
        flow: &str,
        session: Option<&str>,
        deadline: Option<f64>,
        expected_output: u32,
        role: &str,
        labels: Option<&Bound<'py, PyDict>>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wishes = Wishes {
            model,
            adapter,
            cache_salt,
            priority,
            flow,
            session,
            deadline,
            expected_output,
            role,
            labels,
            ttl: None,
            weight: 1.0,
        };
        let (now, prompt) = (self.clock.read(now)?, Prompt::read(prompt)?);
        let explanation = wishes.with(&prompt, |request| self.lock(py).explain(now, request))?;
        to_python(py, "decode_explanation", &(&explanation, explanation.to_string()))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.lock(py).stats();
        to_python(py, "decode_stats", &stats)
    }

    fn __reduce__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err(
            "a live scheduler cannot be pickled: it stands for requests in flight on this process's connections. \
             Pickle its `config` and add the endpoints anew",
        ))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let stats = self.lock(py).stats();
        format!("Scheduler({} endpoints, {} requests in flight)", stats.endpoints.len(), stats.in_flight)
    }
}

/// Blocks of an event above which other Python threads may run meanwhile: about 100 us of work.
const LONG: usize = 512;
