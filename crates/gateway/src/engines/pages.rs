//! Readers of metrics pages, by the names that hosts give engines and fields.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use slotwise_wire::WireError;
use slotwise_wire::metrics::{Engine, Field, MetricSpec, MetricsReader};

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
/// ```
/// use slotwise_gateway::engines::{PageFormat, PageReaders};
///
/// let readers = PageReaders::new();
/// let format = PageFormat { fields: &[("waiting", "my_queue")], ..PageFormat::default() };
/// let report = readers.reader(&format)?.read_load(b"my_queue 3\n")?;
/// assert_eq!(report.load().waiting, Some(3));
///
/// let unknown = PageFormat { engine: Some("vlm"), ..PageFormat::default() };
/// assert!(readers.reader(&unknown).unwrap_err().to_string().contains("not \"vlm\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PageReaders {
    detect: MetricsReader,
    by_engine: Vec<(&'static str, MetricsReader)>,
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
        let of = |engine: Engine| (engine.as_str(), MetricsReader::of(engine));
        Self { detect: MetricsReader::detect(), by_engine: Engine::ALL.map(of).into() }
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
            Some(name) => {
                let kept = self.by_engine.iter().find(|(engine, _)| *engine == name);
                let (_, kept) = kept.ok_or_else(|| PageFormatError::Engine(name.into()))?;
                Cow::Borrowed(kept)
            }
            None => Cow::Borrowed(&self.detect),
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
