//! The OpenMetrics 1.0 writer.
//!
//! Written by hand: `prometheus-client` owns its counters in a registry. Here `Stats` owns the
//! counters.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};

use slotwise::Histogram;

use super::definition::{Family, Kind};
use super::number::{Value, write_line};

/// Writes families one after the other.
pub(super) struct Writer<'w, W> {
    out: &'w mut W,
    family: Option<Family>,
    /// What samples of a family with one label have in common, up to the label's value.
    head: String,
}

impl<'w, W: fmt::Write> Writer<'w, W> {
    pub(super) fn new(out: &'w mut W) -> Self {
        Self { out, family: None, head: String::new() }
    }

    /// Starts a family; its samples follow.
    pub(super) fn family(&mut self, family: Family) -> fmt::Result {
        self.family = Some(family);
        let name = family.name;
        writeln!(self.out, "# TYPE {name} {}", family.kind.as_str())?;
        if let Some(unit) = family.unit {
            writeln!(self.out, "# UNIT {name} {unit}")?;
        }
        write!(self.out, "# HELP {name} ")?;
        self.escaped(family.help)?;
        self.out.write_char('\n')
    }

    /// Writes a sample of the family.
    pub(super) fn sample(
        &mut self,
        labels: &[(&str, &str)],
        value: impl Into<Value>,
    ) -> fmt::Result {
        let Some(family) = self.family else { return Ok(()) };
        self.out.write_str(family.name)?;
        self.out.write_str(match family.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        })?;
        self.rest(labels, value.into())
    }

    /// Writes samples that differ in the value of one label: the values, and a number for each.
    /// `plain` values [need no escapes](is_plain), which are looked for once for many columns.
    pub(super) fn column<'a>(
        &mut self,
        label: &str,
        plain: bool,
        samples: impl Iterator<Item = (&'a str, Value)>,
    ) -> fmt::Result {
        let Some(family) = self.family else { return Ok(()) };
        self.head.clear();
        let total = if family.kind == Kind::Counter { "_total" } else { "" };
        write!(self.head, "{}{total}{{{label}=\"", family.name)?;
        for (name, value) in samples {
            self.out.write_str(&self.head)?;
            if plain {
                self.out.write_str(name)?;
            } else {
                self.escaped(name)?;
            }
            self.out.write_str("\"} ")?;
            write_line(value, self.out)?;
        }
        Ok(())
    }

    /// Writes the samples of a histogram: the cumulative count of each bound, the sum and the
    /// count.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        histogram: &Histogram,
    ) -> fmt::Result {
        let Some(family) = self.family else { return Ok(()) };
        let mut so_far = 0_u64;
        for (at, count) in histogram.counts.iter().enumerate() {
            so_far = so_far.saturating_add(*count);
            let bound = match histogram.bounds.get(at) {
                Some(bound) => format!("{bound:?}"),
                None => "+Inf".into(),
            };
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            write!(self.out, "{}_bucket", family.name)?;
            self.rest(&labels, so_far.into())?;
        }
        write!(self.out, "{}_sum", family.name)?;
        self.rest(labels, histogram.sum.as_secs_f64().into())?;
        write!(self.out, "{}_count", family.name)?;
        self.rest(labels, histogram.count.into())
    }

    /// Ends the text.
    pub(super) fn end(&mut self) -> fmt::Result {
        self.out.write_str("# EOF\n")
    }

    /// Writes a sample after its name.
    fn rest(&mut self, labels: &[(&str, &str)], value: Value) -> fmt::Result {
        for (at, (name, value)) in labels.iter().enumerate() {
            self.out.write_str(if at == 0 { "{" } else { "," })?;
            self.out.write_str(name)?;
            self.out.write_str("=\"")?;
            self.escaped(value)?;
            self.out.write_char('"')?;
        }
        self.out.write_str(if labels.is_empty() { " " } else { "} " })?;
        write_line(value, self.out)
    }

    fn escaped(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.out.write_str(before)?;
            self.out.write_str(match after.as_bytes() {
                [b'\\', ..] => "\\\\",
                [b'"', ..] => "\\\"",
                _ => "\\n",
            })?;
            rest = after.get(1..).unwrap_or_default();
        }
        self.out.write_str(rest)
    }
}

/// Whether a label's value is written as it is.
pub(super) fn is_plain(text: &str) -> bool {
    memchr::memchr3(b'\\', b'"', b'\n', text.as_bytes()).is_none()
}
