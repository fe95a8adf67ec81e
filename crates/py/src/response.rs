//! Responses of engines: their readers and outcomes.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use slotwise::Usage;
use slotwise_gateway::names;
use slotwise_wire::response::{self, Body, CloseReason, Disposition, FinishReason};

use crate::error::named;
use crate::prompt::bytes;
use crate::serde_bridge::to_python;
use crate::shared::lock;

/// Reads a response chunk by chunk.
#[pyclass(frozen, module = "slotwise.wire")]
pub(crate) struct ResponseReader(Mutex<Reading>);

struct Reading {
    reader: response::ResponseReader,
    /// The outcome, after the end.
    outcome: Option<response::Outcome>,
}

impl ResponseReader {
    /// Reads the next chunk of the body. Has no effect after the end.
    pub(crate) fn read(&self, py: Python<'_>, chunk: &[u8]) -> response::Progress {
        let mut reading = lock(&self.0, py);
        match reading.outcome {
            None => reading.reader.feed(chunk),
            Some(_) => response::Progress::default(),
        }
    }

    /// Ends the body. Only the first call counts.
    pub(crate) fn end(&self, py: Python<'_>, close: CloseReason) -> response::Outcome {
        let mut reading = lock(&self.0, py);
        let Reading { reader, outcome } = &mut *reading;
        *outcome.get_or_insert_with(|| reader.clone().finish(close))
    }
}

#[pymethods]
impl ResponseReader {
    #[new]
    fn new(status: u16, content_type: &str) -> Self {
        let reader = response::ResponseReader::new(status, content_type);
        Self(Mutex::new(Reading { reader, outcome: None }))
    }

    fn feed(&self, chunk: &Bound<'_, PyAny>) -> PyResult<Progress> {
        Ok(Progress(self.read(chunk.py(), &bytes(chunk, "chunk")?)))
    }

    #[pyo3(signature = (close = "clean"))]
    fn finish(&self, py: Python<'_>, close: &str) -> PyResult<Outcome> {
        Ok(Outcome(self.end(py, named("close", close)?)))
    }

    #[getter]
    fn is_stream(&self, py: Python<'_>) -> bool {
        lock(&self.0, py).reader.body() == Body::Stream
    }

    #[getter]
    fn begun(&self, py: Python<'_>) -> bool {
        lock(&self.0, py).reader.has_begun()
    }

    #[getter]
    fn tokens(&self, py: Python<'_>) -> u32 {
        lock(&self.0, py).reader.tokens().0
    }

    #[getter]
    fn exact(&self, py: Python<'_>) -> bool {
        lock(&self.0, py).reader.tokens().1
    }

    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let usage = lock(&self.0, py).reader.usage();
        self::usage(py, usage)
    }

    #[getter]
    fn finish_reason(&self, py: Python<'_>) -> Option<&'static str> {
        lock(&self.0, py).reader.finish_reason().map(FinishReason::as_str)
    }

    #[getter]
    fn outcome(&self, py: Python<'_>) -> Option<Outcome> {
        lock(&self.0, py).outcome.map(Outcome)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let reading = lock(&self.0, py);
        let (tokens, body) = (reading.reader.tokens().0, reading.reader.body().as_str());
        let end = reading.outcome.map_or("reading", |outcome| outcome.end.as_str());
        format!("<ResponseReader of a {body} body, {tokens} tokens, {end}>")
    }
}

/// The content of a chunk.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise.wire")]
pub(crate) struct Progress(pub(crate) response::Progress);

#[pymethods]
impl Progress {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("first_token", "tokens", "ended");

    #[new]
    #[pyo3(signature = (*, first_token = false, tokens = 0, ended = false))]
    fn new(first_token: bool, tokens: u32, ended: bool) -> Self {
        let mut progress = response::Progress::default();
        (progress.first_token, progress.tokens, progress.ended) = (first_token, tokens, ended);
        Self(progress)
    }

    #[getter]
    fn first_token(&self) -> bool {
        self.0.first_token
    }

    #[getter]
    fn tokens(&self) -> u32 {
        self.0.tokens
    }

    #[getter]
    fn ended(&self) -> bool {
        self.0.ended
    }

