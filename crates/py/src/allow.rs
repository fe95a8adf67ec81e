//! The fields that the host lets clients set for their requests.

use std::ops::RangeInclusive;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use slotwise_wire::headers::Allow;

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
            allowed.priority = Some(ordered(name, low, high)?);
        }
        "ttl" => allowed.ttl = Some(times(name, value)?),
        "deadline" => allowed.deadline = Some(times(name, value)?),
        _ => {
            add(allowed, name)?;
            return Err(PyTypeError::new_err(format!("allow[{name:?}] must be True or False")));
        }
    }
    Ok(())
}

fn add(allowed: &mut Allow, name: &str) -> PyResult<()> {
    if allowed.add(name) {
        return Ok(());
    }
    let known = Allow::NAMES.join(", ");
    Err(PyValueError::new_err(format!("allow must name some of {known}, not {name:?}")))
}

fn times(name: &str, value: &Bound<'_, PyAny>) -> PyResult<RangeInclusive<Duration>> {
    let (low, high): (f64, f64) = value.extract()?;
    let range = ordered(name, low, high)?;
    let time = |seconds: f64| {
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            PyValueError::new_err(format!(
                "allow[{name:?}] must be seconds from 0 on, not {seconds}"
            ))
        })
    };
    Ok(time(*range.start())?..=time(*range.end())?)
}

fn ordered<T: PartialOrd + std::fmt::Display>(
    name: &str,
    low: T,
    high: T,
) -> PyResult<RangeInclusive<T>> {
    if low <= high {
        return Ok(low..=high);
    }
    Err(PyValueError::new_err(format!(
        "allow[{name:?}] must be a range, but {low} is above {high}"
    )))
}
