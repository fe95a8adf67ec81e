//! What metrics pages and ORCA headers say.

use std::collections::HashMap;

use napi_derive::napi;
use slotwise_wire::metrics::{Engine, Field, MetricSpec, MetricsReader};

use crate::endpoint::Load;
use crate::error::{Result, Unfit, unreadable, unreadable_part};
use crate::request::Bytes;

/// What a metrics page says: of each rank, and all in all.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct MetricsReport {
    /// Whose metrics are on the page; null if they are nobody's that is looked for.
    #[napi(
        ts_type = "'vllm' | 'sglang' | 'trtllm-serve' | 'triton-tensorrt-llm' | 'llama.cpp' | 'triton' | 'dynamo'"
    )]
    pub engine: Option<&'static str>,
    /// One reading for each data-parallel rank, ordered by rank; a page without ranks has one, without a name. Empty if the page
    /// says nothing of the fields.
    pub ranks: Vec<RankReport>,
    /// The LoRA adapters of requests that are there now; null if the page says nothing of them.
    pub adapters: Option<AdapterReport>,
    /// Lines that are no samples and no comments, as far as their two ends tell.
    pub skipped_lines: f64,
    /// What should be looked into, by name: `nothing_known` if no metric on the page is known, or none has a value.
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

/// What one data-parallel rank says.
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

/// How a KV cache is laid out, as far as the page says.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct KvCache {
    /// Tokens in a block.
    pub block_size: Option<f64>,
    /// Blocks.
    pub blocks: Option<f64>,
    /// Tokens that fit, if the engine says that itself.
    pub tokens: Option<f64>,
}

/// The LoRA adapters of requests that are there now. Engines forget those of which no request is, although they stay loaded.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct AdapterReport {
    /// Adapters that fit side by side, if the engine says so: the most that a rank has.
    pub slots: Option<f64>,
    /// Adapters of requests that run, by name, each once.
    pub running: Vec<String>,
    /// Adapters of requests that wait, by name, each once.
    pub waiting: Vec<String>,
}

/// What the header `endpoint-load-metrics` says.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct OrcaReport {
    /// The load of the endpoint: as `handleLoad` takes it.
    pub load: Load,
    /// Tokens that fit into its KV cache, which Triton says.
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
    let reader = specified(engine.as_deref(), &fields, &adapters, rank_label)?;
    reader.read(page).map(MetricsReport::from).map_err(unreadable)
}

/// A reader that looks for these metrics. `fields` are names of fields and metrics in turn.
pub(crate) fn specified(
    engine: Option<&str>,
    fields: &[String],
    adapters: &[String],
    rank_label: Option<String>,
) -> Result<MetricsReader> {
    let mut reader = match engine {
        Some("custom") => MetricsReader::custom(),
        word => reader_of(engine_of(word)?),
    };
    for pair in fields.chunks_exact(2) {
        let field = Field::from_name(&pair[0]).ok_or_else(|| unknown_field(&pair[0]))?;
        reader = reader.field(field, spec(&pair[1])?);
    }
    for metric in adapters {
        reader = reader.adapters(spec(metric)?);
    }
    if let Some(label) = rank_label {
        reader = reader.rank_label(label);
    }
    Ok(reader)
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

/// The readers of metrics pages that were asked for, by the engine.
#[derive(Debug, Default)]
pub(crate) struct Readers(HashMap<Option<Engine>, MetricsReader>);

impl Readers {
    /// For pages of this engine, or of any.
    pub(crate) fn of(&mut self, engine: Option<Engine>) -> &MetricsReader {
        self.0.entry(engine).or_insert_with(|| reader_of(engine))
    }
}

fn spec(text: &str) -> Result<MetricSpec> {
    MetricSpec::parse(text).map_err(|error| unreadable_part(&format!("the metric {text:?}"), error))
}

fn reader_of(engine: Option<Engine>) -> MetricsReader {
    engine.map_or_else(MetricsReader::detect, MetricsReader::of)
}

/// The engine that `word` names; none means any.
pub(crate) fn engine_of(word: Option<&str>) -> std::result::Result<Option<Engine>, Unfit> {
    let Some(word) = word else { return Ok(None) };
    let known = || Engine::ALL.map(|engine| format!("'{}'", engine.as_str())).join(" or ");
    Engine::from_name(word).map(Some).ok_or_else(|| Unfit::word("engine", known(), word))
}

fn unknown_field(name: &str) -> Unfit {
    Unfit::word(
        "fields",
        Field::ALL.map(|field| format!("'{}'", field.as_str())).join(" or "),
        name,
    )
}

impl From<slotwise_wire::metrics::MetricsReport> for MetricsReport {
    fn from(report: slotwise_wire::metrics::MetricsReport) -> Self {
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
