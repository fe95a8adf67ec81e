//! The scheduler behind a lock, and the clock that it is told of.
//!
//! | file | which calls |
//! |---|---|
//! | here | the pool, a gateway that starts again, statistics |
//! | `engines` | what engines say: load, adapters, KV events |
//! | `requests` | a request's life |
//!
//! No lock is ever held while Python runs: a cost function may call the scheduler itself, and so may whatever the garbage collector finalizes
//! while an exception is made. Calls that take long release the GIL, so a thread that finds a lock taken releases the GIL too while it
//! waits. Whoever needs both locks takes that of the feeds first.

mod engines;
mod requests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant as HostInstant;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyMapping, PyString};
use slotwise::{EndpointId, Instant, RequestId};
use slotwise_wire::exposition::Exposition;
use slotwise_wire::kv::Feeds;

use crate::body::Readers;
use crate::error::{Kind, raise};
use crate::ids::{EndpointArg, NameArg, RequestArg};
use crate::prompt::bytes;
use crate::request::{instant, warn_implausible};
use crate::serde_bridge::{from_python, to_python};
use crate::shared::{Forked, Shared};

/// Decides where requests go, and keeps account of all that follows from it.
#[pyclass(frozen, subclass, module = "slotwise")]
pub(crate) struct Scheduler {
    core: Shared<slotwise::Scheduler>,
    /// Where each publisher's events stand.
    feeds: Shared<Feeds>,
    readers: Readers,
    clock: Clock,
    cost: Option<Py<PyAny>>,
}

/// What the time is where a call does not say it.
enum Clock {
    /// `time.monotonic()` without calling it: its reading when the scheduler was made, and what has passed since.
    Host { reading: f64, taken: HostInstant },
    /// A callable that returns seconds.
    Given(Py<PyAny>),
}

/// Seconds that a `now` may be ahead of the host's clock. One that is further ahead is on another clock, and would stop all timeouts for
/// good: the scheduler's time never goes back.
const FURTHEST_AHEAD: f64 = 3_600.0;

impl Clock {
    fn new(py: Python<'_>, given: Option<Py<PyAny>>) -> PyResult<Self> {
        let Some(clock) = given else {
            let reading = py.import("time")?.call_method0("monotonic")?.extract()?;
            return Ok(Self::Host { reading, taken: HostInstant::now() });
        };
        if !clock.bind(py).is_callable() {
            let message = format!("clock must be callable, not {}", clock.bind(py).get_type());
            return Err(PyTypeError::new_err(message));
        }
        Ok(Self::Given(clock))
    }

    /// `now`, or else the time of the clock. A clock that was given runs Python, so no lock may be held.
    fn read(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Instant> {
        match (now, self) {
            (Some(now), Self::Host { reading, taken }) => {
                let clock = reading + taken.elapsed().as_secs_f64();
                if now > clock + FURTHEST_AHEAD {
                    return Err(PyValueError::new_err(format!(
                        "now must be seconds on the clock of time.monotonic(), which shows {clock:.3}: {now} is more than an hour ahead, and \
                         time never goes back. Pass time.monotonic() and not time.time(), or make the scheduler with a clock of your own \
                         (clock=)"
                    )));
                }
                instant("now", now)
            }
            (Some(now), Self::Given(_)) => instant("now", now),
            (None, Self::Host { reading, taken }) => {
                instant("now", reading + taken.elapsed().as_secs_f64())
            }
            (None, Self::Given(clock)) => {
                let reading = clock.bind(py).call0()?;
                let seconds = reading.extract().map_err(|_| {
                    PyTypeError::new_err(format!(
                        "clock() must return seconds, not {}",
                        reading.get_type()
                    ))
                })?;
                instant("clock()", seconds)
            }
        }
    }
}

impl Scheduler {
    fn lock<'a>(&'a self, py: Python<'_>) -> PyResult<MutexGuard<'a, slotwise::Scheduler>> {
        self.core.lock(py)
    }

    fn lock_feeds<'a>(&'a self, py: Python<'_>) -> PyResult<MutexGuard<'a, Feeds>> {
        self.feeds.lock(py)
    }

