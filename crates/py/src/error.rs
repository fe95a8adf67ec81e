//! Converts errors to the exception classes of `slotwise.errors`, with the core's `code`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use slotwise_gateway::Classified;
use slotwise_gateway::names::{self, Named, UnknownName};
use slotwise_wire::WireError;

/// Converts an error to its exception.
pub(crate) fn raise<E: Classified>(error: E) -> PyErr {
    exception(E::CLASS, error.to_string(), error.code(), None)
}

/// Converts an error of the wire to its exception, with the offset.
pub(crate) fn raise_wire(error: WireError) -> PyErr {
    exception(WireError::CLASS, error.to_string(), error.code(), Some(error.offset))
}

/// The value of this name as the argument `argument`.
pub(crate) fn named<T: Named>(argument: &str, name: &str) -> PyResult<T> {
    names::parse(name).map_err(|error| unknown(argument, error))
}

/// Converts the error for an unknown name as the argument `argument`.
pub(crate) fn unknown(argument: &str, error: UnknownName) -> PyErr {
    PyValueError::new_err(format!("{argument} {error}"))
}

fn exception(class: &str, message: String, code: &str, offset: Option<usize>) -> PyErr {
    Python::attach(|py| {
        let class = py.import("slotwise.errors").and_then(|module| module.getattr(class));
        let raised = class.and_then(|class| match offset {
            None => class.call1((message, code)),
            Some(offset) => class.call1((message, code, offset)),
        });
        raised.map_or_else(|other| other, PyErr::from_value)
    })
}
