//! What engines say about their load: metrics pages and ORCA headers.
//!
//! [`MetricsReader`] reads a page in the text format of Prometheus or OpenMetrics in one pass, and gives a
//! [`MetricsReport`]: the [`Load`](slotwise::Load) of each data-parallel rank and of all together, the LoRA adapters in
//! use, and what the engine says of its KV cache. [`OrcaReport`] comes with each answer, in the header
//! `endpoint-load-metrics`.
//!
//! ```text
//!  page ── MetricsReader::read ──> MetricsReport ── load()       ──> the core's load
//!                                                ── adapters     ──> AdapterState
//!                                                ── configure(e) ──> Endpoint: block size, capacity, slots
//!  header ── OrcaReport::read ───> OrcaReport    ── load         ──> the core's load
//! ```
//!
//! What holds for both:
//! - A NaN or an infinity is as if the line were not there: engines say so before they know.
//! - Numbers are cut to the range of their field: a negative count is 0, a count beyond 2^32 is the largest, a share
//!   stays in `[0, 1]`. Counts with a fraction are rounded.
//! - A line that is wanted and malformed is an error with its offset, and nothing of the page is given back. One that
//!   is not wanted is skipped, and counted where it is seen to be none.
//! - What is no report at all (HTML, an empty page, a header of something else) is an error, `not_metrics`; metrics of
//!   which none is known are a warning of the report, `nothing_known`, and an error where a load is wanted. Neither is
//!   a report of an idle engine.
//! - Timestamps and exemplars are read over. An engine that stops to update its gauges has to be found out by other
//!   means.

mod aggregate;
mod engine;
mod metric_index;
mod orca;
mod reader;
mod report;
mod sample;
mod spec;

pub use engine::Engine;
pub use orca::{ORCA_FORMAT_HEADER, ORCA_HEADER, OrcaReport};
pub use reader::MetricsReader;
pub use report::{Adapters, KvCache, MetricsReport, RankReport, Warning};
pub use spec::{Field, MetricSpec};

use crate::error::WireError;

/// A report, or why the bytes are none.
pub type Result<T> = core::result::Result<T, WireError>;
