//! What engines say about their load: metrics pages and ORCA headers.

use std::borrow::Cow;
use std::sync::LazyLock;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use slotwise_wire::metrics::{Engine, Field, MetricsReader, OrcaReport};

use crate::error::raise_wire;
use crate::prompt::bytes;
use crate::serde_bridge::to_json;

/// A reader for each engine, and one for pages of any: making one takes longer than reading a page.
static READERS: LazyLock<(MetricsReader, Vec<(&'static str, MetricsReader)>)> =
    LazyLock::new(|| {
        let of = |engine: Engine| (engine.as_str(), MetricsReader::of(engine));
        (MetricsReader::detect(), Engine::ALL.map(of).into())
    });

/// The reader for pages of this engine, or of any.
fn reader(engine: Option<&str>) -> PyResult<&'static MetricsReader> {
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

/// How a page is read, as Python says it.
pub(crate) struct Specification<'py> {
    pub(crate) engine: Option<String>,
    pub(crate) fields: Option<Bound<'py, PyAny>>,
    pub(crate) adapters: Option<String>,
    pub(crate) rank_label: Option<String>,
}

impl Specification<'_> {
    /// The reader for it: one that is there already, if nothing but an engine is said.
    pub(crate) fn reader(self) -> PyResult<Cow<'static, MetricsReader>> {
        let mut reader = match self.engine.as_deref() {
            Some("custom") => Cow::Owned(MetricsReader::custom()),
            engine => Cow::Borrowed(reader(engine)?),
        };
        for (name, metrics) in asked(self.fields.as_ref())? {
            let field = Field::from_name(&name).ok_or_else(|| {
                let known = Field::ALL.map(Field::as_str).join(", ");
                PyValueError::new_err(format!("fields must be among {known}, and {name:?} is not"))
            })?;
            for metric in metrics {
                let spec = metric.parse().map_err(raise_wire)?;
                reader = Cow::Owned(reader.into_owned().field(field, spec));
            }
        }
        if let Some(metric) = self.adapters {
            let spec = metric.parse().map_err(raise_wire)?;
            reader = Cow::Owned(reader.into_owned().adapters(spec));
        }
        if let Some(label) = self.rank_label {
            reader = Cow::Owned(reader.into_owned().rank_label(label));
        }
        Ok(reader)
    }
}

/// Fields, and the metrics to look for: a mapping of names to one metric or several.
fn asked(fields: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, Vec<String>)>> {
    let Some(fields) = fields else { return Ok(Vec::new()) };
    let items = fields.cast::<PyMapping>().map_err(|_| {
        let message =
            format!("fields must be a mapping of fields to metrics, not {}", fields.get_type());
        PyTypeError::new_err(message)
    })?;
    let metrics = |of: Bound<'_, PyAny>| match of.cast::<PyString>() {
        Ok(one) => Ok(vec![one.to_str()?.to_owned()]),
        Err(_) => of.extract(),
    };
    items
        .items()?
        .iter()
        .map(|item| {
            let (name, of): (String, Bound<'_, PyAny>) = item.extract()?;
            Ok((name, metrics(of)?))
        })
        .collect()
}

/// What a page says as JSON: the report, the load and the KV cache of all ranks, its capacity and the adapters in use.
#[pyfunction]
#[pyo3(signature = (page, engine, fields, adapters, rank_label))]
pub(crate) fn read_metrics(
    page: &Bound<'_, PyAny>,
    engine: Option<String>,
    fields: Option<Bound<'_, PyAny>>,
    adapters: Option<String>,
    rank_label: Option<String>,
) -> PyResult<String> {
    let page = bytes(page, "page")?;
    let reader = Specification { engine, fields, adapters, rank_label }.reader()?;
    let report = reader.read(&page).map_err(raise_wire)?;
    let (cache, active) =
        (report.kv_cache(), report.adapters.as_ref().map(|adapters| adapters.active()));
    to_json(&(&report, report.load(), cache, cache.capacity(), active))
}

/// What an ORCA header says as JSON.
#[pyfunction]
pub(crate) fn read_orca(value: &Bound<'_, PyAny>) -> PyResult<String> {
    to_json(&OrcaReport::read(&header(value)?).map_err(raise_wire)?)
}
