//! Conversion of values off the hot path, as JSON.
//!
//! JSON connects the core's serde types with the dataclasses of `slotwise.config`,
//! `slotwise.values` and `slotwise.reports`. So only the core and Python list their fields.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Converts a dataclass, a mapping or an endpoint's name to one of the core's types.
pub(crate) fn from_python<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.import(value.py(), "slotwise.config", "encode")?;
    let json: String = encode.call1((value,))?.extract()?;
    let mut reader = serde_json::Deserializer::from_str(&json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // A position in the JSON has no meaning for a caller that passed an object.
        let reason = error.inner().to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let type_error = reason.starts_with("invalid type");
        let message = format!("{}.{}: {reason}", name_of(value), error.path());
        if type_error { PyTypeError::new_err(message) } else { PyValueError::new_err(message) }
    })
}

/// Converts one of the core's types, or of the wire's reports, with this function of `slotwise`.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    (module, decode): (&str, &str),
    value: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    py.import(module)?.getattr(decode)?.call1((to_json(value)?,))
}

pub(crate) fn to_json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn name_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| String::from("value"), |name| name.to_string())
}
