//! Messages of engines about their KV caches, and the reports of handling them.

use std::borrow::Cow;
use std::num::NonZeroU32;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use serde::Serialize;
use slotwise::{KvEvent, Tier};
use slotwise_wire::hashes::{Adapter, Algorithm, BlockHasher, DEFAULT_SEED, ExtraKeys, Tagging};
use slotwise_wire::kv;
use slotwise_wire::kv::internals::{Decoder, Message};

use crate::error::{named, raise_wire};
use crate::prompt::{bytes, integers};
use crate::serde_bridge::{to_json, to_python};

/// The frames of a message.
pub(crate) struct Frames<'py>(Vec<Bound<'py, PyAny>>);

impl<'py> Frames<'py> {
    /// Reads the frames from a list or a tuple.
    pub(crate) fn read(frames: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(list) = frames.cast::<PyList>() {
            return Ok(Self(list.iter().collect()));
        }
        if let Ok(tuple) = frames.cast::<PyTuple>() {
            return Ok(Self(tuple.iter().collect()));
        }
        let message =
            format!("frames must be a list or a tuple of bytes, not {}", frames.get_type());
        Err(PyTypeError::new_err(message))
    }

    /// The bytes of the frames: `bytes` are borrowed, other buffers are copied.
    pub(crate) fn bytes(&self) -> PyResult<Vec<Cow<'_, [u8]>>> {
        self.0.iter().map(|frame| bytes(frame, "each frame")).collect()
    }
}

/// The result of handling a message.
#[derive(Clone, PartialEq)]
#[pyclass(frozen, eq, module = "slotwise.wire")]
pub(crate) struct KvReport(pub(crate) kv::Report);

/// A publisher of KV events has to be asked to send batches again.
#[derive(PartialEq)]
#[pyclass(frozen, eq, get_all, module = "slotwise")]
pub(crate) struct ReplayRequest {
    endpoint_id: u64,
    rank: u32,
    start: u64,
}

impl From<slotwise_gateway::engines::ReplayRequest> for ReplayRequest {
    fn from(request: slotwise_gateway::engines::ReplayRequest) -> Self {
        let endpoint_id = request.endpoint_id.as_u64();
        Self { endpoint_id, rank: request.rank, start: request.from }
    }
}

#[pymethods]
impl ReplayRequest {
    #[classattr]
    #[expect(non_upper_case_globals, reason = "the name that Python expects")]
    const __match_args__: (&'static str, &'static str, &'static str) =
        ("endpoint_id", "rank", "start");

    fn __repr__(&self) -> String {
        let Self { endpoint_id, rank, start } = self;
        format!("ReplayRequest(endpoint_id={endpoint_id}, rank={rank}, start={start})")
    }
}

#[pymethods]
impl KvReport {
    #[getter]
    fn ask(&self) -> Option<u64> {
        self.0.ask
    }

    #[getter]
    fn cleared(&self) -> bool {
        self.0.cleared
    }

    #[getter]
    fn batches(&self) -> u64 {
        self.0.batches
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped
    }

    #[getter]
    fn held(&self) -> u64 {
        self.0.held
    }

    #[getter]
    fn lost(&self) -> u64 {
        self.0.lost
    }

    #[getter]
    fn unreadable(&self) -> u64 {
        self.0.unreadable
    }

    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0
            .error
            .map(|error| to_python(py, ("slotwise.reports", "decode_problem"), &error))
            .transpose()
    }

    #[getter]
    fn stored_blocks(&self) -> u64 {
        self.0.stored_blocks
    }

    #[getter]
    fn removed_blocks(&self) -> u64 {
        self.0.removed_blocks
    }

    #[getter]
    fn clears(&self) -> u64 {
        self.0.clears
    }

    #[getter]
    fn unknown_parents(&self) -> u64 {
        self.0.unknown_parents
    }

    #[getter]
    fn refused(&self) -> u64 {
        self.0.refused
    }

    #[getter]
    fn refusal(&self) -> Option<&'static str> {
        self.0.refusal.as_ref().map(slotwise::KvEventError::code)
    }

    #[getter]
    fn skipped_events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, ("slotwise.reports", "decode_skipped_events"), &self.0.skipped_events)
    }

    fn __repr__(&self) -> String {
        let report = &self.0;
        let ask = report.ask.map_or_else(|| String::from("None"), |from| from.to_string());
        format!(
            "KvReport(ask={ask}, batches={}, stored_blocks={}, \
             removed_blocks={}, lost={}, unreadable={})",
            report.batches,
            report.stored_blocks,
            report.removed_blocks,
            report.lost,
            report.unreadable,
        )
    }
}

