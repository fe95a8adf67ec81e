//! The reference's policies as functions: their arguments and results are JSON.

use pyo3::prelude::*;
use slotwise_gateway::policy;

use crate::machine::raised;

/// Calls a policy by the name of its function.
#[pyfunction]
pub(crate) fn call_policy(function: &str, arguments: &str) -> PyResult<String> {
    policy::call(function, arguments).map_err(|error| raised(&error))
}
