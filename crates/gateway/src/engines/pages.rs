//! Readers of metrics pages, by the names that hosts give engines and fields.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
#[cfg(feature = "std")]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
#[cfg(feature = "std")]
use std::sync::Mutex;

use slotwise_wire::WireError;
#[cfg(feature = "std")]
use slotwise_wire::metrics::ScrapeReader;
use slotwise_wire::metrics::{Engine, Field, MetricSpec, MetricsReader, MetricsReport};

/// How a metrics page is read, in the words of a host's configuration. The default detects the
/// engine.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "hosts fill it in by name")]
pub struct PageFormat<'a> {
    /// An engine's [name](Engine::as_str), or `"custom"` for a page of which only `fields` count.
    /// `None` detects the engine.
    pub engine: Option<&'a str>,
    /// Names of [fields](Field::as_str), and the metric to look for: several metrics of one field
    /// are several entries.
    pub fields: &'a [(&'a str, &'a str)],
    /// Metrics that list LoRA adapters.
    pub adapters: &'a [&'a str],
    /// The label that has a sample's data-parallel rank.
    pub rank_label: Option<&'a str>,
}

/// One [`MetricsReader`] for each engine, made once: making one takes longer than reading a page.
///
/// [`read_load`](Self::read_load) remembers the layouts of pages, as [`ScrapeReader`] does, for
/// formats that name at most an engine. That takes at most [`ScrapeReader::MOST_BYTES`] for each
/// engine. Clones share this memory.
///
/// ```
/// use slotwise_gateway::engines::{PageFormat, PageReaders};
///
/// let readers = PageReaders::new();
/// let format = PageFormat { fields: &[("waiting", "my_queue")], ..PageFormat::default() };
/// let report = readers.read_load(&format, b"my_queue 3\n")??;
/// assert_eq!(report.load().waiting, Some(3));
///
/// let unknown = PageFormat { engine: Some("vlm"), ..PageFormat::default() };
/// assert!(readers.reader(&unknown).unwrap_err().to_string().contains("not \"vlm\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PageReaders {
    detect: Readers,
    by_engine: Vec<(&'static str, Readers)>,
}

/// The readers of one engine's pages.
#[derive(Clone, Debug)]
struct Readers {
    reader: MetricsReader,
    /// Needs a lock, because calls share the readers.
    #[cfg(feature = "std")]
    scrapes: Arc<Mutex<ScrapeReader>>,
}

/// A [`PageFormat`] that names something unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PageFormatError {
    /// No engine has this name.
    Engine(String),
    /// No field has this name.
    Field(String),
    /// The metric cannot be read.
    Metric(String, WireError),
}

impl PageReaders {
    /// Makes a reader for each engine, and one that detects the engine.
    pub fn new() -> Self {
        let of = |engine: Engine| (engine.as_str(), Readers::new(MetricsReader::of(engine)));
        Self {
            detect: Readers::new(MetricsReader::detect()),
            by_engine: Engine::ALL.map(of).into(),
        }
    }

    /// The reader of pages of this format: a kept one, unless the format names fields, adapters or
    /// a rank label.
    ///
    /// # Errors
    ///
    /// When the format names an engine or a field that is not known, or a metric that cannot be
    /// read.
    pub fn reader(
        &self,
        format: &PageFormat<'_>,
    ) -> Result<Cow<'_, MetricsReader>, PageFormatError> {
        let mut reader = match format.engine {
            Some("custom") => Cow::Owned(MetricsReader::custom()),
            engine => Cow::Borrowed(&self.of(engine)?.reader),
        };
        for (name, metric) in format.fields {
            let field =
                Field::from_name(name).ok_or_else(|| PageFormatError::Field((*name).into()))?;
            reader = Cow::Owned(reader.into_owned().field(field, spec(metric)?));
        }
        for metric in format.adapters {
            reader = Cow::Owned(reader.into_owned().adapters(spec(metric)?));
        }
        if let Some(label) = format.rank_label {
            reader = Cow::Owned(reader.into_owned().rank_label(label));
        }
        Ok(reader)
    }

    /// Parses a page of this format for the load of an endpoint. The result is that of
    /// [`MetricsReader::read_load`].
    ///
    /// # Errors
    ///
    /// As for [`reader`](Self::reader).
    pub fn read_load(
        &self,
        format: &PageFormat<'_>,
        page: &[u8],
    ) -> Result<Result<MetricsReport, WireError>, PageFormatError> {
        match format {
            PageFormat { engine, fields: [], adapters: [], rank_label: None }
                if *engine != Some("custom") =>
            {
                Ok(self.of(*engine)?.read_load(page))
            }
            _ => Ok(self.reader(format)?.read_load(page)),
        }
    }

    /// The readers of this engine, or those that detect the engine.
    fn of(&self, engine: Option<&str>) -> Result<&Readers, PageFormatError> {
        let Some(name) = engine else { return Ok(&self.detect) };
        let kept = self.by_engine.iter().find(|(engine, _)| *engine == name);
        kept.map(|(_, readers)| readers).ok_or_else(|| PageFormatError::Engine(name.into()))
    }
}

impl Readers {
    fn new(reader: MetricsReader) -> Self {
        Self {
            #[cfg(feature = "std")]
            scrapes: Arc::new(Mutex::new(ScrapeReader::new(reader.clone()))),
            reader,
        }
    }

    fn read_load(&self, page: &[u8]) -> Result<MetricsReport, WireError> {
        // Never waits: the other thread may read a long page, and a lock that was held at a fork is
        // never released.
        #[cfg(feature = "std")]
        if let Ok(mut scrapes) = self.scrapes.try_lock() {
            return scrapes.read_load(page);
        }
        self.reader.read_load(page)
    }
}

impl Default for PageReaders {
    fn default() -> Self {
        Self::new()
    }
}

fn spec(metric: &str) -> Result<MetricSpec, PageFormatError> {
    MetricSpec::parse(metric).map_err(|error| PageFormatError::Metric(metric.to_string(), error))
}

impl fmt::Display for PageFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(name) => {
                let known: Vec<_> = Engine::ALL.iter().map(|engine| engine.as_str()).collect();
                let known = known.join(", ");
                f.write_str(&format!("engine must be \"custom\" or one of {known}, not {name:?}"))
            }
            Self::Field(name) => {
                let known: Vec<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
                let known = known.join(", ");
                f.write_str(&format!("fields must be among {known}, and {name:?} is not"))
            }
            Self::Metric(metric, error) => write!(f, "the metric {metric:?}: {error}"),
        }
    }
}

impl Error for PageFormatError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Metric(_, error) => Some(error),
            _ => None,
        }
    }
}
