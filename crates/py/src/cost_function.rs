//! The host's cost function: one call per decision, with the candidates as columns.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use slotwise::{Candidate, EndpointId, Explanation, Seconds};
use slotwise_gateway::Classified;

/// The cost of each candidate, as the host's cost function returns it.
pub(crate) type Costs = HashMap<EndpointId, Seconds>;

/// A scheduler whose cost function runs on this thread. A cost function that calls `pick` of the
/// same scheduler runs recursively. The depth is limited, since the stack would overflow otherwise.
pub(crate) struct Asking(usize);

thread_local! {
    static ASKING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Asking {
    pub(crate) fn begin<T>(scheduler: &T) -> Result<Self, Reentered> {
        let scheduler = std::ptr::from_ref(scheduler).addr();
        ASKING.with_borrow_mut(|asking| {
            if asking.iter().filter(|one| **one == scheduler).count() >= DEEPEST {
                return Err(Reentered);
            }
            asking.push(scheduler);
            Ok(Self(scheduler))
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.with_borrow_mut(|asking| {
            // Calls that began later have ended.
            if let Some(at) = asking.iter().rposition(|scheduler| *scheduler == self.0) {
                asking.remove(at);
            }
        });
    }
}

/// The limit of recursion of a cost function.
const DEEPEST: usize = 16;

/// A cost function called `pick` recursively, beyond the limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reentered;

impl fmt::Display for Reentered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a cost function runs within itself {DEEPEST} times: \
             pick asks it, and it asks pick. Let it use what it is given, or explain()"
        )
    }
}

impl std::error::Error for Reentered {}

impl Classified for Reentered {
    const CLASS: &'static str = "CostFunctionError";

    fn code(&self) -> &'static str {
        "cost_function_reentered"
    }
}

/// Calls the cost function with the eligible endpoints, best first.
pub(crate) fn score(
    py: Python<'_>,
    cost: &Py<PyAny>,
    explanation: &Explanation,
) -> PyResult<Costs> {
    let candidates: Vec<&Candidate> =
        explanation.candidates.iter().filter(|candidate| candidate.excluded.is_none()).collect();
    if candidates.is_empty() {
        return Ok(Costs::new());
    }
    let columns = columns(py, &candidates, explanation.prompt_tokens)?;
    let answer = cost.bind(py).call1((columns,))?;
    let costs = floats(&answer)?;
    if costs.len() != candidates.len() {
        let (got, expected) = (costs.len(), candidates.len());
        let message = format!("the cost function returned {got} costs for {expected} candidates");
        return Err(PyValueError::new_err(message));
    }
    if let Some(at) = costs.iter().position(|cost| cost.is_nan()) {
        let name = &candidates[at].name;
        return Err(PyValueError::new_err(format!(
            "the cost function's cost of {name:?} is not a number"
        )));
    }
    Ok(candidates
        .iter()
        .zip(costs)
        .map(|(one, cost)| (one.endpoint_id, Seconds::new(cost)))
        .collect())
}

/// `slotwise.Candidates` with read-only buffers as columns.
fn columns<'py>(
    py: Python<'py>,
    candidates: &[&Candidate],
    prompt_tokens: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let memoryview = py.import("builtins")?.getattr("memoryview")?;
    let columns = PyDict::new(py);
    let put = |name: &str, bytes: Vec<u8>, format: &str| {
        let column =
            memoryview.call1((PyBytes::new(py, &bytes),))?.call_method1("cast", (format,))?;
        columns.set_item(name, column)
    };
    let integers = |name: &str, read: fn(&Candidate) -> u64| {
        put(
            name,
            candidates.iter().flat_map(|candidate| read(candidate).to_ne_bytes()).collect(),
            "Q",
        )
    };
    let seconds = |name: &str, read: fn(&Candidate) -> Seconds| {
        put(
            name,
            candidates.iter().flat_map(|candidate| read(candidate).get().to_ne_bytes()).collect(),
            "d",
        )
    };
    columns.set_item("prompt_tokens", prompt_tokens)?;
    columns
        .set_item("names", PyTuple::new(py, candidates.iter().map(|candidate| &candidate.name))?)?;
    integers("endpoints", |c| c.endpoint_id.as_u64())?;
    integers("cached_tokens", |c| c.cached_tokens.into())?;
    seconds("first_token_in", |c| c.first_token_in)?;
    seconds("queue", |c| c.terms.queue)?;
    seconds("kv_admission_wait", |c| c.terms.kv_admission_wait)?;
    seconds("prefill", |c| c.terms.prefill)?;
    seconds("cache_eviction", |c| c.terms.cache_eviction)?;
    seconds("kv", |c| c.terms.kv)?;
    seconds("decode", |c| c.terms.decode)?;
    seconds("adapter", |c| c.terms.adapter)?;
    seconds("failure_backoff", |c| c.terms.failure_backoff)?;
    seconds("cost", |c| c.cost)?;
    py.import("slotwise.values")?.getattr("Candidates")?.call((), Some(&columns))
}

fn floats(values: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    match PyBuffer::<f64>::get(values) {
        Ok(buffer) => buffer.to_vec(values.py()),
        Err(_) => values.try_iter()?.map(|item| item?.extract()).collect(),
    }
}
