//! The input of a placement: a request and the conditions of the search.

use super::lookup::Lookup;
use super::refusal::Relaxation;
use crate::flow::SessionAdmission;
use crate::request::Request;
use crate::time::Instant;

/// A request, its prompt's lookup, and the conditions of one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) now: Instant,
    pub(crate) request: &'a Request<'a>,
    pub(crate) lookup: &'a Lookup,
    /// Session admission, if the request begins a session.
    pub(crate) session_admission: Option<&'a SessionAdmission>,
    /// The request can wait, so a full endpoint is better than one that is backed off.
    pub(crate) can_wait: bool,
    /// Which exclusions for health are waived.
    pub(crate) relaxation: Relaxation,
}

impl<'a> Query<'a> {
    /// A request that is dispatched now or rejected.
    pub(crate) const fn immediate(
        now: Instant,
        request: &'a Request<'a>,
        lookup: &'a Lookup,
    ) -> Self {
        Self {
            now,
            request,
            lookup,
            session_admission: None,
            can_wait: false,
            relaxation: Relaxation::None,
        }
    }
}
