//! Ids of endpoints and requests as arguments. The error for another type names that type and the
//! expected argument.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use slotwise::{EndpointId, RequestId};

/// The id of an endpoint.
pub(crate) struct EndpointArg(pub(crate) EndpointId);

/// The id of a request.
pub(crate) struct RequestArg(pub(crate) RequestId);

/// The name of an endpoint.
pub(crate) struct NameArg(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for EndpointArg {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match value.cast::<PyInt>() {
            Ok(id) => Ok(Self(EndpointId::from_u64(id.extract()?))),
            Err(_) => Err(wrong(&value, "expected the id that add_endpoint() returned", |name| {
                format!("endpoint_named({name}) returns the id of that name")
            })),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for RequestArg {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match value.cast::<PyInt>() {
            Ok(id) => Ok(Self(RequestId::from_u64(id.extract()?))),
            Err(_) => {
                Err(wrong(&value, "expected the id of a request, say dispatch.request_id", |_| {
                    String::from("an X-Request-ID of a client is another thing")
                }))
            }
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for NameArg {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(name) = value.cast::<PyString>() {
            return Ok(Self(name.to_str()?.into()));
        }
        let kind = value.get_type();
        Err(PyTypeError::new_err(format!(
            "expected the name of an endpoint, not {kind}: endpoint(id).name is the name of an id"
        )))
    }
}

/// The error for a wrong type: the expected and the actual type, with a hint for strings.
fn wrong(
    value: &Borrowed<'_, '_, PyAny>,
    expected: &str,
    of_string: impl FnOnce(String) -> String,
) -> PyErr {
    let mut message = format!("{expected}, not {}", value.get_type());
    if value.is_instance_of::<PyString>() {
        let shown = value.repr().map_or_else(|_| String::from("name"), |shown| shown.to_string());
        message.push_str(": ");
        message.push_str(&of_string(shown));
    }
    PyTypeError::new_err(message)
}
