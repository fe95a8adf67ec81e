//! slotwise for Python: convert, call, convert.
//!
//! | file | what it converts |
//! |---|---|
//! | `scheduler` | calls |
//! | `request`, `prompt` | what a request asks for, without copying its text |
//! | `answer` | decisions |
//! | `id` | ids, and what is given in their place |
//! | `shared` | nothing: what threads share, also across `fork` |
//! | `event` | what engines say about their caches |
//! | `plain` | whatever is not in a hurry: configuration, endpoints, explanations, statistics |
//! | `scorer` | candidates for a cost of the host's own, and its answer |
//! | `body` | requests as clients send them |
//! | `metrics`, `kv` | what engines say of themselves, as bytes |
//! | `response` | what engines answer |
//! | `told` | what clients and traces are told |
//! | `error` | errors to exceptions of their kind |

mod allow;
mod answer;
mod body;
mod error;
mod event;
mod id;
mod kv;
mod metrics;
mod plain;
mod prompt;
mod request;
mod response;
mod scheduler;
mod scorer;
mod shared;
mod told;

use pyo3::prelude::*;

/// Decides where LLM requests go: the native part of `slotwise`.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::answer::{Dispatch, Evicted, Rejected};
    #[pymodule_export]
    use super::body::{add_usage, api_of_path, read_headers, read_request, rewrite_model};
    #[pymodule_export]
    use super::kv::{KvReport, block_hashes, read_kv_batch, read_kv_frames, replay_request};
    #[pymodule_export]
    use super::metrics::{read_metrics, read_orca};
    #[pymodule_export]
    use super::response::{AnswerFilter, ModelFilter, Outcome, Progress, ResponseReader, outcome_of_status};
    #[pymodule_export]
    use super::scheduler::Scheduler;
    #[pymodule_export]
    use super::told::{attributes_of_dispatch, attributes_of_refusal, attributes_of_usage, refusal};

    #[pymodule_export]
    use super::shared::after_fork;

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
