//! slotwise for Python: convert, call, convert.
//!
//! | file | what it converts |
//! |---|---|
//! | `scheduler` | calls |
//! | `request`, `prompt` | what a request asks for, without copying its text |
//! | `answer` | decisions |
//! | `event` | what engines say about their caches |
//! | `plain` | whatever is not in a hurry: configuration, endpoints, explanations, statistics |
//! | `scorer` | candidates for a cost of the host's own, and its answer |
//! | `error` | errors to exceptions of their kind |

mod answer;
mod error;
mod event;
mod plain;
mod prompt;
mod request;
mod scheduler;
mod scorer;

use pyo3::prelude::*;

/// Decides where LLM requests go: the native part of `slotwise`.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::answer::{Dispatch, Evicted, Rejected};
    #[pymodule_export]
    use super::scheduler::Scheduler;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// The default configuration as JSON.
    #[pyfunction]
    fn default_config() -> PyResult<String> {
        plain::to_json(&slotwise::Config::default())
    }

    /// The defaults of what the default configuration does without, as JSON.
    #[pyfunction]
    fn default_options() -> PyResult<String> {
        plain::to_json(&(
            slotwise::GuardConfig::default(),
            slotwise::UtilizationDetector::default(),
            slotwise::ConcurrencyDetector::default(),
        ))
    }
}
