//! Messages between the gateways of a pool: a link behind a lock, with its scheduler.
//!
//! The lock of a link is taken before that of its scheduler, and before that of gates. None is held
//! while Python runs.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use slotwise::Instant;
use slotwise_gateway::Gateway;
use slotwise_gateway::json::read_peers_config;
use slotwise_gateway::peers;

use crate::error::raise;
use crate::ids::EndpointArg;
use crate::ingress::Ingress;
use crate::machine::{Machine, raised};
use crate::prompt::bytes;
use crate::request::seconds;
use crate::scheduler::Scheduler;
use crate::serde_bridge::to_json;
use crate::shared::{Forked, Shared, lock};

/// A scheduler's messages to and from the other gateways of its pool.
#[pyclass(frozen, subclass, weakref, module = "slotwise.peers")]
pub(crate) struct PeerLink {
    link: Shared<peers::PeerLink>,
    scheduler: Py<Scheduler>,
}

/// What has gates: an ingress, or a machine of kind `gates`.
#[derive(FromPyObject)]
enum WithGates<'py> {
    Ingress(Bound<'py, Ingress>),
    Machine(Bound<'py, Machine>),
}

impl PeerLink {
    /// Calls the link with its scheduler. Other Python threads run during a `long` call.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        long: bool,
        call: impl FnOnce(&mut peers::PeerLink, &mut Gateway) -> T + Send,
    ) -> PyResult<T> {
        let scheduler = self.scheduler.get();
        if !long {
            let mut link = self.link.lock(py)?;
            return Ok(call(&mut link, &mut *scheduler.lock(py)?));
        }
        let called = py.detach(|| {
            let mut link = self.link.lock_detached()?;
            Ok(call(&mut link, &mut *scheduler.lock_detached()?))
        });
        called.map_err(raise::<Forked>)
    }

    fn now(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Instant> {
        self.scheduler.get().now(py, now)
    }
}

#[pymethods]
impl PeerLink {
    /// Joins a scheduler, with its configuration as JSON.
    #[new]
    fn new(
        py: Python<'_>,
        scheduler: Py<Scheduler>,
        config: &str,
        key: &Bound<'_, PyAny>,
        incarnation: u64,
    ) -> PyResult<Self> {
        let mut config = read_peers_config(config).map_err(|error| raised(&error))?;
        config.key = peers::PeerKey::new(&*bytes(key, "key")?);
        let link = {
            let mut gateway = scheduler.get().lock(py)?;
            peers::PeerLink::new(config, incarnation, gateway.scheduler_mut())
        };
        Ok(Self { link: Shared::new(link.map_err(raise)?), scheduler })
    }

    #[pyo3(signature = (*, now = None))]
    fn export_delta<'py>(
        &self,
        py: Python<'py>,
        now: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let now = self.now(py, now)?;
        let message =
            self.with(py, false, |link, gateway| link.export_delta(now, gateway.scheduler_mut()))?;
        // Peers that have fallen silent may leave room for what waits.
        self.scheduler.get().wake(py)?;
        Ok(message.map(|message| PyBytes::new(py, &message)))
    }

    #[pyo3(signature = (message, *, now = None))]
    fn apply_delta(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<&'static str> {
        let (now, message) = (self.now(py, now)?, bytes(message, "message")?);
        let applied = self.with(py, message.len() >= LONG, |link, gateway| {
            link.apply_delta(now, gateway.scheduler_mut(), &message)
        })?;
        self.scheduler.get().wake(py)?;
        applied.map(peers::Applied::as_str).map_err(raise)
    }

    #[pyo3(signature = (gates, *, now = None))]
    fn _exchange_usage(
        &self,
        py: Python<'_>,
        gates: WithGates<'_>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        let mut link = self.link.lock(py)?;
        match gates {
            WithGates::Ingress(ingress) => {
                link.exchange_usage(now, lock(&ingress.get().0, py).gates_mut());
            }
            WithGates::Machine(machine) => {
                let mut machine = lock(&machine.get().0, py);
                let gates = machine.gates_mut();
                let gates =
                    gates.ok_or_else(|| PyTypeError::new_err("the machine has no gates"))?;
                link.exchange_usage(now, gates);
            }
        }
        Ok(())
    }

    #[pyo3(signature = (*, now = None))]
    fn next_timeout(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Option<f64>> {
        let now = self.now(py, now)?;
        let at =
            self.with(py, false, |link, gateway| link.next_timeout(now, gateway.scheduler_mut()))?;
        Ok(seconds(at))
    }

    /// The fields of a `slotwise.peers.PeerLoad`.
    #[pyo3(signature = (endpoint_id, *, now = None))]
    fn _load(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        now: Option<f64>,
    ) -> PyResult<(u32, u32, f64, u64, f64, Option<i32>)> {
        let now = self.now(py, now)?;
        let load = self
            .with(py, false, |link, gateway| link.load(now, gateway.scheduler(), endpoint_id.0))?;
        let load = load.map_err(raise)?;
        let (booked, backoff) = (load.booked.as_secs_f64(), load.backoff.as_secs_f64());
        Ok((load.prefilling, load.running, booked, load.kv_tokens, backoff, load.waiting))
    }

    #[getter]
    fn alive(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.link.lock(py)?.peers().alive().map(String::from).collect())
    }

    #[getter]
    fn is_complete(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.link.lock(py)?.peers().is_complete())
    }

    #[pyo3(signature = (*, now = None))]
    fn metrics_text(&self, py: Python<'_>, now: Option<f64>) -> PyResult<String> {
        let now = self.now(py, now)?;
        Ok(self.link.lock(py)?.metrics_text(now))
    }

    /// Counts of messages, as JSON.
    fn _stats(&self, py: Python<'_>) -> PyResult<String> {
        let stats = self.link.lock(py)?.peers().stats();
        to_json(&stats)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.scheduler)
    }
}

/// The seed that gateways with this key share.
#[pyfunction]
pub(crate) fn seed_of_peers(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    let key = bytes(key, "key")?;
    if key.len() < peers::PeerKey::SHORTEST {
        let least = peers::PeerKey::SHORTEST;
        let message = format!("key must have at least {least} bytes, got {}", key.len());
        return Err(PyValueError::new_err(message));
    }
    Ok(peers::PeerKey::new(&*key).seed())
}

/// Bytes of a message above which other Python threads may run meanwhile.
const LONG: usize = 32 << 10;
