//! Converts errors to the exception classes of `slotwise.errors`, with the core's `code`.

use pyo3::PyErr;
use pyo3::prelude::*;
use slotwise::{
    ConfigError, EndpointError, KvEventError, RedirectError, SnapshotError, UnknownEndpoint,
    UnknownRequest,
};
use slotwise_wire::WireError;

/// Converts an error of the core to its exception.
pub(crate) fn raise<E: Kind>(error: E) -> PyErr {
    Python::attach(|py| {
        let class = py.import("slotwise.errors").and_then(|module| module.getattr(E::CLASS));
        match class.and_then(|class| class.call1((error.to_string(), error.code()))) {
            Ok(exception) => PyErr::from_value(exception),
            Err(other) => other,
        }
    })
}

/// Converts an error of the wire to `slotwise.errors.WireError`.
pub(crate) fn raise_wire(error: WireError) -> PyErr {
    Python::attach(|py| {
        let class = py.import("slotwise.errors").and_then(|module| module.getattr("WireError"));
        let arguments = (error.to_string(), error.problem.code(), error.offset);
        match class.and_then(|class| class.call1(arguments)) {
            Ok(exception) => PyErr::from_value(exception),
            Err(other) => other,
        }
    })
}

/// An error with an exception class.
pub(crate) trait Kind: std::fmt::Display {
    /// The name of the class in `slotwise.errors`.
    const CLASS: &'static str;

    fn code(&self) -> &'static str;
}

macro_rules! kinds {
    ($($error:ty => $class:literal),+ $(,)?) => {
        $(impl Kind for $error {
            const CLASS: &'static str = $class;

            fn code(&self) -> &'static str {
                self.code()
            }
        })+
    };
}

kinds! {
    ConfigError => "ConfigError",
    EndpointError => "EndpointError",
    UnknownEndpoint => "UnknownEndpointError",
    UnknownRequest => "UnknownRequestError",
    RedirectError => "RedirectError",
    KvEventError => "KvEventError",
    SnapshotError => "SnapshotError",
}
