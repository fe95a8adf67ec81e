//! Output for dashboards and traces: a scheduler's [`Stats`] as OpenMetrics text, and attributes of
//! spans.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the endpoints with their own samples, and the order of families |
//! | `text`, `number` | the OpenMetrics writer |
//! | `definition` | the name, type, unit, labels and help of a family |
//! | `catalog` | the families of slotwise, one row each |
//! | `reference` | families of the reference that `Stats` can provide |
//! | `trace` | attributes of a decision, in OpenTelemetry's terms |

mod catalog;
mod definition;
mod number;
mod reference;
mod text;
mod trace;

use alloc::string::String;
use core::fmt;

use slotwise::{EndpointStats, Stats};

pub use definition::{Family, Kind};
pub use trace::{
    Attribute, AttributeValue, dispatch_attributes, refusal_attributes, usage_attributes,
};

use text::Writer;

/// Renders a scheduler's [`Stats`] as OpenMetrics text.
///
/// The names start with `slotwise_`; [`families`](Self::families) lists them. The text depends only
/// on `Stats` and these settings. Computes in **O(endpoints)**.
///
/// ```
/// use slotwise::Scheduler;
/// use slotwise_wire::exposition::Exposition;
///
/// let exposition = Exposition::new().endpoint_limit(500);
/// let mut text = String::new(); // kept between scrapes
/// exposition.render(&Scheduler::default().stats(), &mut text);
/// assert!(text.contains("slotwise_in_flight_requests 0\n"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposition {
    endpoint_limit: usize,
    reference_pool: Option<String>,
}

impl Default for Exposition {
    fn default() -> Self {
        Self::new()
    }
}

impl Exposition {
    /// The `Content-Type` of the text.
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
    /// The name that all endpoints beyond the limit share.
    pub const OTHER: &'static str = "other";

    /// Creates an exposition of slotwise's own families, with up to 1,000 endpoints by name.
    pub const fn new() -> Self {
        Self { endpoint_limit: 1_000, reference_pool: None }
    }

    /// Sets how many endpoints have their own samples.
    ///
    /// All others share the name [`OTHER`](Self::OTHER). Their counts are summed; of durations and
    /// factors, the maximum counts. Endpoints with their own samples are the first in `Stats`. When
    /// one leaves, another takes its place and leaves `other`, whose counters decrease. So set the
    /// limit above the usual size of the pool.
    pub fn endpoint_limit(self, endpoints: usize) -> Self {
        Self { endpoint_limit: endpoints, ..self }
    }

    /// Adds the reference's names (`llm_d_epp_...`) for a pool of this name, as far as `Stats`
    /// provides them.
    pub fn reference_names(self, pool: impl Into<String>) -> Self {
        Self { reference_pool: Some(pool.into()), ..self }
    }

    /// All families of slotwise, in the order of the text.
    pub fn families() -> impl Iterator<Item = Family> {
        catalog::all()
    }

    /// All families that [`reference_names`](Self::reference_names) adds.
    pub fn reference_families() -> impl Iterator<Item = Family> {
        reference::all()
    }

    /// Replaces the contents of `text` with the rendered text.
    pub fn render(&self, stats: &Stats, text: &mut String) {
        text.clear();
        // Writing to a `String` cannot fail.
        let _ = self.write(stats, text);
    }

    /// Writes the text to `out` in small pieces.
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    pub fn write(&self, stats: &Stats, out: &mut impl fmt::Write) -> fmt::Result {
        let mut out = Writer::new(out);
        let named = Named::new(stats, self.endpoint_limit);
        catalog::write(stats, named, &mut out)?;
        if let Some(pool) = &self.reference_pool {
            reference::write(stats, named, pool, &mut out)?;
        }
        out.end()
    }
}

/// The endpoints, with the limit of those that have their own samples.
#[derive(Clone, Copy)]
struct Named<'a> {
    endpoints: &'a [EndpointStats],
    limit: usize,
    /// No name needs escapes.
    plain: bool,
}

impl<'a> Named<'a> {
    fn new(stats: &'a Stats, limit: usize) -> Self {
        let endpoints = &stats.endpoints;
        Self { endpoints, limit, plain: endpoints.iter().all(|it| text::is_plain(&it.name)) }
    }

    /// The endpoints with their own samples.
    fn named(self) -> impl Iterator<Item = &'a EndpointStats> {
        self.split(true)
    }

    /// The endpoints without.
    fn rest(self) -> impl Iterator<Item = &'a EndpointStats> {
        self.split(false)
    }

    fn split(self, named: bool) -> impl Iterator<Item = &'a EndpointStats> {
        let crowded = self.endpoints.len() > self.limit;
        self.endpoints.iter().enumerate().filter_map(move |(at, endpoint)| {
            // An endpoint named `other` would collide with the merged samples.
            let own = at < self.limit && !(crowded && endpoint.name == Exposition::OTHER);
            (own == named).then_some(endpoint)
        })
    }
}

/// Tests the example of the manual's page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/observability.md")]
mod book {}
