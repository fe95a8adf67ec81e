//! Parses a metrics page in one pass, line by line.
//!
//! Written by hand: `prometheus-parse` copies every sample. A scrape has thousands of lines, of
//! which a dozen count.

use alloc::vec::Vec;

use memchr::{memchr, memchr3};

use super::Result;
use super::aggregate::PageAggregate;
use super::metric_index::{MetricIndex, Wanted};
use super::report::MetricsReport;
use super::sample::{self, Label};
use crate::error::{ErrorKind, WireError};

/// A pass over a page. What a line contributes does not depend on the lines before it, except for
/// the order of samples.
pub(super) struct Pass<'a> {
    names: &'a MetricIndex,
    /// The rank label of metrics that were requested by name.
    rank_label: Option<&'a str>,
    page: &'a [u8],
    /// The start of the next line.
    next: usize,
    /// A name that is not wanted. Lines of one metric are adjacent, and most metrics are not
    /// wanted: their name is found and looked up once. No wanted metric has an empty name.
    unwanted: &'a [u8],
    skipped: usize,
    labels: Vec<Label<'a>>,
    aggregate: PageAggregate<'a>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(names: &'a MetricIndex, rank_label: Option<&'a str>, page: &'a [u8]) -> Self {
        Self {
            names,
            rank_label,
            page,
            next: 0,
            unwanted: b"",
            skipped: 0,
            labels: Vec::new(),
            aggregate: PageAggregate::default(),
        }
    }

    /// Parses the next line.
    pub(super) fn line(&mut self) -> Result<()> {
        self.lines_before(self.page.len().min(self.next + 1))
    }

    /// Parses all lines that are left.
    pub(super) fn lines(&mut self) -> Result<()> {
        self.lines_before(self.page.len())
    }

    /// Parses the lines that begin before `end`, which is on the page.
    #[inline]
    fn lines_before(&mut self, end: usize) -> Result<()> {
        let Self { names, page, mut next, mut unwanted, mut skipped, .. } = *self;
        while next < end {
            let start = next;
            let rest = page.get(start..).unwrap_or_default();
            let length = memchr(b'\n', rest);
            let line = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
            next = start + line.len() + 1;
            match line.first() {
                None | Some(b'#') => continue,
                _ => {}
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
            let text = line.get(blanks..).unwrap_or_default();
            let known = has_name(text, unwanted);
            let name = if known { unwanted } else { name(text) };
            let wanted = if known { &[] } else { names.find(name) };
            if wanted.is_empty() {
                unwanted = name;
                skipped += usize::from(!may_be_sample(text, name));
                continue;
            }
            if length.is_none() {
                return Err(WireError::new(page.len(), ErrorKind::Truncated));
            }
            let up_to_end = page.get(..start + line.len()).unwrap_or_default();
            self.take(wanted, up_to_end, start + blanks + name.len())?;
        }
        (self.next, self.unwanted, self.skipped) = (next, unwanted, skipped);
        Ok(())
    }

    /// Adds the sample at the end of `page`, whose name ends at `at`.
    fn take(&mut self, wanted: &[Wanted], page: &'a [u8], at: usize) -> Result<()> {
        let value = sample::read(page, at, &mut self.labels)?;
        for wanted in wanted {
            let rank_label = match wanted.engine {
                Some(engine) => engine.rank_label(),
                None => self.rank_label,
            };
            self.aggregate.take(wanted, rank_label, &self.labels, value)?;
        }
        Ok(())
    }

    /// The page from the next line on.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.page.get(self.next..).unwrap_or_default()
    }

    /// Passes over lines that contribute nothing, up to this rest of the page.
    pub(super) const fn pass_over(&mut self, rest: &[u8]) {
        self.next = self.page.len() - rest.len();
    }

    /// Builds the report.
    pub(super) fn finish(self) -> Result<MetricsReport> {
        let report = self.aggregate.finish(self.skipped)?;
        if report.says_nothing() && !is_metrics(self.page) {
            return Err(WireError::new(0, ErrorKind::NotMetrics));
        }
        Ok(report)
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The name of a line's metric: all before its labels or its value.
pub(super) fn name(text: &[u8]) -> &[u8] {
    let end = memchr3(b'{', b' ', b'\t', text).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Whether the name of a line's metric is that of an earlier line.
fn has_name(text: &[u8], name: &[u8]) -> bool {
    text.strip_prefix(name)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'{' | b' ' | b'\t')))
}

/// Whether a line is a sample or a comment of the format. Called only for pages without any known
/// metric.
fn is_metrics(page: &[u8]) -> bool {
    let mut labels = Vec::new();
    page.split(|byte| *byte == b'\n').any(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if let Some(comment) = line.strip_prefix(b"# ") {
            return [&b"HELP "[..], b"TYPE ", b"UNIT "]
                .iter()
                .any(|word| comment.starts_with(word));
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        let name = line.iter().take_while(|byte| is_name(byte)).count();
        let begins = line.first().is_some_and(|first| !first.is_ascii_digit()) && name > 0;
        let ends = line.get(name).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'{'));
        begins && ends && sample::read(line, name, &mut labels).is_ok()
    })
}

/// Whether an unwanted line may be a sample or a comment, judged by its name, the byte after the
/// name, and its end.
fn may_be_sample(text: &[u8], name: &[u8]) -> bool {
    let Some(first) = text.first() else { return true };
    if *first == b'#' {
        return true;
    }
    let last = text.iter().rev().find(|byte| !is_blank(**byte));
    let ends = last.is_some_and(|last| ends_sample(*last));
    begins_sample(*first) & ends & (name.len() < text.len())
}

/// Whether the name of a sample may begin with this byte.
pub(super) const fn begins_sample(byte: u8) -> bool {
    BEGINS[byte as usize]
}

/// Whether a sample may end in this byte.
pub(super) const fn ends_sample(byte: u8) -> bool {
    ENDS[byte as usize]
}

const BEGINS: [bool; 256] = {
    let (mut begins, mut byte) = ([false; 256], 0);
    while byte < 256 {
        begins[byte] = (byte as u8).is_ascii_alphabetic() || matches!(byte as u8, b'_' | b':');
        byte += 1;
    }
    begins
};

const ENDS: [bool; 256] = {
    let (mut ends, mut byte) = ([false; 256], 0);
    while byte < 256 {
        ends[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'.';
        byte += 1;
    }
    ends
};
