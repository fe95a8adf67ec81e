//! Load reports from metrics pages and ORCA headers.

use std::borrow::Cow;
use std::sync::LazyLock;

use napi_derive::napi;
use slotwise_gateway::engines::{PageFormat, PageFormatError, PageReaders};
use slotwise_wire::metrics::{Engine, Field, MetricsReader, MetricsReport as Report};

use crate::endpoint::Load;
use crate::error::{Kind, Result, Unfit, unclassified, unreadable, unreadable_part};
use crate::request::Bytes;

/// Contents of a metrics page: per rank and combined.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct MetricsReport {
    /// Engine of the page's metrics; null if none is recognised.
    #[napi(
        ts_type = "'vllm' | 'sglang' | 'trtllm-serve' | 'triton-tensorrt-llm' | 'llama.cpp' | 'triton' | 'dynamo'"
    )]
    pub engine: Option<&'static str>,
    /// One reading for each data-parallel rank, ordered by rank; a page without ranks has one,
    /// without a name. Empty if the page has none of the fields.
    pub ranks: Vec<RankReport>,
    /// LoRA adapters of current requests; null if the page does not list them.
    pub adapters: Option<AdapterReport>,
    /// Lines that are no samples and no comments, judged by their first and last characters.
    pub skipped_lines: f64,
    /// Codes of warnings: `nothing_known` if the page has no known metric with a value.
    #[napi(ts_type = "'nothing_known'[]")]
    pub warnings: Vec<&'static str>,
    /// The load of the endpoint, all ranks together: as `handleLoad` takes it.
    pub load: Load,
    /// The KV cache of the endpoint, all ranks together.
    pub kv_cache: KvCache,
    /// Tokens in a block of it.
    pub block_size: Option<f64>,
    /// Tokens that fit into it.
    pub kv_cache_tokens: Option<f64>,
    /// Adapters that fit side by side.
    pub max_adapters: Option<f64>,
}

/// Metrics of one data-parallel rank.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RankReport {
    /// Its name, most often a number; empty if the page names none.
    pub rank: String,
    /// Its load.
    pub load: Load,
    /// Tokens that live requests have in its KV cache.
    pub kv_tokens: Option<f64>,
    /// Its KV cache.
    pub kv_cache: KvCache,
}

/// Layout of a KV cache; fields that the page does not report are missing.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct KvCache {
    /// Tokens in a block.
    pub block_size: Option<f64>,
    /// Blocks.
    pub blocks: Option<f64>,
    /// Tokens that fit, if the engine reports them itself.
    pub tokens: Option<f64>,
}

/// LoRA adapters of current requests. Engines do not list loaded adapters without requests.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct AdapterReport {
    /// Adapters that fit side by side, if the engine reports them: the maximum over its ranks.
    pub slots: Option<f64>,
    /// Adapters of requests that run, by name, each once.
    pub running: Vec<String>,
    /// Adapters of requests that wait, by name, each once.
    pub waiting: Vec<String>,
}

/// Contents of the header `endpoint-load-metrics`.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct OrcaReport {
    /// The load of the endpoint: as `handleLoad` takes it.
    pub load: Load,
    /// Tokens that fit into its KV cache, which Triton reports.
    pub kv_cache_tokens: Option<f64>,
    /// Metrics in it that are not looked for, or have no number.
    pub skipped: f64,
}

/// Reads a metrics page. `fields` are names of fields and metrics in turn.
#[napi]
pub fn read_metrics(
    #[napi(ts_arg_type = "Uint8Array")] page: Bytes<'_>,
    engine: Option<String>,
    fields: Vec<String>,
    adapters: Vec<String>,
    rank_label: Option<String>,
) -> Result<MetricsReport> {
    let options = PageOptions { engine, fields, adapters, rank_label };
    options.reader()?.read(page).map(MetricsReport::from).map_err(unreadable)
}

/// The readers of metrics pages, for all engines and schedulers.
static READERS: LazyLock<PageReaders> = LazyLock::new(PageReaders::new);

