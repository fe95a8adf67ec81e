//! The input of a placement: a request and the conditions of the search.

use super::lookup::Lookup;
use super::refusal::Relaxation;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{ParkedWork, SessionAdmission};
use crate::request::Request;
use crate::time::{Instant, Seconds};

/// A request, its prompt's lookup, and the conditions of one search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) now: Instant,
    pub(crate) request: &'a Request<'a>,
    pub(crate) lookup: &'a Lookup,
    /// What the endpoint does for the request.
    pub(crate) work: Work,
    /// Session admission, if the request begins a session.
    pub(crate) session_admission: Option<&'a SessionAdmission>,
    /// The request can wait, so a full endpoint is better than one that is backed off.
    pub(crate) can_wait: bool,
    /// Work that is parked for endpoints, if the request is queued.
    pub(crate) parked_work: Option<ParkedWork<'a>>,
    /// Which exclusions for health are waived.
    pub(crate) relaxation: Relaxation,
    /// What a scheduling profile needs besides.
    pub(crate) cycle: CycleKeys,
}

/// The keys of one cycle of a scheduling profile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CycleKeys {
    /// The request's id: its random choices follow from it.
    pub(crate) request: u64,
    /// The key of the session, if the request names one.
    pub(crate) session: Option<u64>,
    /// The endpoint of the peer stage.
    pub(crate) peer: Option<EndpointId>,
}

impl CycleKeys {
    pub(crate) fn of(fleet: &Fleet, request: &Request<'_>, id: u64) -> Self {
        let session = request.session.map(|session| fleet.hasher.name(session));
        Self { request: id, session, peer: None }
    }
}

/// What an endpoint does for a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Work {
    /// It computes the prompt.
    #[default]
    Prompt,
    /// It answers a prompt that another endpoint computes and whose KV cache can be moved after
    /// this time.
    Answer { ready_in: Seconds },
    /// It encodes the media, and does not hold the prompt.
    Encode,
}

impl Work {
    /// Whether both are the same kind of work.
    pub(crate) fn is_like(self, other: Self) -> bool {
        core::mem::discriminant(&self) == core::mem::discriminant(&other)
    }
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
            work: Work::Prompt,
            session_admission: None,
            can_wait: false,
            parked_work: None,
            relaxation: Relaxation::None,
            cycle: CycleKeys { request: 0, session: None, peer: None },
        }
    }
}
