//! A request that waits, with all that it takes to weigh it again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::endpoint::{EndpointId, Role};
use crate::placement::Lookup;
use crate::request::{Priority, Request, RequestId};
use crate::time::{Instant, Seconds};

/// What is remembered of a request while it waits: its prompt in blocks, and what it asks of an endpoint.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) id: RequestId,
    pub(crate) since: Instant,
    /// Since when it has waited for a better endpoint than one that it could have had.
    pub(crate) holding_out_since: Option<Instant>,
    pub(crate) charge: FlowCharge,
    /// The key of its flow or session, if it has one.
    pub(crate) suspect: Option<u64>,
    /// The key of its session, if the client named one.
    pub(crate) session: Option<u64>,
    pub(crate) lookup: Lookup,
    pub(crate) adapter: Option<Box<str>>,
    model: Box<str>,
    labels: Box<[(Box<str>, Box<str>)]>,
    exclude: Box<[EndpointId]>,
    role: Role,
    deadline: Option<Instant>,
    expected_output_tokens: u32,
}

/// What a flow pays for a request.
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
            deadline: request.deadline,
            expected_output_tokens: request.expected_output_tokens,
        }
    }

    /// Whether its deadline has passed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Its labels, as a request has them.
    pub(crate) fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(key, value)| (&**key, &**value)).collect()
    }

    /// The request as it was, without its prompt: that has been read.
    pub(crate) fn request<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> Request<'a> {
        let mut request = Request::new(&self.model).priority(self.charge.priority).role(self.role);
        request.adapter = self.adapter.as_deref();
        request.labels = labels;
        request.exclude = &self.exclude;
        request.deadline = self.deadline;
        request.expected_output_tokens = self.expected_output_tokens;
        request
    }
}
