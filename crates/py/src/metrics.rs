//! What engines say about their load: metrics pages and ORCA headers.

use std::borrow::Cow;
use std::sync::LazyLock;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use slotwise_wire::metrics::{Engine, Field, MetricsReader, OrcaReport};

use crate::error::raise_wire;
use crate::plain::to_json;
use crate::prompt::bytes;

/// A reader for each engine, and one for pages of any: making one takes longer than reading a page.
static READERS: LazyLock<(MetricsReader, Vec<(&'static str, MetricsReader)>)> = LazyLock::new(|| {
    let of = |engine: Engine| (engine.as_str(), MetricsReader::of(engine));
    (MetricsReader::detect(), Engine::ALL.map(of).into())
});

/// The reader for pages of this engine, or of any.
pub(crate) fn reader(engine: Option<&str>) -> PyResult<&'static MetricsReader> {
    let Some(name) = engine else { return Ok(&READERS.0) };
    READERS.1.iter().find(|(known, _)| *known == name).map(|(_, reader)| reader).ok_or_else(|| {
        let known = Engine::ALL.map(Engine::as_str).join(", ");
        PyValueError::new_err(format!("engine must be one of {known}, not {name:?}"))
    })
}

/// A header's value: `str`, as most HTTP libraries have it, or bytes.
pub(crate) fn header<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(Cow::Borrowed(text.to_str()?.as_bytes())),
        Err(_) => bytes(value, "header"),
    }
}

/// What a page says as JSON: the report, the load and the KV cache of all ranks, its capacity and the adapters in use.
#[pyfunction]
#[pyo3(signature = (page, engine, fields, adapters, rank_label))]
pub(crate) fn read_metrics(
    page: &Bound<'_, PyAny>,
    engine: Option<&str>,
    fields: Vec<(String, Vec<String>)>,
    adapters: Option<&str>,
    rank_label: Option<&str>,
) -> PyResult<String> {
    let page = bytes(page, "page")?;
    let mut reader = match engine {
        Some("custom") => MetricsReader::custom(),
        engine => reader(engine)?.clone(),
    };
    for (name, metrics) in fields {
        let field = Field::from_name(&name).ok_or_else(|| {
            let known = Field::ALL.map(Field::as_str).join(", ");
            PyValueError::new_err(format!("fields must be among {known}, and {name:?} is not"))
        })?;
        for metric in metrics {
            reader = reader.field(field, metric.parse().map_err(raise_wire)?);
        }
    }
    if let Some(metric) = adapters {
        reader = reader.adapters(metric.parse().map_err(raise_wire)?);
    }
    if let Some(label) = rank_label {
        reader = reader.rank_label(label);
    }
    let report = reader.read(&page).map_err(raise_wire)?;
    let (cache, active) = (report.kv_cache(), report.adapters.as_ref().map(|adapters| adapters.active()));
    to_json(&(&report, report.load(), cache, cache.capacity(), active))
}

/// What an ORCA header says as JSON.
#[pyfunction]
pub(crate) fn read_orca(value: &Bound<'_, PyAny>) -> PyResult<String> {
    to_json(&OrcaReport::read(&header(value)?).map_err(raise_wire)?)
}
