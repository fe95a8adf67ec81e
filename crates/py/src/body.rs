//! Requests in the form that clients send: bodies and headers.

use std::borrow::Cow;
use std::sync::Mutex;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use slotwise::Prompt;
use slotwise_gateway::names;
use slotwise_wire::headers::{Forwarding, RequestHeaders};
use slotwise_wire::request::{Api, KvTransfer, RequestReader, RequestView};

use crate::error::{named, raise_wire, unknown};
use crate::prompt::bytes;
use crate::serde_bridge::to_json;

/// Idle readers, with their buffers.
#[derive(Default)]
pub(crate) struct Readers(Mutex<Vec<RequestReader>>);

impl Readers {
    /// Reads a body and passes it on. No lock is held meanwhile, because a cost function may call
    /// the scheduler.
    pub(crate) fn with<T>(
        &self,
        py: Python<'_>,
        api: Api,
        body: &[u8],
        hand_on: impl FnOnce(&RequestView<'_>) -> PyResult<T>,
    ) -> PyResult<T> {
        // Never waits: a lock that was held at the fork is never released.
        let idle = self.0.try_lock().ok().and_then(|mut idle| idle.pop());
        let mut reader = idle.unwrap_or_default();
        let view = if body.len() < LONG_BODY {
            reader.read(api, body)
        } else {
            py.detach(|| reader.read(api, body))
        };
        let answer = view.map_err(raise_wire).and_then(|view| hand_on(&view));
        reader.shrink_to(KEPT_BYTES);
        match self.0.try_lock() {
            Ok(mut idle) if idle.len() < KEPT_READERS => idle.push(reader),
            _ => {}
        }
        answer
    }
}

/// Bytes of a body above which other Python threads may run while it is read: about 100 us of work.
const LONG_BODY: usize = 128 << 10;

/// The number of idle readers that are kept, and the capacity that each of their buffers keeps.
const KEPT_READERS: usize = 8;
const KEPT_BYTES: usize = 1 << 20;

/// The API of a path.
pub(crate) fn api_at(path: &str) -> PyResult<Api> {
    names::api_at(path).map_err(|error| unknown("path", error))
}

/// The headers of a request, as Python objects.
pub(crate) struct Pairs<'py>(Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>);

impl<'py> Pairs<'py> {
    /// Reads pairs of `str` or `bytes` from an iterable, or from an object with `items()`.
    pub(crate) fn read(headers: &Bound<'py, PyAny>) -> PyResult<Self> {
        let items = headers.getattr_opt("items")?.map(|items| items.call0()).transpose()?;
        let pairs = items.as_ref().unwrap_or(headers).try_iter().map_err(|_| not_pairs(headers))?;
        pairs.map(|pair| pair.and_then(|pair| Self::pair(&pair))).collect::<PyResult<_>>().map(Self)
    }

    fn pair(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let pair = match pair.cast::<PyList>() {
            Ok(list) => list.to_tuple(),
            Err(_) => pair.cast::<PyTuple>().map_err(|_| not_pairs(pair))?.clone(),
        };
        let (name, value) = pair.extract().map_err(|_| not_pairs(pair.as_any()))?;
        Ok((name, value))
    }

    /// The names.
    fn names(&self) -> PyResult<Vec<&[u8]>> {
        self.0.iter().map(|(name, _)| slice(name)).collect()
    }

    pub(crate) fn slices(&self) -> PyResult<Vec<(&[u8], &[u8])>> {
        self.0.iter().map(|(name, value)| Ok((slice(name)?, slice(value)?))).collect()
    }

    /// The pairs as text. Bytes that are no text are replaced.
    pub(crate) fn texts(&self) -> PyResult<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
        self.0.iter().map(|(name, value)| Ok((decoded(name)?, decoded(value)?))).collect()
    }
}

fn not_pairs(value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "headers must be pairs of a name and a value, not {}",
        value.get_type()
    ))
}

fn slice<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = text.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    match text.cast::<PyString>() {
        Ok(text) => Ok(text.to_str()?.as_bytes()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a header must be str or bytes, not {}",
            text.get_type()
        ))),
    }
}

fn decoded<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, str>> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(text.to_string_lossy()),
        Err(_) => slice(value).map(String::from_utf8_lossy),
    }
}

// Functions of `slotwise.wire`.

/// The name of the API at a path.
#[pyfunction]
pub(crate) fn api_of_path(path: &str) -> Option<&'static str> {
    Api::of_path(path).map(Api::as_str)
}

/// The fields of a body as JSON, and its prompt: text, or a list of token ids.
#[pyfunction]
#[pyo3(signature = (body, api = None, path = None))]
pub(crate) fn read_request<'py>(
    body: &Bound<'py, PyAny>,
    api: Option<&str>,
    path: Option<&str>,
) -> PyResult<(String, Bound<'py, PyAny>)> {
    let py = body.py();
    let api = which(api, path)?;
    Readers::default().with(py, api, &bytes(body, "body")?, |view| {
        let prompt = match view.prompt {
            Prompt::Tokens(ids) => PyList::new(py, ids)?.into_any(),
            Prompt::Text(text) => PyBytes::new(py, text).into_any(),
            _ => py.None().into_bound(py),
        };
        Ok((to_json(view)?, prompt))
    })
}

