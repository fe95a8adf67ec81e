//! Machines over JSON: routing and the like.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use slotwise_gateway::json::ArgumentError;
use slotwise_gateway::machines;

/// A machine that is created by its kind, and called by name.
#[pyclass(frozen, module = "slotwise._core")]
pub(crate) struct Machine(pub(crate) Mutex<machines::Machine>);

#[pymethods]
impl Machine {
    #[new]
    fn new(kind: &str, arguments: &str) -> PyResult<Self> {
        let machine = machines::Machine::new(kind, arguments).map_err(|error| raised(&error))?;
        Ok(Self(Mutex::new(machine)))
    }

    fn call(&self, name: &str, arguments: &str) -> PyResult<String> {
        let mut machine = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        machine.call(name, arguments).map_err(|error| raised(&error))
    }
}

/// The exception for an invalid argument.
pub(crate) fn raised(error: &ArgumentError) -> PyErr {
    let message = error.to_string();
    match message.contains("invalid type") {
        true => PyTypeError::new_err(message),
        false => PyValueError::new_err(message),
    }
}
