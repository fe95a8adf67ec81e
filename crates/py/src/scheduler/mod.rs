//! The scheduler behind a lock, its clock, and the callback that requests a poll.
//!
//! | file | calls |
//! |---|---|
//! | this file | the pool, snapshots, statistics |
//! | `clock` | the time of calls without `now` |
//! | `engines` | load, adapters and KV events |
//! | `legs` | the stages that have endpoints of their own |
//! | `requests` | a request from `pick` or `submit` to its end |
//!
//! No lock is held while Python runs: a cost function may call the scheduler, and so may a
//! finalizer that the garbage collector runs while an exception is created. Long calls release the
//! GIL. A thread that waits for a lock releases the GIL as well.

mod clock;
mod engines;
mod legs;
mod requests;

use std::collections::BTreeMap;
use std::sync::{MutexGuard, OnceLock};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};
use slotwise::{EndpointId, Instant, RequestId};
use slotwise_gateway::Classified;
use slotwise_gateway::Gateway;
use slotwise_gateway::config::PoolConfig;
use slotwise_gateway::json::{read_config, read_endpoint, write_config, write_endpoint};
use slotwise_wire::exposition::Exposition;

use clock::Clock;

use crate::body::Readers;
use crate::error::raise;
use crate::ids::{EndpointArg, NameArg, RequestArg};
use crate::prompt::bytes;
use crate::request::warn_implausible;
use crate::serde_bridge::{decoded, from_python, to_python};
use crate::shared::{Forked, Shared};

/// Decides where requests go, and accounts for their load.
#[pyclass(frozen, subclass, module = "slotwise")]
pub(crate) struct Scheduler {
    gateway: Shared<Gateway>,
    readers: Readers,
    clock: Clock,
    cost: Option<Py<PyAny>>,
    /// Called after an input that may lead to a decision, with whether an endpoint is drained.
    wakeup: OnceLock<Py<PyAny>>,
}

impl Scheduler {
    pub(crate) fn lock<'a>(&'a self, py: Python<'_>) -> PyResult<MutexGuard<'a, Gateway>> {
        self.gateway.lock(py)
    }

    /// The same from a thread that is detached from Python.
    pub(crate) fn lock_detached(&self) -> Result<MutexGuard<'_, Gateway>, Forked> {
        self.gateway.lock_detached()
    }

    /// The time of a call. A clock of the host's runs Python, so no lock may be held.
    pub(crate) fn now(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Instant> {
        self.clock.read(py, now)
    }

    /// Applies an input of a lease or an exchange, behind a lock of its own, at the time of the
    /// clock. Then wakes the host.
    pub(crate) fn apply<S, T>(
        &self,
        py: Python<'_>,
        state: &Shared<S>,
        apply: impl FnOnce(&mut S, &mut Gateway, Instant) -> T,
    ) -> PyResult<T> {
        let now = self.now(py, None)?;
        let (applied, has_wakeup) = {
            let mut state = state.lock(py)?;
            let mut gateway = self.lock(py)?;
            let applied = apply(&mut state, &mut gateway, now);
            (applied, gateway.has_wakeup())
        };
        if has_wakeup {
            self.wake(py)?;
        }
        Ok(applied)
    }

    /// Applies an input, and wakes the host. The lock is released before an exception is created.
    fn input<T, E: Classified>(
        &self,
        py: Python<'_>,
        apply: impl FnOnce(&mut Gateway) -> Result<T, E>,
    ) -> PyResult<T> {
        let applied = apply(&mut *self.lock(py)?);
        self.wake(py)?;
        applied.map_err(raise)
    }

    /// Applies a long input while other Python threads run, and wakes the host.
    fn long_input<T: Send, E: Classified + Send>(
        &self,
        py: Python<'_>,
        apply: impl FnOnce(&mut Gateway) -> Result<T, E> + Send,
    ) -> PyResult<T> {
        let applied = self.detached(py, apply)?;
        self.wake(py)?;
        applied.map_err(raise)
    }

    /// Calls the gateway while other Python threads run.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Gateway) -> T + Send,
    ) -> PyResult<T> {
        py.detach(|| Ok(call(&mut *self.gateway.lock_detached()?))).map_err(raise::<Forked>)
    }

    /// Calls the host if a poll is due. Called after every input.
    pub(crate) fn wake(&self, py: Python<'_>) -> PyResult<()> {
        let Some(host) = self.wakeup.get() else { return Ok(()) };
        let wakeup = self.lock(py)?.take_wakeup();
        if wakeup.decisions || wakeup.drained {
            host.call1(py, (wakeup.drained,))?;
        }
        Ok(())
    }
}

