//! A queued request, with everything that a dispatch attempt needs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::endpoint::{EndpointId, Role};
use crate::placement::Lookup;
use crate::request::{Priority, Request, RequestId};
use crate::time::{Instant, Seconds};

/// A request in the queue: its prompt's blocks, and its requirements.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) id: RequestId,
    pub(crate) since: Instant,
    /// Since when the request waits for its best endpoint although another has room.
    pub(crate) holding_out_since: Option<Instant>,
    pub(crate) charge: FlowCharge,
    /// The key of the flow or session, if the request has one.
    pub(crate) suspect: Option<u64>,
    /// The key of the session, if the client named one.
    pub(crate) session: Option<u64>,
    pub(crate) lookup: Lookup,
    pub(crate) adapter: Option<Box<str>>,
    model: Box<str>,
    labels: Box<[(Box<str>, Box<str>)]>,
    exclude: Box<[EndpointId]>,
    role: Role,
    multimodal: bool,
    deadline: Option<Instant>,
    expected_output_tokens: u32,
}

/// The charge of a request to its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowCharge {
    pub(crate) priority: Priority,
    pub(crate) flow: u64,
    pub(crate) charged: Seconds,
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
        let labels = request.labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Self {
            id,
            since,
            holding_out_since: None,
            charge,
            suspect: None,
            session,
            lookup: lookup.kept(),
            adapter: request.adapter.map(Into::into),
            model: request.model.into(),
            labels: labels.collect(),
            exclude: request.exclude.into(),
            role: request.role,
            multimodal: request.multimodal,
            deadline: request.deadline,
            expected_output_tokens: request.expected_output_tokens,
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The labels in the form of a [`Request`].
    pub(crate) fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(key, value)| (&**key, &**value)).collect()
    }

    /// The request without its prompt, which has been hashed.
    pub(crate) fn request<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> Request<'a> {
        let mut request = Request::new(&self.model).priority(self.charge.priority).role(self.role);
        request.adapter = self.adapter.as_deref();
        request.labels = labels;
        request.exclude = &self.exclude;
        request.multimodal = self.multimodal;
        request.deadline = self.deadline;
        request.expected_output_tokens = self.expected_output_tokens;
        request
    }
}