    fn __repr__(&self) -> String {
        let (first_token, ended) = (python(self.0.first_token), python(self.0.ended));
        format!("Progress(first_token={first_token}, tokens={}, ended={ended})", self.0.tokens)
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Eq, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise.wire")]
pub(crate) struct Outcome(pub(crate) response::Outcome);

#[pymethods]
impl Outcome {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("end", "retry", "finish_reason");

    #[getter]
    fn end(&self) -> &'static str {
        self.0.end.as_str()
    }

    #[getter]
    fn retry(&self) -> &'static str {
        self.0.retry.as_str()
    }

    #[getter]
    fn finish_reason(&self) -> Option<&'static str> {
        self.0.finish_reason.map(FinishReason::as_str)
    }

    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        usage(py, self.0.usage)
    }

    #[getter]
    fn tokens(&self) -> u32 {
        self.0.tokens
    }

    #[getter]
    fn exact(&self) -> bool {
        self.0.exact
    }

    #[getter]
    fn status(&self) -> u16 {
        self.0.status
    }

    #[getter]
    fn unreadable(&self) -> u32 {
        self.0.unreadable
    }

    #[getter]
    fn problem<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0
            .problem
            .map(|problem| to_python(py, ("slotwise.reports", "decode_problem"), &problem))
            .transpose()
    }

    #[getter]
    fn complete(&self) -> bool {
        self.0.is_complete()
    }

    #[getter]
    fn settlement(&self) -> &'static str {
        self.0.settlement().as_str()
    }

    #[getter]
    fn failure(&self) -> Option<&'static str> {
        match self.0.settlement() {
            Disposition::Fail(failure) => names::name_of(failure),
            _ => None,
        }
    }

    fn may_retry(&self, sent: bool) -> bool {
        self.0.may_retry(sent)
    }

    fn __repr__(&self) -> String {
        let reason = self
            .finish_reason()
            .map_or_else(|| String::from("None"), |reason| format!("'{reason}'"));
        format!(
            "Outcome(end='{}', retry='{}', finish_reason={reason}, tokens={}, status={})",
            self.end(),
            self.retry(),
            self.0.tokens,
            self.0.status,
        )
    }
}

/// Replaces the engine's model name in a response by the client's.
#[pyclass(frozen, module = "slotwise.wire")]
pub(crate) struct ModelFilter(Mutex<response::ModelFilter>);

#[pymethods]
impl ModelFilter {
    #[new]
    fn new(content_type: &str, name: &str) -> Self {
        Self(Mutex::new(response::ModelFilter::new(Body::of(content_type), name)))
    }

    fn feed<'py>(&self, chunk: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let (py, mut passed) = (chunk.py(), Vec::new());
        let chunk = bytes(chunk, "chunk")?;
        lock(&self.0, py).feed(&chunk, &mut passed);
        Ok(PyBytes::new(py, &passed))
    }
}

/// Passes a response on as if the client's own request had been sent.
#[pyclass(frozen, module = "slotwise.wire")]
pub(crate) struct AnswerFilter(Mutex<response::AnswerFilter>);

#[pymethods]
impl AnswerFilter {
    #[new]
    #[pyo3(signature = (content_type, *, model = None, drop_usage = false))]
    fn new(content_type: &str, model: Option<&str>, drop_usage: bool) -> Self {
        Self(Mutex::new(response::AnswerFilter::new(Body::of(content_type), model, drop_usage)))
    }

    fn feed<'py>(&self, chunk: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let (py, mut passed) = (chunk.py(), Vec::new());
        let chunk = bytes(chunk, "chunk")?;
        lock(&self.0, py).feed(&chunk, &mut passed);
        Ok(PyBytes::new(py, &passed))
    }

    fn finish<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut passed = Vec::new();
        lock(&self.0, py).finish(&mut passed);
        PyBytes::new(py, &passed)
    }
}

/// `slotwise.Usage` of what an engine reported.
pub(crate) fn usage<'py>(py: Python<'py>, usage: Usage) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("prompt_tokens", usage.prompt_tokens)?;
    fields.set_item("cached_tokens", usage.cached_tokens)?;
    fields.set_item("completion_tokens", usage.completion_tokens)?;
    py.import("slotwise.values")?.getattr("Usage")?.call((), Some(&fields))
}

const fn python(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

/// The outcome of a response with this status.
#[pyfunction]
pub(crate) fn outcome_of_status(status: u16) -> Outcome {
    Outcome(response::Outcome::of_status(status))
}
