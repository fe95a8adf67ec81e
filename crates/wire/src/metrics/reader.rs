//! What is looked for on a metrics page.

use alloc::format;
use alloc::string::String;

use super::Result;
use super::engine::{Engine, Meaning};
use super::metric_index::{MetricIndex, Wanted};
use super::pass::Pass;
use super::report::MetricsReport;
use super::spec::{Field, MetricSpec};
use crate::error::{ErrorKind, WireError};

/// Parses metrics pages in the text format of Prometheus or OpenMetrics.
///
/// The reader keeps no state of a page: one reader serves all endpoints of an engine. A
/// [`ScrapeReader`](super::ScrapeReader) reads pages that repeat each other faster.
///
/// ```
/// use slotwise_wire::metrics::{Engine, MetricsReader};
///
/// let page = r#"
/// # TYPE vllm:num_requests_waiting gauge
/// vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
/// vllm:num_requests_waiting{engine="1",model_name="m"} 4.0
/// vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
/// vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
/// "#;
/// let report = MetricsReader::detect().read(page.as_bytes())?;
/// assert_eq!(report.engine, Some(Engine::Vllm));
/// assert_eq!(report.ranks[1].load.waiting, Some(4));
/// assert_eq!(report.load().waiting, Some(7));
/// assert_eq!(report.load().kv_usage, Some(0.5));
/// # Ok::<(), slotwise_wire::WireError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsReader {
    pub(super) names: MetricIndex,
    /// The rank label of metrics that were requested by name.
    rank_label: Option<String>,
}

impl MetricsReader {
    /// Creates a reader for pages of any engine; the engine is detected from the page.
    /// [`Engine::ALL`] gives the precedence for pages with metrics of several engines.
    pub fn detect() -> Self {
        Self::knowing(&Engine::ALL)
    }

    /// Creates a reader for pages of this engine.
    pub fn of(engine: Engine) -> Self {
        let reader = Self::knowing(&[engine]);
        Self { rank_label: engine.rank_label().map(Into::into), ..reader }
    }

    /// Creates a reader without built-in metrics. It looks only for metrics that
    /// [`field`](Self::field) adds.
    pub fn custom() -> Self {
        Self::knowing(&[])
    }

    /// Looks for this metric instead of the engine's built-in metrics for the field.
    ///
    /// If the method is called several times for a field, the first metric that a rank has counts.
    /// Several series of the metric for one rank are summed. For [`Field::KvUsage`] the mean is
    /// taken, and for [`Field::BlockSize`] the maximum.
    ///
    /// ```
    /// use slotwise_wire::metrics::{Field, MetricsReader};
    ///
    /// let reader = MetricsReader::custom()
    ///     .field(Field::Waiting, "queue{state=held}".parse()?)
    ///     .field(Field::KvUsage, "cache_share".parse()?);
    /// let page = b"queue{state=\"held\"} 3\nqueue{state=\"done\"} 9\ncache_share 0.5\n";
    /// let load = reader.read(page)?.load();
    /// assert_eq!((load.waiting, load.kv_usage), (Some(3), Some(0.5)));
    /// # Ok::<(), slotwise_wire::WireError>(())
    /// ```
    pub fn field(self, field: Field, metric: MetricSpec) -> Self {
        self.ask(Meaning::Gauge(field), metric)
    }

    /// Looks for this metric instead of the engine's adapter metric. It has the labels of
    /// `vllm:lora_requests_info`: `max_lora`, `running_lora_adapters` and `waiting_lora_adapters`.
    pub fn adapters(self, metric: MetricSpec) -> Self {
        self.ask(Meaning::Adapters, metric)
    }

    /// Sets the rank label of metrics that [`field`](Self::field) adds. The default is the label of
    /// the engine, for a reader [of](Self::of) one.
    pub fn rank_label(self, label: impl Into<String>) -> Self {
        Self { rank_label: Some(label.into()), ..self }
    }

    /// Parses a page. Computes in **O(bytes)**; memory is a small multiple of the wanted lines.
    ///
    /// Every line must end in a line feed, as the formats require, so a truncated number is
    /// detected. `# EOF` is an ordinary comment, as in concatenated pages.
    ///
    /// # Errors
    ///
    /// Returns the offset of the first wrong byte in these cases:
    ///
    /// - A wanted line is malformed or has no line feed.
    /// - A needed label occurs twice, is not UTF-8, or is not the expected number.
    /// - The page has more than 1024 ranks.
    ///
    /// The error is [`ErrorKind::NotMetrics`] if no line is a sample or a comment: an empty answer,
    /// HTML or JSON. A page without any known metric is not an error; its report has a
    /// [warning](MetricsReport::warnings).
    pub fn read(&self, page: &[u8]) -> Result<MetricsReport> {
        let mut pass = self.pass(page);
        pass.lines()?;
        pass.finish()
    }

    /// Parses a page for the load of an endpoint.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read), and [`ErrorKind::NothingKnown`] if the page has no known
    /// metric: it is not the report of an idle engine. Report either to the
    /// scheduler as an unreadable load.
    ///
    /// ```
    /// use slotwise_wire::metrics::MetricsReader;
    ///
    /// let error = MetricsReader::detect().read_load(b"other_requests 9\n").unwrap_err();
    /// assert_eq!(error.problem.code(), "nothing_known");
    /// ```
    pub fn read_load(&self, page: &[u8]) -> Result<MetricsReport> {
        of_load(self.read(page)?)
    }

    /// A pass over a page, at its first line.
    pub(super) fn pass<'a>(&'a self, page: &'a [u8]) -> Pass<'a> {
        Pass::new(&self.names, self.rank_label.as_deref(), page)
    }

    fn knowing(engines: &[Engine]) -> Self {
        let mut names = MetricIndex::default();
        for engine in engines {
            for (precedence, (metric, meaning)) in (0..).zip(engine.metrics()) {
                let spec =
                    MetricSpec::parse(metric).expect("the metrics of engines are written as specs");
                let (own, others) = engine.aliases();
                for other in others {
                    let Some(rest) = metric.strip_prefix(own) else { continue };
                    let spec = MetricSpec::parse(&format!("{other}{rest}"))
                        .expect("the metrics of engines are written as specs");
                    names.add(Wanted {
                        spec,
                        meaning: *meaning,
                        precedence,
                        engine: Some(*engine),
                    });
                }
                names.add(Wanted { spec, meaning: *meaning, precedence, engine: Some(*engine) });
            }
        }
        Self { names, rank_label: None }
    }

    fn ask(mut self, meaning: Meaning, spec: MetricSpec) -> Self {
        self.names.forget(meaning);
        let precedence = self.names.asked(meaning);
        self.names.add(Wanted { spec, meaning, precedence, engine: None });
        self
    }
}

impl Default for MetricsReader {
    fn default() -> Self {
        Self::detect()
    }
}

/// The report of a page that has to have a load.
pub(super) fn of_load(report: MetricsReport) -> Result<MetricsReport> {
    if report.says_nothing() { Err(WireError::new(0, ErrorKind::NothingKnown)) } else { Ok(report) }
}