/// Tokens per block.
pub(crate) fn block_size(tokens: u32) -> PyResult<NonZeroU32> {
    NonZeroU32::new(tokens).ok_or_else(|| PyValueError::new_err("block_size must not be zero"))
}

/// An event of a batch, in the JSON form for other languages.
#[derive(Serialize)]
struct Written<'a> {
    r#type: &'static str,
    blocks: Vec<String>,
    parent: Option<String>,
    tokens: Option<&'a [u32]>,
    lookahead: &'a [u32],
    block_size: Option<u32>,
    tier: Option<Tier>,
    model: Option<&'a str>,
    adapter: Option<&'a str>,
    cache_salt: Option<&'a str>,
}

impl<'a> Written<'a> {
    fn new(event: KvEvent<'a>) -> Self {
        let hex = |hash: &slotwise::EngineHash| format!("{:016x}", hash.0);
        let none = Self {
            r#type: "cleared",
            blocks: Vec::new(),
            parent: None,
            tokens: None,
            lookahead: &[],
            block_size: None,
            tier: None,
            model: None,
            adapter: None,
            cache_salt: None,
        };
        match event {
            KvEvent::BlockStored(stored) => Self {
                r#type: "stored",
                blocks: stored.blocks.iter().map(hex).collect(),
                parent: stored.parent.as_ref().map(hex),
                tokens: stored.tokens,
                lookahead: stored.lookahead,
                block_size: Some(stored.block_size.get()),
                tier: Some(stored.tier),
                model: stored.model,
                adapter: stored.adapter,
                cache_salt: stored.cache_salt,
            },
            KvEvent::BlockRemoved(removed) => Self {
                r#type: "removed",
                blocks: removed.blocks.iter().map(hex).collect(),
                tier: Some(removed.tier),
                ..none
            },
            _ => none,
        }
    }
}

// Functions of `slotwise.wire`.

/// Topic, sequence number and payload of a message; `None` for the end of a replay.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a tuple in Python")]
pub(crate) fn read_kv_frames<'py>(
    frames: &Bound<'py, PyAny>,
) -> PyResult<Option<(Bound<'py, PyBytes>, u64, Bound<'py, PyBytes>)>> {
    let (py, frames) = (frames.py(), Frames::read(frames)?);
    let frames = frames.bytes()?;
    let slices: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
    Ok(match Message::read(&slices).map_err(raise_wire)? {
        Message::Batch { topic, seq, payload, .. } => {
            Some((PyBytes::new(py, topic), seq, PyBytes::new(py, payload)))
        }
        _ => None,
    })
}

/// The send time of a batch, and its other fields as JSON. JSON has no infinity.
#[pyfunction]
pub(crate) fn read_kv_batch(payload: &Bound<'_, PyAny>) -> PyResult<(f64, String)> {
    let payload = bytes(payload, "payload")?;
    let mut decoder = Decoder::new();
    let batch = decoder.decode(&payload).map_err(raise_wire)?;
    let events: Vec<Written<'_>> = batch.events().map(Written::new).collect();
    Ok((batch.sent_at(), to_json(&(batch.dp_rank(), events, batch.skipped_events()))?))
}

/// The frame that requests a replay.
#[pyfunction]
pub(crate) fn replay_request(py: Python<'_>, start: u64) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &kv::replay_request(start))
}

/// vLLM's names of the full blocks of a prompt.
#[pyfunction]
#[pyo3(signature = (tokens, *, block_size, algorithm = "sha256", seed = None, tagged = true,
    adapter = None, adapter_path = None, cache_salt = None))]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn block_hashes<'py>(
    tokens: &Bound<'py, PyAny>,
    block_size: u32,
    algorithm: &str,
    seed: Option<&str>,
    tagged: bool,
    adapter: Option<&str>,
    adapter_path: Option<&str>,
    cache_salt: Option<&str>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let py = tokens.py();
    let tokens = integers::<u32>(tokens, "token id")?;
    let block_size = self::block_size(block_size)?;
    let algorithm: Algorithm = named("algorithm", algorithm)?;
    let tagging = if tagged { Tagging::Tagged } else { Tagging::Untagged };
    if adapter.is_none() && adapter_path.is_some() {
        return Err(PyTypeError::new_err("adapter_path comes with an adapter"));
    }
    let adapter = adapter.map(|name| Adapter { name, path: adapter_path.unwrap_or_default() });
    let keys = ExtraKeys { adapter, cache_salt };
    let seed = seed.unwrap_or(DEFAULT_SEED);
    let digests = py.detach(|| {
        BlockHasher::new(algorithm, seed).tagging(tagging).prompt(&tokens, block_size, keys)
    });
    Ok(digests.iter().map(|digest| PyBytes::new(py, digest.as_bytes())).collect())
}
