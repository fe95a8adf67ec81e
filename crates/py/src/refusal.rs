//! Refusals for clients, and span attributes for traces.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use slotwise::{Priority, Request, Usage};
use slotwise_gateway::names;
use slotwise_wire::exposition::{dispatch_attributes, refusal_attributes, usage_attributes};
use slotwise_wire::outcome::Refusal;

use crate::decision::{Dispatch, Evicted, Rejected};
use crate::error::{named, unknown};
use crate::request::duration;
use crate::serde_bridge::to_json;

/// A refusal, from a decision or from the code of a reason.
pub(crate) fn refusal_of<'a>(reason: &'a Bound<'_, PyAny>) -> PyResult<Refusal<'a>> {
    if let Ok(rejected) = reason.cast::<Rejected>() {
        return Ok(rejected.get().refusal());
    }
    if let Ok(evicted) = reason.cast::<Evicted>() {
        return Ok(Refusal::from(&evicted.get().0));
    }
    let code: &str = reason.extract().map_err(|_| {
        let kind = reason.get_type();
        PyTypeError::new_err(format!(
            "reason must be a code, Rejected, Evicted or RejectedError, not {kind}"
        ))
    })?;
    let known = names::reason(code, false);
    known.map(Refusal::new).map_err(|error| unknown("reason", error))
}

/// Status, headers and body of the response to a client.
#[pyfunction]
#[pyo3(signature = (reason, *, retry_after = None, message = None, shape = "openai"))]
#[expect(clippy::type_complexity, reason = "a tuple in Python")]
pub(crate) fn refusal<'py>(
    reason: &Bound<'py, PyAny>,
    retry_after: Option<f64>,
    message: Option<&str>,
    shape: &str,
) -> PyResult<(u16, Vec<(&'static str, String)>, Bound<'py, PyBytes>)> {
    let mut refusal: Refusal<'_> = refusal_of(reason)?;
    refusal.message = message.or(refusal.message);
    if let Some(after) = retry_after {
        refusal.retry_after = Some(duration("retry_after", after)?);
    }
    let shape = named("shape", shape)?;
    let headers = refusal.headers().map(|(name, value)| (name, value.into_owned())).collect();
    Ok((refusal.status(), headers, PyBytes::new(reason.py(), refusal.body(shape).as_bytes())))
}

/// The attributes of a dispatch, as JSON.
#[pyfunction]
pub(crate) fn attributes_of_dispatch(
    dispatch: &Dispatch,
    model: &str,
    adapter: Option<&str>,
    session: Option<&str>,
    flow: &str,
    priority: i32,
) -> PyResult<String> {
    let mut request = Request::new(model).flow(flow).priority(Priority(priority));
    (request.adapter, request.session) = (adapter, session);
    to_json(&dispatch_attributes(&request, &dispatch.answer, &dispatch.endpoint_name))
}

/// The attributes of a usage, as JSON.
#[pyfunction]
pub(crate) fn attributes_of_usage(
    prompt_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    completion_tokens: Option<u32>,
) -> PyResult<String> {
    let mut usage = Usage::default();
    usage.prompt_tokens = prompt_tokens;
    usage.cached_tokens = cached_tokens;
    usage.completion_tokens = completion_tokens;
    to_json(&usage_attributes(&usage))
}

/// The attributes of a refusal, as JSON.
#[pyfunction]
pub(crate) fn attributes_of_refusal(reason: &Bound<'_, PyAny>) -> PyResult<String> {
    let queued =
        reason.cast::<Evicted>().map_or(Duration::ZERO, |evicted| evicted.get().0.queue_time);
    to_json(&refusal_attributes(&refusal_of(reason)?, queued))
}
