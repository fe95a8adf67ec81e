//! Conversion of values off the hot path, as JSON.
//!
//! JSON connects the core's serde types with the dataclasses of `slotwise.config`,
//! `slotwise.values` and `slotwise.reports`. So only the core and Python list their fields.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde::Serialize;
use slotwise_gateway::json::ArgumentError;

/// Converts a dataclass, a mapping or an endpoint's name with one of the gateway crate's readers.
pub(crate) fn from_python<T>(
    value: &Bound<'_, PyAny>,
    read: fn(&str) -> Result<T, ArgumentError>,
) -> PyResult<T> {
    let json = encode(value)?;
    read(&json).map_err(|error| refused(value, &error))
}

fn encode(value: &Bound<'_, PyAny>) -> PyResult<String> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ENCODE.import(value.py(), "slotwise.config", "encode")?.call1((value,))?.extract()
}

/// The exception for a value with an invalid field.
fn refused(value: &Bound<'_, PyAny>, error: &ArgumentError) -> PyErr {
    let message = format!("{}: {error}", name_of(value));
    match message.contains("invalid type") {
        true => PyTypeError::new_err(message),
        false => PyValueError::new_err(message),
    }
}

/// Converts one of the core's types, or of the wire's reports, with this function of `slotwise`.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    (module, decode): (&str, &str),
    value: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    decoded(py, (module, decode), to_json(value)?)
}

/// Converts JSON with this function of `slotwise`.
pub(crate) fn decoded<'py>(
    py: Python<'py>,
    (module, decode): (&str, &str),
    json: String,
) -> PyResult<Bound<'py, PyAny>> {
    py.import(module)?.getattr(decode)?.call1((json,))
}

pub(crate) fn to_json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn name_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| String::from("value"), |name| name.to_string())
}
