//! The reference's policies as functions: their arguments and results are JSON.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use slotwise_gateway::policy;

/// Calls a policy by the name of its function.
#[pyfunction]
pub(crate) fn call_policy(function: &str, arguments: &str) -> PyResult<String> {
    policy::call(function, arguments).map_err(|error| {
        let message = error.to_string();
        match message.contains("invalid type") {
            true => PyTypeError::new_err(message),
            false => PyValueError::new_err(message),
        }
    })
}