/// Replaces the model in a body.
#[pyfunction]
pub(crate) fn rewrite_model<'py>(
    body: &Bound<'py, PyAny>,
    model: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let rewritten = slotwise_wire::request::rewrite_model(&bytes(body, "body")?, model);
    rewritten.map(|rewritten| PyBytes::new(body.py(), &rewritten)).map_err(raise_wire)
}

/// Requests usage in a body. Returns the body, and whether it changed.
#[pyfunction]
#[pyo3(signature = (body, api = None, path = None))]
pub(crate) fn add_usage<'py>(
    body: &Bound<'py, PyAny>,
    api: Option<&str>,
    path: Option<&str>,
) -> PyResult<(Bound<'py, PyBytes>, bool)> {
    let api = which(api, path)?;
    let bytes = bytes(body, "body")?;
    let added = slotwise_wire::request::add_usage(api, &bytes).map_err(raise_wire)?;
    let asks = added.is_some();
    Ok((PyBytes::new(body.py(), added.as_deref().unwrap_or(&bytes)), asks))
}

/// The body for one of the engines of a disaggregated request.
#[pyfunction]
#[pyo3(signature = (body, transfer, api = None, path = None, parameters = None, host = "",
    port = KvTransfer::BOOTSTRAP_PORT, room = 0))]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn kv_transfer_body<'py>(
    body: &Bound<'py, PyAny>,
    transfer: &str,
    api: Option<&str>,
    path: Option<&str>,
    parameters: Option<&str>,
    host: &str,
    port: u16,
    room: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let transfer = names::kv_transfer(transfer, parameters, (host, port, room))
        .map_err(|error| unknown("transfer", error))?;
    let (api, bytes) = (which(api, path)?, bytes(body, "body")?);
    let changed = transfer.apply(api, &bytes).map_err(raise_wire)?;
    Ok(PyBytes::new(body.py(), &changed))
}

/// The parameters in the answer of a prefilling engine, as JSON.
#[pyfunction]
pub(crate) fn kv_transfer_params(answer: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let bytes = bytes(answer, "answer")?;
    let found = slotwise_wire::request::kv_transfer_params(&bytes).map_err(raise_wire)?;
    Ok(found.map(String::from))
}

/// The API with this name, or at this path.
fn which(api: Option<&str>, path: Option<&str>) -> PyResult<Api> {
    match (api, path) {
        (Some(name), None) => named("api", name),
        (None, Some(path)) => api_at(path),
        _ => Err(PyTypeError::new_err("expected either api or path")),
    }
}

/// The fields of headers, as JSON.
#[pyfunction]
pub(crate) fn read_headers(pairs: &Bound<'_, PyAny>) -> PyResult<String> {
    let pairs = Pairs::read(pairs)?;
    to_json(&RequestHeaders::read(pairs.slices()?))
}

/// The headers of a client's request that go to an engine, and those that the host adds.
#[pyfunction]
pub(crate) fn forwarded_headers<'py>(
    pairs: &Bound<'py, PyAny>,
    add: &Bound<'py, PyAny>,
    credentials: bool,
) -> PyResult<Vec<TextPair<'py>>> {
    let (pairs, add) = (Pairs::read(pairs)?, Pairs::read(add)?);
    let forwarding = Forwarding::of_request(pairs.slices()?).credentials(credentials);
    passed(&pairs, &forwarding.replacing(add.names()?), &add)
}

/// The headers of an engine's response that go to the client, and those that the host adds.
#[pyfunction]
pub(crate) fn response_headers<'py>(
    pairs: &Bound<'py, PyAny>,
    add: &Bound<'py, PyAny>,
) -> PyResult<Vec<TextPair<'py>>> {
    let (pairs, add) = (Pairs::read(pairs)?, Pairs::read(add)?);
    let forwarding = Forwarding::of_response(pairs.slices()?);
    passed(&pairs, &forwarding.replacing(add.names()?), &add)
}

/// A name in lower case, and a value.
type TextPair<'py> = (String, Bound<'py, PyString>);

fn passed<'py>(
    pairs: &Pairs<'py>,
    forwarding: &Forwarding<'_>,
    added: &Pairs<'py>,
) -> PyResult<Vec<TextPair<'py>>> {
    let mut passed = Vec::with_capacity(pairs.0.len() + added.0.len());
    for (name, value) in &pairs.0 {
        if forwarding.passes(slice(name)?, slice(value)?) {
            passed.push((lower(name)?, text(value)?));
        }
    }
    for (name, value) in &added.0 {
        passed.push((lower(name)?, text(value)?));
    }
    Ok(passed)
}

fn lower(name: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(String::from_utf8_lossy(slice(name)?).to_ascii_lowercase())
}

/// A value as text: of bytes, one character for each byte.
fn text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => {
            let text: String = bytes.as_bytes().iter().copied().map(char::from).collect();
            Ok(PyString::new(value.py(), &text))
        }
        Err(_) => Ok(value.cast::<PyString>()?.clone()),
    }
}
