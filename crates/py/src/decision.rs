//! Decisions as immutable values.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use slotwise_gateway::RejectionTexts;
use slotwise_wire::outcome;

/// The request is dispatched now.
#[derive(Clone, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise")]
pub(crate) struct Dispatch {
    pub(crate) answer: slotwise::Dispatch,
    #[pyo3(get)]
    pub(crate) endpoint_name: String,
    /// The endpoints of the stages before the answer.
    #[pyo3(get)]
    prefill: Option<Leg>,
    #[pyo3(get)]
    encode: Option<Leg>,
}

/// A stage of a request on an endpoint of its own.
#[derive(Clone, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise")]
pub(crate) struct Leg {
    leg: slotwise::Leg,
    #[pyo3(get)]
    endpoint_name: String,
}

#[pymethods]
impl Leg {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str) = ("endpoint_id", "endpoint_name");

    #[getter]
    fn endpoint_id(&self) -> u64 {
        self.leg.endpoint_id.as_u64()
    }

    #[getter]
    fn cached_tokens(&self) -> u32 {
        self.leg.cached_tokens
    }

    #[getter]
    fn cost(&self) -> f64 {
        self.leg.cost.get()
    }

    #[getter]
    fn done_in(&self) -> f64 {
        self.leg.done_in.get()
    }

    fn __hash__(&self) -> u64 {
        self.endpoint_id()
    }

    fn __repr__(&self) -> String {
        let (id, cached, cost) = (self.endpoint_id(), self.cached_tokens(), self.cost());
        let name = &self.endpoint_name;
        format!(
            "Leg(endpoint_id={id}, endpoint_name={name:?}, cached_tokens={cached}, cost={cost})"
        )
    }
}

impl Dispatch {
    /// The dispatch with the current name of its endpoint.
    pub(crate) fn new(core: &slotwise::Scheduler, answer: slotwise::Dispatch) -> Self {
        let name = |id| core.endpoint(id).map(|endpoint| endpoint.name.clone()).unwrap_or_default();
        let leg = |leg: slotwise::Leg| Leg { leg, endpoint_name: name(leg.endpoint_id) };
        let (prefill, encode) = (answer.prefill.map(leg), answer.encode.map(leg));
        Self { endpoint_name: name(answer.endpoint_id), prefill, encode, answer }
    }
}

#[pymethods]
impl Dispatch {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("request_id", "endpoint_id", "endpoint_name");

    #[getter]
    fn request_id(&self) -> u64 {
        self.answer.request_id.as_u64()
    }

    #[getter]
    fn endpoint_id(&self) -> u64 {
        self.answer.endpoint_id.as_u64()
    }

    #[getter]
    fn alternatives<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.answer.alternatives.iter().map(|id| id.as_u64()))
    }

    #[getter]
    fn prompt_tokens(&self) -> u32 {
        self.answer.prompt_tokens
    }

    #[getter]
    fn cached_tokens(&self) -> u32 {
        self.answer.cached_tokens
    }

    #[getter]
    fn best_cached_tokens(&self) -> u32 {
        self.answer.best_cached_tokens
    }

    #[getter]
    fn cost(&self) -> f64 {
        self.answer.cost.get()
    }

    #[getter]
    fn score(&self) -> Option<f64> {
        self.answer.score
    }

    #[getter]
    fn first_token_in(&self) -> f64 {
        self.answer.first_token_in.get()
    }

    #[getter]
    fn predicted_ttft(&self) -> f64 {
        self.answer.predicted_ttft.get()
    }

    #[getter]
    fn predicted_tpot(&self) -> f64 {
        self.answer.predicted_tpot.get()
    }

    #[getter]
    fn queue_time(&self) -> f64 {
        self.answer.queue_time.as_secs_f64()
    }

    #[getter]
    fn streams(&self) -> bool {
        self.answer.streams
    }

    #[pyo3(signature = (started = false))]
    fn idle_limit(&self, started: bool) -> f64 {
        self.answer.idle_limit(started).as_secs_f64()
    }

    fn __hash__(&self) -> u64 {
        self.request_id()
    }

    fn __repr__(&self) -> String {
        format!(
            "Dispatch(request_id={}, endpoint_id={}, endpoint_name={:?}, \
             prompt_tokens={}, cached_tokens={}, cost={})",
            self.request_id(),
            self.endpoint_id(),
            self.endpoint_name,
            self.prompt_tokens(),
            self.cached_tokens(),
            self.cost(),
        )
    }
}

