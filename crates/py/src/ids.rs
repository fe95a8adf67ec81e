//! Ids of endpoints and requests as arguments. The error for another type names that type and the
//! expected argument.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use slotwise::{EndpointId, RequestId, Subset};

/// The id of an endpoint.
pub(crate) struct EndpointArg(pub(crate) EndpointId);

/// The id of a request.
pub(crate) struct RequestArg(pub(crate) RequestId);

/// The endpoints that a request may use: ids, or addresses as in the header.
pub(crate) enum SubsetArg {
    Ids(Vec<EndpointId>),
    Addresses(String),
}

impl SubsetArg {
    pub(crate) fn as_subset(&self) -> Subset<'_> {
        match self {
            Self::Ids(ids) => Subset::Ids(ids),
            Self::Addresses(list) => Subset::addresses(list),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for SubsetArg {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(list) = value.cast::<PyString>() {
            return Ok(Self::Addresses(list.to_str()?.into()));
        }
        let mixed = || PyTypeError::new_err("subset must have only ids or only addresses");
        let items: Vec<Bound<'py, PyAny>> = value.extract()?;
        if items.iter().any(|item| item.is_instance_of::<PyString>()) {
            let addresses: PyResult<Vec<String>> =
                items.iter().map(|item| item.extract().map_err(|_| mixed())).collect();
            return Ok(Self::Addresses(addresses?.join(",")));
        }
        let ids: PyResult<Vec<EndpointArg>> = items.iter().map(|item| item.extract()).collect();
        Ok(Self::Ids(ids?.into_iter().map(|id| id.0).collect()))
    }
}

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
