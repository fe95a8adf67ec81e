//! What dashboards and traces read: OpenMetrics text of a scheduler's [`Stats`], and attributes for spans.
//!
//! | file | what it knows |
//! |---|---|
//! | here | which endpoints have a name of their own, and in which order families come |
//! | `text` | how OpenMetrics is written |
//! | `family` | our families, one row each |
//! | `reference` | the reference's families that can be told from `Stats` |
//! | `trace` | attributes of a decision in OpenTelemetry's words |

mod family;
mod reference;
mod text;
mod trace;

use alloc::string::String;
use core::fmt;

use slotwise::{EndpointStats, Stats};

pub use family::{Family, Kind};
pub use trace::{
    Attribute, AttributeValue, dispatch_attributes, refusal_attributes, usage_attributes,
};

use text::Writer;

/// How a scheduler's [`Stats`] become OpenMetrics text.
///
/// The names begin with `slotwise_`; [`families`](Self::families) lists them. The text is a function of `Stats` and these
/// settings, in one order, and computes in **O(endpoints)**.
///
/// ```
/// use slotwise::Stats;
/// use slotwise_wire::exposition::Exposition;
///
/// let exposition = Exposition::new().endpoint_limit(500);
/// let mut text = String::new(); // kept between scrapes
/// exposition.render(&Stats::default(), &mut text);
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
    /// What the endpoints past the limit are called together.
    pub const OTHER: &'static str = "other";

    /// Our names only, and up to 1,000 endpoints by name.
    pub const fn new() -> Self {
        Self { endpoint_limit: 1_000, reference_pool: None }
    }

    /// How many endpoints have a name of their own. The others are one, called [`OTHER`](Self::OTHER): what is counted there is their sum, a
    /// length of time or a factor is the largest of theirs.
    ///
    /// Those with a name are the first in `Stats`. When an endpoint leaves, another one may take its place, and the counters of `other`
    /// go down; so the limit had better be above what the pool usually has.
    pub fn endpoint_limit(self, endpoints: usize) -> Self {
        Self { endpoint_limit: endpoints, ..self }
    }

    /// Adds the reference's names (`llm_d_epp_...`), for a pool of this name, as far as `Stats` tells them.
    pub fn reference_names(self, pool: impl Into<String>) -> Self {
        Self { reference_pool: Some(pool.into()), ..self }
    }

    /// All of our families, in the order of the text.
    pub fn families() -> impl Iterator<Item = Family> {
        family::all()
    }

    /// All of the reference's families that are written with [`reference_names`](Self::reference_names).
    pub fn reference_families() -> impl Iterator<Item = Family> {
        reference::all()
    }

    /// Puts the text into `text`, in the place of what it holds.
    pub fn render(&self, stats: &Stats, text: &mut String) {
        text.clear();
        // A String takes whatever it is given.
        let _ = self.write(stats, text);
    }

    /// Writes the text to `out`, a little at a time.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, stats: &Stats, out: &mut impl fmt::Write) -> fmt::Result {
        let mut out = Writer::new(out);
        let named = Named::new(stats, self.endpoint_limit);
        family::write(stats, named, &mut out)?;
        if let Some(pool) = &self.reference_pool {
            reference::write(stats, named, pool, &mut out)?;
        }
        out.end()
    }
}

/// The endpoints, and which of them have a name of their own.
#[derive(Clone, Copy)]
struct Named<'a> {
    endpoints: &'a [EndpointStats],
    limit: usize,
}

impl<'a> Named<'a> {
    fn new(stats: &'a Stats, limit: usize) -> Self {
        Self { endpoints: &stats.endpoints, limit }
    }

    /// Those with a name of their own.
    fn named(self) -> impl Iterator<Item = &'a EndpointStats> {
        self.split(true)
    }

    /// Those that are one.
    fn rest(self) -> impl Iterator<Item = &'a EndpointStats> {
        self.split(false)
    }

    fn split(self, named: bool) -> impl Iterator<Item = &'a EndpointStats> {
        let crowded = self.endpoints.len() > self.limit;
        self.endpoints.iter().enumerate().filter_map(move |(at, endpoint)| {
            // One that is called like the rest would be the rest twice.
            let own = at < self.limit && !(crowded && endpoint.name == Exposition::OTHER);
            (own == named).then_some(endpoint)
        })
    }
}

/// The page of the book, for its example.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/observability.md")]
mod book {}