/// The request is rejected.
#[derive(Clone, Eq, Hash, PartialEq)]
#[pyclass(frozen, eq, hash, module = "slotwise")]
pub(crate) struct Rejected {
    #[pyo3(get)]
    pub(crate) message: String,
    #[pyo3(get)]
    pub(crate) sentence: String,
    pub(crate) answer: Refusal,
}

/// The core's rejection, comparable and hashable.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Refusal {
    reason: slotwise::RejectReason,
    retry_after: Option<std::time::Duration>,
}

impl Rejected {
    /// The rejection of a request, with the message for its client.
    pub(crate) fn new(
        core: &slotwise::Scheduler,
        request: &slotwise::Request<'_>,
        rejected: slotwise::Rejected,
    ) -> Self {
        let RejectionTexts { sentence, message, .. } =
            RejectionTexts::new(core, request, &rejected);
        let answer = Refusal { reason: rejected.reason, retry_after: rejected.retry_after };
        Self { message, sentence, answer }
    }

    /// The response to the client.
    pub(crate) fn refusal(&self) -> outcome::Refusal<'_> {
        let refusal = outcome::Refusal::new(outcome::Reason::Rejected(self.answer.reason));
        let refusal = refusal.message(&self.sentence);
        self.answer.retry_after.map_or(refusal, |after| refusal.retry_after(after))
    }
}

#[pymethods]
impl Rejected {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("reason", "http_status", "retry_after");

    fn __getattr__(&self, name: &str) -> PyResult<Py<PyAny>> {
        Err(no_dispatch("Rejected", self.reason(), name))
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.answer.reason.code()
    }

    #[getter]
    fn http_status(&self) -> u16 {
        self.answer.reason.http_status()
    }

    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.answer.retry_after.map(|after| after.as_secs_f64())
    }

    fn __repr__(&self) -> String {
        let after =
            self.retry_after().map_or_else(|| String::from("None"), |after| after.to_string());
        format!(
            "Rejected(reason='{}', http_status={}, retry_after={after})",
            self.reason(),
            self.http_status()
        )
    }
}

/// The error for an unknown attribute of a refusal. Attributes of a dispatch get a hint.
fn no_dispatch(what: &str, reason: &str, name: &str) -> PyErr {
    const OF_DISPATCH: [&str; 9] = [
        "request_id",
        "endpoint_id",
        "endpoint_name",
        "alternatives",
        "prompt_tokens",
        "cached_tokens",
        "best_cached_tokens",
        "cost",
        "first_token_in",
    ];
    let mut message = format!("{what:?} object has no attribute {name:?}");
    if OF_DISPATCH.contains(&name) {
        message = format!(
            "this request was not dispatched ({reason}), so it has no {name}: \
             ask isinstance(decision, slotwise.Dispatch) first, or use \
             slotwise.aio.Scheduler.acquire(), which raises"
        );
    }
    PyAttributeError::new_err(message)
}

/// A waiting request is evicted.
#[derive(Clone, Eq, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise")]
pub(crate) struct Evicted(pub(crate) slotwise::Evicted);

#[pymethods]
impl Evicted {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("request_id", "reason", "retry_after");

    #[getter]
    fn request_id(&self) -> u64 {
        self.0.request_id.as_u64()
    }

    fn __getattr__(&self, name: &str) -> PyResult<Py<PyAny>> {
        Err(no_dispatch("Evicted", self.reason(), name))
    }

    #[getter]
    fn reason(&self) -> &'static str {
        self.0.reason.code()
    }

    #[getter]
    fn http_status(&self) -> u16 {
        self.0.reason.http_status()
    }

    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.0.retry_after.map(|after| after.as_secs_f64())
    }

    #[getter]
    fn queue_time(&self) -> f64 {
        self.0.queue_time.as_secs_f64()
    }

    #[getter]
    fn message(&self) -> String {
        self.0.to_string()
    }

    #[getter]
    fn sentence(&self) -> String {
        self.0.reason.to_string()
    }

    fn __hash__(&self) -> u64 {
        self.request_id()
    }

    fn __repr__(&self) -> String {
        let after =
            self.retry_after().map_or_else(|| String::from("None"), |after| after.to_string());
        format!(
            "Evicted(request_id={}, reason='{}', http_status={}, \
             retry_after={after}, queue_time={})",
            self.request_id(),
            self.reason(),
            self.http_status(),
            self.queue_time(),
        )
    }
}
