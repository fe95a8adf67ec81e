//! The definition of a metric family: its name, type, unit, labels and help.

/// A metric family: its name and type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Family {
    /// The name, without the `_total` of a counter.
    pub name: &'static str,
    /// The metric type.
    pub kind: Kind,
    /// The unit, which is the suffix of the name; `None` for counts.
    pub unit: Option<&'static str>,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Monotonic, from zero. Its samples have the suffix `_total`.
    Counter,
    /// A current value.
    Gauge,
    /// Cumulative counts by upper bound: samples `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// The type's name in OpenMetrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Family {
    /// The name of its samples, including the `_total` of a counter.
    pub fn sample_name(&self) -> alloc::string::String {
        alloc::format!("{}{}", self.name, if self.kind == Kind::Counter { "_total" } else { "" })
    }

    pub(super) const fn counter(
        name: &'static str,
        unit: Option<&'static str>,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, unit, labels, help }
    }

    pub(super) const fn histogram(
        name: &'static str,
        unit: Option<&'static str>,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, unit, labels, help }
    }

    pub(super) const fn gauge(
        name: &'static str,
        unit: Option<&'static str>,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, unit, labels, help }
    }
}