    /// Calls the core. The lock is free again before an exception is made.
    fn tell<T, E: Kind>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&mut slotwise::Scheduler) -> Result<T, E>,
    ) -> PyResult<T> {
        let answer = ask(&mut *self.lock(py)?);
        answer.map_err(raise)
    }

    /// Calls the core while other Python threads run.
    fn tell_meanwhile<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&mut slotwise::Scheduler) -> T + Send,
    ) -> PyResult<T> {
        py.detach(|| Ok(ask(&mut *self.core.lock_detached()?))).map_err(raise::<Forked>)
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

/// As many as a number holds exactly in JavaScript and JSON, so that a seed may be written down anywhere.
const SEED_BITS: u32 = 53;

/// What is behind a lock that is held for an instant only, and never while Python runs.
pub(crate) fn lock<'a, T>(behind: &'a Mutex<T>, py: Python<'_>) -> MutexGuard<'a, T> {
    match behind.try_lock() {
        Ok(free) => free,
        Err(_) => behind.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner),
    }
}

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
            config.map(from_python::<slotwise::Config>).transpose()?.unwrap_or_default();
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
        let (core, feeds) = (Shared::new(core), Shared::new(Feeds::default()));
        Ok(Self { core, feeds, readers: Readers::default(), clock: Clock::new(py, clock)?, cost })
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = self.lock(py)?.config().clone();
        to_python(py, ("slotwise.config", "decode_config"), &config)
    }

    fn endpoint<'py>(
        &self,
        py: Python<'py>,
        endpoint: EndpointArg,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = self.lock(py)?.endpoint(endpoint.0).cloned();
        found
            .map(|endpoint| to_python(py, ("slotwise.config", "decode_endpoint"), &endpoint))
            .transpose()
    }

    fn endpoint_named(&self, py: Python<'_>, name: NameArg) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.endpoint_named(&name.0).map(EndpointId::as_u64))
    }

    fn endpoint_of(&self, py: Python<'_>, request: RequestArg) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.endpoint_of(request.0).map(EndpointId::as_u64))
    }

    fn in_flight_on(&self, py: Python<'_>, endpoint: EndpointArg) -> PyResult<u32> {
        self.tell(py, |core| core.in_flight_on(endpoint.0))
    }

    #[getter]
    fn accepting_endpoints(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.accepting_endpoints())
    }

    // The pool.

    #[pyo3(signature = (endpoint, *, now = None))]
    fn add_endpoint(
        &self,
        py: Python<'_>,
        endpoint: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<u64> {
        let (now, endpoint) = (self.clock.read(py, now)?, from_python(endpoint)?);
        self.tell(py, |core| core.add_endpoint(now, endpoint)).map(EndpointId::as_u64)
    }

    #[pyo3(signature = (endpoint, description, *, now = None))]
    fn update_endpoint(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        description: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, description) = (self.clock.read(py, now)?, from_python(description)?);
        self.tell(py, |core| core.update_endpoint(now, endpoint.0, description))
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn remove_endpoint<'py>(
        &self,
        py: Python<'py>,
        endpoint: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = self.clock.read(py, now)?;
        let endpoint = endpoint.0;
        let removed = self.tell(py, |core| core.remove_endpoint(now, endpoint))?;
        self.lock_feeds(py)?.forget(endpoint);
        let in_flight: Vec<u64> = removed.in_flight.into_iter().map(RequestId::as_u64).collect();
        to_python(py, ("slotwise.values", "decode_removed"), &(removed.endpoint, in_flight))
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn drain_endpoint(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.drain_endpoint(now, endpoint.0))
    }

    #[pyo3(signature = (endpoint, *, now = None))]
    fn resume_endpoint(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.resume_endpoint(now, endpoint.0))
    }

    // A gateway that starts again.

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let snapshot = self.tell_meanwhile(py, |core| core.snapshot())?;
        Ok(PyBytes::new(py, &snapshot))
    }

    #[pyo3(signature = (snapshot, *, now = None))]
    fn restore(
        &self,
        py: Python<'_>,
        snapshot: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<usize> {
        let (now, snapshot) = (self.clock.read(py, now)?, bytes(snapshot, "snapshot")?);
        self.tell_meanwhile(py, |core| core.restore(now, &snapshot))?.map_err(raise)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.lock(py)?.stats();
        to_python(py, ("slotwise.values", "decode_stats"), &stats)
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
        let stats = self.tell_meanwhile(py, |core| core.stats())?;
        py.detach(|| exposition.render(&stats, &mut text));
        Ok(PyString::new(py, &text))
    }

    fn __reduce__(&self) -> PyResult<Py<PyAny>> {
        Err(PyTypeError::new_err(
            "a live scheduler cannot be pickled: it stands for requests in flight on this process's connections. \
             Pickle its `config` and add the endpoints anew",
        ))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let stats = self.lock(py)?.stats();
        let (endpoints, in_flight) = (stats.endpoints.len(), stats.in_flight);
        Ok(format!("Scheduler({endpoints} endpoints, {in_flight} requests in flight)"))
    }
}
