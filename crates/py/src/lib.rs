//! slotwise for Python: convert, call, convert.
//!
//! | file | what it converts |
//! |---|---|
//! | `scheduler/` | the calls of a scheduler, its lock and its clock |
//! | `request`, `prompt`, `body`, `allow` | a request's options, without a copy of its text |
//! | `decision` | decisions to immutable Python objects |
//! | `refusal` | refusals and span attributes, for clients and traces |
//! | `ids` | the ids of endpoints and requests |
//! | `shared` | nothing: locks that stay safe across `fork` |
//! | `kv_event`, `kv` | KV events as objects, and as the frames that engines send |
//! | `metrics` | metrics pages and ORCA headers |
//! | `ingress` | the ingress of a gateway, called for each request |
//! | `machine` | routing and the like, as JSON |
//! | `peers` | messages between the gateways of a pool |
//! | `policy` | the reference's policies, as JSON |
//! | `lease` | a request in flight, and the part of its answer that has been read |
//! | `exchange` | a client's request, over several attempts |
//! | `response` | an engine's response, and its outcome |
//! | `cost_function` | candidates to columns for the host's cost function, and its costs back |
//! | `serde_bridge` | configuration, endpoints, explanations and statistics, as JSON |
//! | `error` | errors to exceptions |

mod allow;
mod body;
mod cost_function;
mod decision;
mod error;
mod exchange;
mod ids;
mod ingress;
mod kv;
mod kv_event;
mod lease;
mod machine;
mod metrics;
mod peers;
mod policy;
mod prompt;
mod refusal;
mod request;
mod response;
mod scheduler;
mod serde_bridge;
mod shared;

use pyo3::prelude::*;
use slotwise_gateway::json::write_config;

/// Decides where LLM requests go: the native part of `slotwise`.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::body::{
        add_usage, api_of_path, forwarded_headers, kv_transfer_body, kv_transfer_params,
        read_headers, read_request, response_headers, rewrite_model,
    };
    #[pymodule_export]
    use super::decision::{Dispatch, Evicted, Leg, Rejected};
    #[pymodule_export]
    use super::exchange::{Call, Exchange};
    #[pymodule_export]
    use super::ingress::Ingress;
    #[pymodule_export]
    use super::kv::{
        KvReport, ReplayRequest, block_hashes, read_kv_batch, read_kv_frames, replay_request,
    };
    #[pymodule_export]
    use super::lease::{Answer, Lease};
    #[pymodule_export]
    use super::machine::Machine;
    #[pymodule_export]
    use super::metrics::{read_metrics, read_orca};
    #[pymodule_export]
    use super::peers::{PeerLink, seed_of_peers};
    #[pymodule_export]
    use super::policy::call_policy;
    #[pymodule_export]
    use super::refusal::{
        attributes_of_dispatch, attributes_of_refusal, attributes_of_usage, refusal,
    };
    #[pymodule_export]
    use super::response::{
        AnswerFilter, ModelFilter, Outcome, Progress, ResponseReader, outcome_of_status,
    };
    #[pymodule_export]
    use super::scheduler::Scheduler;

    #[pymodule_export]
    use super::shared::after_fork;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// The default configuration as JSON.
    #[pyfunction]
    fn default_config() -> String {
        write_config(&slotwise::Config::default())
    }

    /// The prices that follow from a service level in seconds, as JSON.
    #[pyfunction]
    #[pyo3(signature = (*, ttft, tpot))]
    fn prices_for_service_level(ttft: f64, tpot: f64) -> PyResult<String> {
        let (ttft, tpot) = (request::duration("ttft", ttft)?, request::duration("tpot", tpot)?);
        serde_bridge::to_json(&slotwise::CostPrices::for_service_level(ttft, tpot))
    }

    /// The defaults of options that are off in the default configuration, as JSON.
    #[pyfunction]
    fn default_options() -> PyResult<String> {
        serde_bridge::to_json(&(
            slotwise::SessionAdmissionConfig::default(),
            slotwise::UtilizationDetector::default(),
            slotwise::ConcurrencyDetector::default(),
            slotwise::DisaggregationConfig::default(),
        ))
    }
}
