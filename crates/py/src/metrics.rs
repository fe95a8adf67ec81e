//! Load reports of engines: metrics pages and ORCA headers.

use std::borrow::Cow;
use std::sync::LazyLock;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use slotwise_gateway::engines::{PageFormat, PageFormatError, PageReaders};
use slotwise_wire::WireError;
use slotwise_wire::metrics::{MetricsReader, MetricsReport, OrcaReport};

use crate::error::raise_wire;
use crate::prompt::bytes;
use crate::serde_bridge::to_json;

/// The readers of metrics pages, for all engines.
static READERS: LazyLock<PageReaders> = LazyLock::new(PageReaders::new);

/// A header's value: `str`, as in most HTTP libraries, or bytes.
pub(crate) fn header<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(Cow::Borrowed(text.to_str()?.as_bytes())),
        Err(_) => bytes(value, "header"),
    }
}

/// The options for reading a page: the keywords of `handle_metrics_page` and `read_metrics`.
pub(crate) struct Format<'py> {
    pub(crate) engine: Option<String>,
    pub(crate) fields: Option<Bound<'py, PyAny>>,
    pub(crate) adapters: Option<String>,
    pub(crate) rank_label: Option<String>,
}

impl Format<'_> {
    fn reader(&self) -> PyResult<Cow<'static, MetricsReader>> {
        self.with(|format| READERS.reader(format))
    }

    /// Reads a page for the load of an endpoint.
    pub(crate) fn read_load(
        &self,
        py: Python<'_>,
        page: &[u8],
    ) -> PyResult<Result<MetricsReport, WireError>> {
        self.with(|format| {
            let read = || READERS.read_load(format, page);
            if page.len() < LONG_PAGE { read() } else { py.detach(read) }
        })
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&PageFormat<'_>) -> Result<T, PageFormatError>,
    ) -> PyResult<T> {
        let fields = metrics_of_fields(self.fields.as_ref())?;
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(field, metric)| (field.as_str(), metric.as_str())).collect();
        let adapters: Vec<&str> = self.adapters.as_deref().into_iter().collect();
        let format = PageFormat {
            engine: self.engine.as_deref(),
            fields: &fields,
            adapters: &adapters,
            rank_label: self.rank_label.as_deref(),
        };
        read(&format).map_err(|error| match error {
            PageFormatError::Metric(_, error) => raise_wire(error),
            error => PyValueError::new_err(error.to_string()),
        })
    }
}

/// Bytes of a metrics page above which other Python threads may run meanwhile.
const LONG_PAGE: usize = 256 << 10;

/// Pairs of a field and a metric, from a mapping of fields to one or more metrics.
fn metrics_of_fields(fields: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
    let Some(fields) = fields else { return Ok(Vec::new()) };
    let items = fields.cast::<PyMapping>().map_err(|_| {
        let message =
            format!("fields must be a mapping of fields to metrics, not {}", fields.get_type());
        PyTypeError::new_err(message)
    })?;
    let mut pairs = Vec::new();
    for item in items.items()? {
        let (field, metrics): (String, Bound<'_, PyAny>) = item.extract()?;
        let metrics = match metrics.cast::<PyString>() {
            Ok(one) => vec![one.to_str()?.to_owned()],
            Err(_) => metrics.extract()?,
        };
        pairs.extend(metrics.into_iter().map(|metric| (field.clone(), metric)));
    }
    Ok(pairs)
}

/// The report of a page as JSON, with the load and the KV cache of all ranks, the capacity of that
/// cache, and the adapters in use.
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
    let reader = Format { engine, fields, adapters, rank_label }.reader()?;
    let report = reader.read(&page).map_err(raise_wire)?;
    let (cache, active) =
        (report.kv_cache(), report.adapters.as_ref().map(|adapters| adapters.active()));
    to_json(&(&report, report.load(), cache, cache.capacity(), active))
}

/// The report of an ORCA header as JSON.
#[pyfunction]
pub(crate) fn read_orca(value: &Bound<'_, PyAny>) -> PyResult<String> {
    to_json(&OrcaReport::read(&header(value)?).map_err(raise_wire)?)
}
