//! The ingress: headers and fields in, tuples out. `slotwise.ingress` makes its values of them.
//!
//! A refusal is text: JSON for `slotwise.gates.RefusedError`.

use std::borrow::Cow;
use std::sync::Mutex;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use slotwise::Usage;
use slotwise_gateway::gates::Caller;
use slotwise_gateway::ingress::{Admitted, Refused, Target, Tokens};
use slotwise_gateway::machines::IngressMachine;
use slotwise_gateway::routing::Inquiry;

use crate::body::Pairs;
use crate::machine::raised;
use crate::request::instant;
use crate::shared::lock;

/// Who may send a request, what may pass, and which pool serves it.
#[pyclass(frozen, module = "slotwise._core")]
pub(crate) struct Ingress(pub(crate) Mutex<IngressMachine>);

#[pymethods]
impl Ingress {
    /// Creates an ingress from its arguments as JSON.
    #[new]
    fn new(arguments: &str) -> PyResult<Self> {
        let ingress = IngressMachine::of_json(arguments).map_err(|error| raised(&error))?;
        Ok(Self(Mutex::new(ingress)))
    }

    fn set_config(&self, py: Python<'_>, arguments: &str) -> PyResult<()> {
        lock(&self.0, py).set_config_of_json(arguments).map_err(|error| raised(&error))
    }

    /// The fields of the caller, or the refusal.
    #[pyo3(signature = (headers, client = None))]
    fn identify<'py>(
        &self,
        py: Python<'py>,
        headers: &Bound<'py, PyAny>,
        client: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pairs = Pairs::read(headers)?;
        let headers = pairs.texts()?;
        let identified = lock(&self.0, py).identify(&borrowed(&headers), client);
        identified.map_or_else(
            |refused| refusal(py, &refused),
            |caller| caller_of(&caller).into_bound_py_any(py),
        )
    }

    /// The number and the fields of the admitted request, or the refusal.
    #[pyo3(signature = (now, model, path, method, headers, client, session, objective,
        prompt_tokens, output_tokens))]
    #[expect(clippy::too_many_arguments, reason = "the fields of a request")]
    fn admit<'py>(
        &self,
        py: Python<'py>,
        now: f64,
        model: &str,
        path: &str,
        method: &str,
        headers: &Bound<'py, PyAny>,
        client: Option<&str>,
        session: Option<&str>,
        objective: Option<&str>,
        prompt_tokens: u64,
        output_tokens: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = instant("now", now)?;
        let pairs = Pairs::read(headers)?;
        let headers = pairs.texts()?;
        let headers = borrowed(&headers);
        let inquiry = Inquiry { model, method, path, headers: &headers, session, objective };
        let tokens = Tokens { prompt: prompt_tokens, output: output_tokens };
        match lock(&self.0, py).admit(now, client, &inquiry, tokens) {
            Ok((number, admitted)) => fields_of(py, number, admitted),
            Err(refused) => refusal(py, &refused),
        }
    }

    fn settle(
        &self,
        py: Python<'_>,
        now: f64,
        number: u64,
        prompt_tokens: Option<u32>,
        completion_tokens: Option<u32>,
    ) -> PyResult<bool> {
        let mut usage = Usage::default();
        (usage.prompt_tokens, usage.completion_tokens) = (prompt_tokens, completion_tokens);
        Ok(lock(&self.0, py).settle(instant("now", now)?, number, &usage))
    }

    fn cancel(&self, py: Python<'_>, now: f64, number: u64) -> PyResult<bool> {
        Ok(lock(&self.0, py).cancel(instant("now", now)?, number))
    }

    fn models(&self, py: Python<'_>, key: Option<&str>) -> Vec<String> {
        lock(&self.0, py).models(key).into_iter().map(str::to_owned).collect()
    }
}

fn fields_of<'py>(
    py: Python<'py>,
    number: u64,
    admitted: &Admitted,
) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    let given = admitted.options();
    if let Some(flow) = given.flow {
        options.set_item("flow", flow)?;
    }
    if let Some(priority) = given.priority {
        options.set_item("priority", priority.0)?;
    }
    if let Some(weight) = given.weight {
        options.set_item("weight", weight)?;
    }
    let targets = |targets: &[Target]| -> PyResult<Vec<Bound<'py, PyTuple>>> {
        targets.iter().map(|target| target_of(target).into_pyobject(py)).collect()
    };
    (
        number,
        caller_of(&admitted.caller),
        admitted.rule.as_deref(),
        targets(&admitted.targets)?,
        targets(&admitted.mirrors)?,
        options,
        admitted.session.as_deref(),
        admitted.timeout.map(|time| time.as_secs_f64()),
        admitted.headers(),
        admitted.answers_as.as_deref(),
    )
        .into_bound_py_any(py)
}

type CallerFields<'a> = (&'a str, bool, Option<&'a str>, Option<i32>, Option<f64>);

fn caller_of(caller: &Caller) -> CallerFields<'_> {
    let priority = caller.priority().map(|priority| priority.0);
    (caller.name(), caller.is_anonymous(), caller.tenant(), priority, caller.weight())
}

fn target_of(target: &Target) -> (&str, &str, &str, Option<&str>) {
    (&target.pool, &target.model, &target.base, target.adapter.as_deref())
}

fn refusal<'py>(py: Python<'py>, refused: &Refused) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyString::new(py, &IngressMachine::refusal_to_json(refused)).into_any())
}

fn borrowed<'a>(headers: &'a [(Cow<'_, str>, Cow<'_, str>)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (&**name, &**value)).collect()
}
