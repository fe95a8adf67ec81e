//! The fields that the host lets clients set for their requests.

use std::ops::RangeInclusive;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use slotwise_wire::headers::{Allow, AllowError};

/// Reads names, or a mapping from names to `True`, `False` or a range. `None` allows nothing.
pub(crate) fn read(allow: Option<&Bound<'_, PyAny>>) -> PyResult<Allow> {
    let mut allowed = Allow::default();
    let Some(allow) = allow else { return Ok(allowed) };
    if let Ok(entries) = allow.cast::<PyDict>() {
        for (name, value) in entries {
            entry(&mut allowed, &name.extract::<String>()?, &value)?;
        }
    } else if allow.is_instance_of::<PyString>() {
        add(&mut allowed, &allow.extract::<String>()?)?;
    } else {
        let names = allow.try_iter().map_err(|_| {
            PyTypeError::new_err(format!("allow must be names or a dict, not {}", allow.get_type()))
        })?;
        for name in names {
            add(&mut allowed, &name?.extract::<String>()?)?;
        }
    }
    Ok(allowed)
}

fn entry(allowed: &mut Allow, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    if name == "session_headers" {
        allowed.session_headers = value.extract()?;
        return Ok(());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return if flag.is_true() { add(allowed, name) } else { add(&mut Allow::default(), name) };
    }
    if value.is_none() {
        return add(&mut Allow::default(), name);
    }
    match name {
        "priority" => {
            let (low, high): (i32, i32) = value.extract()?;
            allowed.add_priority(low, high).map_err(|error| invalid(name, error))?;
        }
        "ttl" => allowed.ttl = Some(seconds(name, value)?),
        "deadline" => allowed.deadline = Some(seconds(name, value)?),
        _ => {
            add(allowed, name)?;
            return Err(PyTypeError::new_err(format!("allow[{name:?}] must be True or False")));
        }
    }
    Ok(())
}

fn add(allowed: &mut Allow, name: &str) -> PyResult<()> {
    allowed.add(name).map_err(|error| PyValueError::new_err(format!("allow {error}")))
}

fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<RangeInclusive<Duration>> {
    let (low, high): (f64, f64) = value.extract()?;
    Allow::seconds(low, high).map_err(|error| invalid(name, error))
}

fn invalid(name: &str, error: AllowError) -> PyErr {
    PyValueError::new_err(format!("allow[{name:?}] {error}"))
}
