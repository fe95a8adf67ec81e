//! The time of a call: its `now`, or else the time of the scheduler's clock.

use std::time::Instant as HostInstant;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use slotwise::Instant;

use crate::request::instant;

/// The clock of a scheduler.
pub(super) enum Clock {
    /// `time.monotonic()` without a call: its value at the scheduler's creation, plus the time
    /// since then.
    Host { reading: f64, taken: HostInstant },
    /// A callable that returns seconds.
    Given(Py<PyAny>),
}

/// Seconds that a `now` may be ahead of the host's clock. A `now` further ahead is on another
/// clock. It would stop all timeouts for good, since the scheduler's time never goes back.
const FURTHEST_AHEAD: f64 = 3_600.0;

impl Clock {
    pub(super) fn new(py: Python<'_>, given: Option<Py<PyAny>>) -> PyResult<Self> {
        let Some(clock) = given else {
            let reading = py.import("time")?.call_method0("monotonic")?.extract()?;
            return Ok(Self::Host { reading, taken: HostInstant::now() });
        };
        if !clock.bind(py).is_callable() {
            let message = format!("clock must be callable, not {}", clock.bind(py).get_type());
            return Err(PyTypeError::new_err(message));
        }
        Ok(Self::Given(clock))
    }

    /// `now`, or else the clock's time. A callable clock runs Python, so no lock may be held.
    pub(super) fn read(&self, py: Python<'_>, now: Option<f64>) -> PyResult<Instant> {
        match (now, self) {
            (Some(now), Self::Host { reading, taken }) => {
                let clock = reading + taken.elapsed().as_secs_f64();
                if now > clock + FURTHEST_AHEAD {
                    return Err(PyValueError::new_err(format!(
                        "now must be seconds on the clock of time.monotonic(), which shows \
                         {clock:.3}: \
                         {now} is more than an hour ahead, and time never goes back. Pass \
                         time.monotonic() and not time.time(), or make the scheduler with \
                         a clock of your own (clock=)"
                    )));
                }
                instant("now", now)
            }
            (Some(now), Self::Given(_)) => instant("now", now),
            (None, Self::Host { reading, taken }) => {
                instant("now", reading + taken.elapsed().as_secs_f64())
            }
            (None, Self::Given(clock)) => {
                let reading = clock.bind(py).call0()?;
                let seconds = reading.extract().map_err(|_| {
                    PyTypeError::new_err(format!(
                        "clock() must return seconds, not {}",
                        reading.get_type()
                    ))
                })?;
                instant("clock()", seconds)
            }
        }
    }

    /// The callable, for the garbage collector.
    pub(super) const fn callable(&self) -> Option<&Py<PyAny>> {
        match self {
            Self::Host { .. } => None,
            Self::Given(clock) => Some(clock),
        }
    }
}
