//! A queued request, with everything that a dispatch attempt needs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::time::Duration;

use crate::endpoint::{EndpointId, Role};
use crate::placement::Lookup;
use crate::request::{Priority, Request, RequestId};
use crate::subset::OwnedSubset;
use crate::time::{Instant, Seconds};

/// A request in the queue: its prompt's blocks, and its requirements.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) id: RequestId,
    pub(crate) since: Instant,
    pub(crate) charge: FlowCharge,
    /// The key of the flow or session, if the request has one.
    pub(crate) suspect: Option<u64>,
    /// The key of the session, if the client named one.
    pub(crate) session: Option<u64>,
    /// The key of the adapter that has to be loaded first.
    pub(crate) load: Option<u64>,
    pub(crate) lookup: Lookup,
    pub(crate) adapter: Option<Box<str>>,
    model: Box<str>,
    labels: Box<[(Box<str>, Box<str>)]>,
    exclude: Box<[EndpointId]>,
    subset: Option<OwnedSubset>,
    headers: Box<[(Box<str>, Box<str>)]>,
    role: Role,
    multimodal: bool,
    deadline: Option<Instant>,
    slo_tpot: Option<Duration>,
    expected_output_tokens: u32,
}

/// The charge of a request to its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowCharge {
    pub(crate) priority: Priority,
    pub(crate) flow: u64,
    /// The predicted work.
    pub(crate) work: Seconds,
    /// The predicted service: see [`Fairness::service`](crate::Fairness::service).
    pub(crate) service: Seconds,
}

impl QueuedRequest {
    pub(crate) fn new(
        id: RequestId,
        since: Instant,
        charge: FlowCharge,
        session: Option<u64>,
        request: &Request<'_>,
        lookup: &Lookup,
    ) -> Self {
        Self {
            id,
            since,
            charge,
            suspect: None,
            load: None,
            session,
            lookup: lookup.kept(),
            adapter: request.adapter.map(Into::into),
            model: request.model.into(),
            labels: owned(request.labels),
            exclude: request.exclude.into(),
            subset: request.subset.map(OwnedSubset::from),
            headers: owned(request.headers),
            role: request.role,
            multimodal: request.multimodal,
            deadline: request.must_start_by(since),
            slo_tpot: request.slo_tpot,
            expected_output_tokens: request.expected_output_tokens,
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The labels in the form of a [`Request`].
    pub(crate) fn labels(&self) -> Vec<(&str, &str)> {
        borrowed(&self.labels)
    }

    /// The headers in the form of a [`Request`].
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        borrowed(&self.headers)
    }

    /// The request without its prompt, which has been hashed.
    pub(crate) fn request<'a>(
        &'a self,
        labels: &'a [(&'a str, &'a str)],
        headers: &'a [(&'a str, &'a str)],
    ) -> Request<'a> {
        let mut request = Request::new(&self.model).priority(self.charge.priority).role(self.role);
        request.adapter = self.adapter.as_deref();
        request.labels = labels;
        request.exclude = &self.exclude;
        request.multimodal = self.multimodal;
        request.subset = self.subset.as_ref().map(OwnedSubset::as_subset);
        request.headers = headers;
        request.deadline = self.deadline;
        request.slo_tpot = self.slo_tpot;
        request.expected_output_tokens = self.expected_output_tokens;
        request
    }
}

fn owned(pairs: &[(&str, &str)]) -> Box<[(Box<str>, Box<str>)]> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn borrowed(pairs: &[(Box<str>, Box<str>)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (&**key, &**value)).collect()
}
