//! Values that are not in a hurry: they travel as JSON between the core's serde types and the
//! dataclasses of `slotwise.config`, `slotwise.values` and `slotwise.reports`, so that their fields
//! are listed in the core and in Python, and nowhere between.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The dataclass `value` (or its name, or a mapping) as one of the core's types.
pub(crate) fn from_python<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.import(value.py(), "slotwise.config", "encode")?;
    let json: String = encode.call1((value,))?.extract()?;
    let mut reader = serde_json::Deserializer::from_str(&json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // The place in the JSON means nothing to a caller that passed an object.
        let reason = error.inner().to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let type_error = reason.starts_with("invalid type");
        let message = format!("{}.{}: {reason}", name_of(value), error.path());
        if type_error { PyTypeError::new_err(message) } else { PyValueError::new_err(message) }
    })
}

/// One of the core's types, or of the wire's reports, as what that function of `slotwise` makes of
/// it.
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