/// Whether a configuration, an object or a mapping, has a seed.
fn gives_seed(config: &Bound<'_, PyAny>) -> PyResult<bool> {
    let seed = match config.getattr_opt("seed")? {
        Some(seed) => Some(seed),
        None => config
            .cast::<PyMapping>()
            .ok()
            .map(|config| config.get_item("seed"))
            .and_then(Result::ok),
    };
    Ok(seed.is_some_and(|seed| !seed.is_none()))
}

/// Bits of a random seed: as many as a number in JavaScript and JSON holds exactly.
const SEED_BITS: u32 = 53;

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (config = None, *, cost = None, clock = None))]
    fn new(
        py: Python<'_>,
        config: Option<&Bound<'_, PyAny>>,
        cost: Option<Py<PyAny>>,
        clock: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let seed_is_given = config.map(gives_seed).transpose()?.unwrap_or_default();
        let mut config =
            config.map(|it| from_python(it, read_config)).transpose()?.unwrap_or_default();
        if !seed_is_given {
            config.seed =
                py.import("secrets")?.call_method1("randbits", (SEED_BITS,))?.extract()?;
        }
        if let Some(cost) = cost.as_ref().filter(|cost| !cost.bind(py).is_callable()) {
            let message = format!("cost must be callable, not {}", cost.bind(py).get_type());
            return Err(PyTypeError::new_err(message));
        }
        let core = slotwise::Scheduler::new(config).map_err(raise)?;
        core.config()
            .implausible()
            .into_iter()
            .try_for_each(|found| warn_implausible(py, Some(found)))?;
        let gateway = Shared::new(Gateway::new(core));
        let clock = Clock::new(py, clock)?;
        Ok(Self { gateway, readers: Readers::default(), clock, cost, wakeup: OnceLock::new() })
    }

    #[pyo3(signature = (config, *, now = None))]
    fn reconfigure(
        &self,
        py: Python<'_>,
        config: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, seed_is_given) = (self.now(py, now)?, gives_seed(config)?);
        let mut config = from_python(config, read_config)?;
        let implausible = config.implausible();
        self.input(py, |gateway| {
            let scheduler = gateway.scheduler_mut();
            if !seed_is_given {
                config.seed = scheduler.config().seed;
            }
            scheduler.reconfigure(now, config)
        })?;
        implausible.into_iter().try_for_each(|found| warn_implausible(py, Some(found)))
    }

    /// Changes the pool to that of this name in a configuration. Returns the ids of its endpoints.
    #[pyo3(name = "apply", signature = (configuration, pool, *, now = None))]
    fn apply_pool(
        &self,
        py: Python<'_>,
        configuration: &Bound<'_, PyAny>,
        pool: &str,
        now: Option<f64>,
    ) -> PyResult<Vec<u64>> {
        let text: String = configuration.call_method0("text")?.extract()?;
        let pool = PoolConfig::of_text(&text, pool).map_err(raise)?;
        let now = self.now(py, now)?;
        let ids = self.long_input(py, |gateway| gateway.apply(now, &pool))?;
        Ok(ids.into_iter().map(EndpointId::as_u64).collect())
    }

    /// Removes the endpoints that have left the configuration and have no request in flight.
    #[pyo3(signature = (*, now = None))]
    fn remove_idle(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Vec<u64>> {
        let now = self.now(py, now)?;
        let removed = self.lock(py)?.remove_idle(now);
        self.wake(py)?;
        Ok(removed.into_iter().map(EndpointId::as_u64).collect())
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = self.lock(py)?.scheduler().config().clone();
        decoded(py, ("slotwise.config", "decode_config"), write_config(&config))
    }

    fn endpoint<'py>(
        &self,
        py: Python<'py>,
        endpoint_id: EndpointArg,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.lock(py)?.scheduler().endpoint(endpoint_id.0).cloned();
        let decode = ("slotwise.config", "decode_endpoint");
        found.map(|endpoint| decoded(py, decode, write_endpoint(&endpoint))).transpose()
    }

    fn endpoint_named(&self, py: Python<'_>, name: NameArg) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.scheduler().endpoint_named(&name.0).map(EndpointId::as_u64))
    }

    fn endpoint_names(&self, py: Python<'_>) -> PyResult<BTreeMap<u64, String>> {
        let gateway = self.lock(py)?;
        let endpoints = gateway.scheduler().endpoints();
        Ok(endpoints.map(|(id, endpoint)| (id.as_u64(), endpoint.name.clone())).collect())
    }

    #[getter]
    fn membership(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.lock(py)?.scheduler().membership())
    }

    fn endpoint_of(&self, py: Python<'_>, request_id: RequestArg) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.scheduler().endpoint_of(request_id.0).map(EndpointId::as_u64))
    }

    fn in_flight_on(&self, py: Python<'_>, endpoint_id: EndpointArg) -> PyResult<u32> {
        let in_flight = self.lock(py)?.scheduler().in_flight_on(endpoint_id.0);
        in_flight.map_err(raise)
    }

    #[getter]
    fn accepting_endpoints(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.scheduler().accepting_endpoints())
    }

    // The pool.

    #[pyo3(signature = (endpoint, *, now = None))]
    fn add_endpoint(
        &self,
        py: Python<'_>,
        endpoint: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<u64> {
        let (now, endpoint) = (self.now(py, now)?, from_python(endpoint, read_endpoint)?);
        self.input(py, |gateway| gateway.scheduler_mut().add_endpoint(now, endpoint))
            .map(EndpointId::as_u64)
    }

    #[pyo3(signature = (endpoint_id, description, *, now = None))]
    fn update_endpoint(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        description: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, description) = (self.now(py, now)?, from_python(description, read_endpoint)?);
        self.input(py, |gateway| {
            gateway.scheduler_mut().update_endpoint(now, endpoint_id.0, description)
        })
    }

    #[pyo3(signature = (endpoint_id, *, now = None))]
    fn remove_endpoint<'py>(
        &self,
        py: Python<'py>,
        endpoint_id: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = self.now(py, now)?;
        let endpoint = endpoint_id.0;
        let removed = self.input(py, |gateway| gateway.remove_endpoint(now, endpoint))?;
        let in_flight: Vec<u64> = removed.in_flight.into_iter().map(RequestId::as_u64).collect();
        to_python(py, ("slotwise.values", "decode_removed"), &(removed.endpoint, in_flight))
    }

    #[pyo3(signature = (endpoint_id, *, now = None))]
    fn drain_endpoint(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().drain_endpoint(now, endpoint_id.0))
    }

    #[pyo3(signature = (endpoint_id, *, now = None))]
    fn resume_endpoint(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().resume_endpoint(now, endpoint_id.0))
    }

    // Restarts.

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let snapshot = self.detached(py, |gateway| gateway.scheduler().snapshot())?;
        Ok(PyBytes::new(py, &snapshot))
    }

    #[pyo3(signature = (snapshot, *, now = None))]
    fn restore(
        &self,
        py: Python<'_>,
        snapshot: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<usize> {
        let (now, snapshot) = (self.now(py, now)?, bytes(snapshot, "snapshot")?);
        self.long_input(py, |gateway| gateway.scheduler_mut().restore(now, &snapshot))
    }

    /// Sets the callback `wakeup(drained: bool)` for inputs that may lead to a decision.
    fn _on_wakeup(&self, wakeup: Py<PyAny>) {
        // A second callback is ignored: a scheduler has one host.
        let _ = self.wakeup.set(wakeup);
    }

    /// Makes `_poll_drained` return the endpoint once it is drained or removed.
    fn _watch_drained(&self, py: Python<'_>, endpoint_id: EndpointArg) -> PyResult<()> {
        self.input(py, |gateway| gateway.watch_drained(endpoint_id.0))
    }

    fn _unwatch_drained(&self, py: Python<'_>, endpoint_id: EndpointArg) -> PyResult<()> {
        self.lock(py)?.unwatch_drained(endpoint_id.0);
        Ok(())
    }

    /// The next watched endpoint that is drained or removed.
    fn _poll_drained(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.poll_drained().map(|drained| drained.endpoint_id.as_u64()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cost)?;
        visit.call(self.wakeup.get())?;
        visit.call(self.clock.callable())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.lock(py)?.scheduler().stats();
        to_python(py, ("slotwise.stats", "decode_stats"), &stats)
    }

    #[pyo3(signature = (*, names = "slotwise", pool = "", max_endpoints = 1_000))]
    fn metrics_text<'py>(
        &self,
        py: Python<'py>,
        names: &str,
        pool: &str,
        max_endpoints: usize,
    ) -> PyResult<Bound<'py, PyString>> {
        let exposition = Exposition::new().endpoint_limit(max_endpoints);
        let exposition = match names {
            "slotwise" => exposition,
            "reference" => exposition.reference_names(pool),
            _ => {
                let message = format!("names must be 'slotwise' or 'reference', not {names:?}");
                return Err(PyValueError::new_err(message));
            }
        };
        let mut text = String::new();
        let stats = self.detached(py, |gateway| gateway.scheduler().stats())?;
        py.detach(|| exposition.render(&stats, &mut text));
        Ok(PyString::new(py, &text))
    }

    fn __reduce__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err(
            "a live scheduler cannot be pickled: it stands for requests in flight on this \
             process's connections. \
             Pickle its `config` and add the endpoints anew",
        ))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let stats = self.lock(py)?.scheduler().stats();
        let (endpoints, in_flight) = (stats.endpoints.len(), stats.in_flight);
        Ok(format!("Scheduler({endpoints} endpoints, {in_flight} requests in flight)"))
    }
}