/// How a page is read, as it arrives.
pub(crate) struct PageOptions {
    pub(crate) engine: Option<String>,
    /// Names of fields and metrics in turn.
    pub(crate) fields: Vec<String>,
    pub(crate) adapters: Vec<String>,
    pub(crate) rank_label: Option<String>,
}

impl PageOptions {
    /// The reader of such pages.
    fn reader(&self) -> Result<Cow<'static, MetricsReader>> {
        self.with(|format| READERS.reader(format))
    }

    /// Reads a page for the load of an endpoint.
    pub(crate) fn read_load(&self, page: &[u8]) -> Result<slotwise_wire::metrics::Result<Report>> {
        self.with(|format| READERS.read_load(format, page))
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&PageFormat<'_>) -> std::result::Result<T, PageFormatError>,
    ) -> Result<T> {
        let fields: Vec<_> =
            self.fields.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
        let adapters: Vec<_> = self.adapters.iter().map(String::as_str).collect();
        let format = PageFormat {
            engine: self.engine.as_deref(),
            fields: &fields,
            adapters: &adapters,
            rank_label: self.rank_label.as_deref(),
        };
        read(&format).map_err(unfit_format)
    }
}

/// The exception for a format that names something unknown.
fn unfit_format(error: PageFormatError) -> napi::Error<Kind> {
    let words = |words: &[&str]| {
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or ")
    };
    match error {
        PageFormatError::Engine(name) => {
            Unfit::word("engine", words(&Engine::ALL.map(|engine| engine.as_str())), &name).into()
        }
        PageFormatError::Field(name) => {
            Unfit::word("fields", words(&Field::ALL.map(|field| field.as_str())), &name).into()
        }
        PageFormatError::Metric(metric, error) => {
            unreadable_part(&format!("the metric {metric:?}"), error)
        }
        other => unclassified(&other),
    }
}

/// Reads the header `endpoint-load-metrics`.
#[napi]
pub fn read_orca(#[napi(ts_arg_type = "Uint8Array")] header: Bytes<'_>) -> Result<OrcaReport> {
    let report = slotwise_wire::metrics::OrcaReport::read(header).map_err(unreadable)?;
    Ok(OrcaReport {
        load: report.load.into(),
        kv_cache_tokens: report.kv_cache_tokens.map(|tokens| tokens.get().into()),
        skipped: report.skipped as f64,
    })
}

impl From<Report> for MetricsReport {
    fn from(report: Report) -> Self {
        let cache = report.kv_cache();
        let slots = report.adapters.as_ref().and_then(|adapters| adapters.slots);
        Self {
            engine: report.engine.map(Engine::as_str),
            load: report.load().into(),
            ranks: report.ranks.into_iter().map(RankReport::from).collect(),
            adapters: report.adapters.map(|adapters| AdapterReport {
                slots: adapters.slots.map(|slots| slots.get().into()),
                running: adapters.running,
                waiting: adapters.waiting,
            }),
            skipped_lines: report.skipped_lines as f64,
            warnings: report.warnings.iter().map(|warning| warning.code()).collect(),
            kv_cache: cache.into(),
            block_size: cache.block_size.map(|tokens| tokens.get().into()),
            kv_cache_tokens: cache.capacity().map(|tokens| tokens as f64),
            max_adapters: slots.map(|slots| slots.get().into()),
        }
    }
}

impl From<slotwise_wire::metrics::RankReport> for RankReport {
    fn from(report: slotwise_wire::metrics::RankReport) -> Self {
        Self {
            rank: report.rank,
            load: report.load.into(),
            kv_tokens: report.kv_tokens.map(|tokens| tokens as f64),
            kv_cache: report.kv_cache.into(),
        }
    }
}

impl From<slotwise_wire::metrics::KvCache> for KvCache {
    fn from(cache: slotwise_wire::metrics::KvCache) -> Self {
        Self {
            block_size: cache.block_size.map(|tokens| tokens.get().into()),
            blocks: cache.blocks.map(|blocks| blocks as f64),
            tokens: cache.tokens.map(|tokens| tokens as f64),
        }
    }
}
