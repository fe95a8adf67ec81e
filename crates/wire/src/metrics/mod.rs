//! The load of model servers: metrics pages and ORCA headers.
//!
//! [`MetricsReader`] parses a page in the text format of Prometheus or OpenMetrics in one pass into
//! a [`MetricsReport`]. The report has the [`Load`](slotwise::Load) of each data-parallel rank and
//! of the endpoint, the LoRA adapters in use, and the layout of the KV cache. [`OrcaReport`] parses
//! the header `endpoint-load-metrics` of a response.
//!
//! ```text
//!  page -> MetricsReader::read -> MetricsReport: load()        the load of the endpoint
//!                                                adapters      the LoRA adapters in use
//!                                                configure(e)  block size, capacity, slots
//!  header -> OrcaReport::read -> OrcaReport:     load
//! ```
//!
//! Rules for both:
//!
//! - NaN and infinity count as missing: engines report them before their first value.
//! - Numbers are clamped to the range of their field: counts to `0..2^32`, shares to `[0, 1]`.
//!   Fractions of counts are rounded.
//! - A malformed wanted line is an error with its offset, and the page has no report. An unwanted
//!   line is skipped; it is counted if it cannot be a sample.
//! - Input that is not a report (HTML, an empty page, another header) is the error `not_metrics`. A
//!   page without known metrics has the warning `nothing_known`, which is an error where a load is
//!   required. Neither is the report of an idle engine.
//! - Timestamps and exemplars are ignored. An engine that stops updating its gauges must be
//!   detected by other means.

mod aggregate;
mod engine;
mod layout;
mod metric_index;
mod orca;
mod pass;
mod reader;
mod report;
mod sample;
mod scrape_reader;
mod spec;

pub use engine::Engine;
pub use orca::{ORCA_FORMAT_HEADER, ORCA_HEADER, OrcaReport};
pub use reader::MetricsReader;
pub use report::{Adapters, KvCache, MetricsReport, RankReport, Warning};
pub use scrape_reader::ScrapeReader;
pub use spec::{Field, MetricSpec};

use crate::error::WireError;

/// A report, or why the input is not one.
pub type Result<T> = core::result::Result<T, WireError>;
