//! A request from its parts: a prompt or a body, the client's headers, and the host's options.

use alloc::string::String;
use core::time::Duration;

use slotwise::{
    AnswerId, CacheUse, EndpointId, Instant, PortMatch, Priority, Rejected, Request, Role,
    Scheduler, Subset,
};
use slotwise_wire::headers::{Allow, RequestHeaders};

/// What a host sets for a request, whatever the client sent. `None` leaves the client's value.
///
/// ```
/// use slotwise::{Instant, Priority, Request};
/// use slotwise_gateway::RequestOptions;
/// use slotwise_wire::headers::{Allow, RequestHeaders};
///
/// let headers = RequestHeaders::read([
///     (b"x-vllm-priority".as_slice(), b"-7".as_slice()),
///     (b"x-session-id", b"s1"),
/// ]);
/// let options = RequestOptions { priority: Some(Priority(3)), ..RequestOptions::default() };
/// let allow = Allow::everything();
/// let request = options.merge(Instant::ORIGIN, &allow, &headers, Request::new("llama"));
/// assert_eq!((request.priority, request.session), (Priority(3), Some("s1")));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "bindings build it by functional update")]
pub struct RequestOptions<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// The LoRA adapter.
    pub adapter: Option<&'a str>,
    /// Requests with different salts share no cache.
    pub cache_salt: Option<&'a str>,
    /// What the engine does with its cache for the request.
    pub cache_use: Option<CacheUse>,
    /// The id of the answer that the request continues from.
    pub continues: Option<&'a str>,
    /// The session.
    pub session: Option<&'a str>,
    /// The unit of fairness.
    pub flow: Option<&'a str>,
    /// The priority; higher goes first.
    pub priority: Option<Priority>,
    /// The request's share within its flow.
    pub weight: Option<f64>,
    /// The latest useful time of the first token.
    pub deadline: Option<Instant>,
    /// The service level of the time to first token.
    pub slo_ttft: Option<Duration>,
    /// The service level of the time per output token.
    pub slo_tpot: Option<Duration>,
    /// How long the request may be queued.
    pub ttl: Option<Duration>,
    /// Tokens that the answer is expected to have.
    pub expected_output_tokens: Option<u32>,
    /// The stages that the endpoint must run.
    pub role: Option<Role>,
    /// Whether the answer comes as a stream.
    pub streams: Option<bool>,
    /// Whether the request has media, even if its body shows none.
    pub multimodal: bool,
    /// Labels that the endpoint must carry.
    pub labels: &'a [(&'a str, &'a str)],
    /// Headers that the plugins of a scheduling profile may read, with names in lower case.
    pub plugin_headers: &'a [(&'a str, &'a str)],
    /// Endpoints that must not serve the request.
    pub exclude: &'a [EndpointId],
    /// The only endpoints that may serve the request.
    pub subset: Option<Subset<'a>>,
    /// How ports of the subset's addresses are compared, also of a header's.
    pub subset_ports: Option<PortMatch>,
}

impl<'a> RequestOptions<'a> {
    /// The request with its headers and these options. Options take precedence over headers, and
    /// headers over the request, which comes from a body or a prompt.
    pub fn merge<'r>(
        &self,
        now: Instant,
        allow: &Allow,
        headers: &RequestHeaders<'r>,
        request: Request<'r>,
    ) -> Request<'r>
    where
        'a: 'r,
    {
        self.apply(headers.apply_allowed(allow, now, request))
    }

    /// The request with these options.
    pub fn apply<'r>(&self, request: Request<'r>) -> Request<'r>
    where
        'a: 'r,
    {
        let mut request = request.labels(self.labels).exclude(self.exclude);
        if !self.plugin_headers.is_empty() {
            request = request.headers(self.plugin_headers);
        }
        request.subset = self.subset.or(request.subset);
        if let Some(ports) = self.subset_ports {
            request.subset = request.subset.map(|subset| subset.ports(ports));
        }
        request.model = self.model.unwrap_or(request.model);
        request.adapter = self.adapter.or(request.adapter);
        request.cache_salt = self.cache_salt.or(request.cache_salt);
        request.cache_use = self.cache_use.unwrap_or(request.cache_use);
        request.continues = self.continues.map(AnswerId::of).or(request.continues);
        request.session = self.session.or(request.session);
        request.flow = self.flow.unwrap_or(request.flow);
        request.priority = self.priority.unwrap_or(request.priority);
        request.weight = self.weight.unwrap_or(request.weight);
        request.deadline = self.deadline.or(request.deadline);
        request.slo_ttft = self.slo_ttft.or(request.slo_ttft);
        request.slo_tpot = self.slo_tpot.or(request.slo_tpot);
        request.ttl = self.ttl.or(request.ttl);
        request.expected_output_tokens =
            self.expected_output_tokens.unwrap_or(request.expected_output_tokens);
        request.role = self.role.unwrap_or(request.role);
        request.streams = self.streams.unwrap_or(request.streams);
        request.multimodal |= self.multimodal;
        request
    }
}

/// The texts of a rejection: the client's, and the host's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RejectionTexts {
    /// The reason as one sentence without a full stop, for the client.
    pub sentence: String,
    /// The reason, and when to retry, for logs and exceptions.
    pub message: String,
}

impl RejectionTexts {
    /// The texts for this request. Computes as
    /// [`rejection_message`](Scheduler::rejection_message).
    pub fn new(scheduler: &Scheduler, request: &Request<'_>, rejected: &Rejected) -> Self {
        let sentence = scheduler.rejection_message(request, rejected);
        Self { message: rejected.message(&sentence), sentence }
    }
}
