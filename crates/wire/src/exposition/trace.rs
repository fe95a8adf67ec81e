//! Span attributes in OpenTelemetry's semantic conventions for generative AI (in development, as of
//! version 1.44 of the general ones). Attributes that the conventions lack have our own namespace.
//!
//! The usage of a request is final only on completion. So token counts of a decision are our own
//! attributes (`slotwise.prompt_tokens`), and `gen_ai.usage.*` is set from the engine's [`Usage`]
//! only.

use alloc::vec::Vec;
use core::time::Duration;

use slotwise::{Dispatch, Request, Usage};

use crate::headers::Address;
use crate::outcome::Refusal;

/// A span attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attribute<'a> {
    /// Its name.
    pub key: &'static str,
    /// Its value.
    pub value: AttributeValue<'a>,
}

/// A value of one of OpenTelemetry's types.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
#[non_exhaustive]
pub enum AttributeValue<'a> {
    /// A string.
    Text(&'a str),
    /// An int.
    Whole(i64),
    /// A double.
    Real(f64),
}

impl<'a> Attribute<'a> {
    const fn text(key: &'static str, value: &'a str) -> Self {
        Self { key, value: AttributeValue::Text(value) }
    }

    fn whole(key: &'static str, value: impl TryInto<i64>) -> Self {
        Self { key, value: AttributeValue::Whole(value.try_into().unwrap_or(i64::MAX)) }
    }

    const fn real(key: &'static str, value: f64) -> Self {
        Self { key, value: AttributeValue::Real(value) }
    }

    const fn seconds(key: &'static str, value: Duration) -> Self {
        Self::real(key, value.as_secs_f64())
    }
}

/// The attributes of a dispatched request's span. `endpoint` is the name of its endpoint.
///
/// `server.address` and `server.port` are set if the name has an [`Address`], and
/// `gen_ai.conversation.id` if the request has a session.
///
/// ```
/// use slotwise::{Dispatch, EndpointId, Request, RequestId};
/// use slotwise_wire::exposition::{AttributeValue, dispatch_attributes};
///
/// let request = Request::new("llama").tokens(&[1; 100]);
/// let mut dispatch = Dispatch::new(RequestId::from_u64(0), EndpointId::from_u64(0));
/// dispatch.prompt_tokens = 100;
/// let attributes = dispatch_attributes(&request, &dispatch, "http://10.0.0.1:8000");
/// let of = |key| attributes.iter().find(|it| it.key == key).map(|it| it.value);
/// assert_eq!(of("gen_ai.request.model"), Some(AttributeValue::Text("llama")));
/// assert_eq!(of("server.port"), Some(AttributeValue::Whole(8000)));
/// assert_eq!(of("slotwise.prompt_tokens"), Some(AttributeValue::Whole(100)));
/// ```
pub fn dispatch_attributes<'a>(
    request: &Request<'a>,
    dispatch: &Dispatch,
    endpoint: &'a str,
) -> Vec<Attribute<'a>> {
    let mut attributes = Vec::with_capacity(15);
    attributes.push(Attribute::text("gen_ai.request.model", request.model));
    attributes.extend(request.session.map(|it| Attribute::text("gen_ai.conversation.id", it)));
    if let Some(address) = Address::of(endpoint) {
        attributes.push(Attribute::text("server.address", address.host));
        attributes.extend(address.port.map(|port| Attribute::whole("server.port", port)));
    }
    attributes.extend([
        Attribute::text("slotwise.endpoint", endpoint),
        Attribute::whole("slotwise.request_id", dispatch.request_id.as_u64()),
        Attribute::text("slotwise.flow", request.flow),
        Attribute::whole("slotwise.priority", request.priority.0),
        Attribute::real("slotwise.cost_seconds", dispatch.cost.get()),
        Attribute::seconds("slotwise.queued_seconds", dispatch.queue_time),
        Attribute::whole("slotwise.prompt_tokens", dispatch.prompt_tokens),
        Attribute::whole("slotwise.cached_tokens", dispatch.cached_tokens),
        Attribute::whole("slotwise.best_cached_tokens", dispatch.best_cached_tokens),
        Attribute::whole("slotwise.alternatives", dispatch.alternatives.len()),
    ]);
    attributes.extend(request.adapter.map(|adapter| Attribute::text("slotwise.adapter", adapter)));
    attributes
}

/// The attributes of a completed request's span, from the usage that the engine reported.
///
/// ```
/// use slotwise::Usage;
/// use slotwise_wire::exposition::{AttributeValue, usage_attributes};
///
/// let attributes = usage_attributes(&Usage::default().prompt_tokens(1_200).cached_tokens(1_024));
/// assert_eq!(attributes[1].key, "gen_ai.usage.cache_read.input_tokens");
/// assert_eq!(attributes[1].value, AttributeValue::Whole(1_024));
/// assert_eq!(attributes.len(), 2);
/// ```
pub fn usage_attributes(usage: &Usage) -> Vec<Attribute<'static>> {
    let tokens = [
        ("gen_ai.usage.input_tokens", usage.prompt_tokens),
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.output_tokens", usage.completion_tokens),
    ];
    tokens.into_iter().filter_map(|(key, value)| Some(Attribute::whole(key, value?))).collect()
}

/// The attributes of a refused request's span. `queued` is its time in the queue, zero for a
/// rejection.
///
/// ```
/// use core::time::Duration;
/// use slotwise::RejectReason;
/// use slotwise_wire::exposition::{AttributeValue, refusal_attributes};
/// use slotwise_wire::outcome::{Reason, Refusal};
///
/// let refusal = Refusal::new(Reason::Rejected(RejectReason::QueueFull));
/// let attributes = refusal_attributes(&refusal, Duration::ZERO);
/// assert_eq!(attributes[0].key, "error.type");
/// assert_eq!(attributes[0].value, AttributeValue::Text("queue_full"));
/// ```
pub fn refusal_attributes(refusal: &Refusal<'_>, queued: Duration) -> Vec<Attribute<'static>> {
    let mut attributes = Vec::with_capacity(4);
    attributes.push(Attribute::text("error.type", refusal.reason.code()));
    attributes.push(Attribute::whole("http.response.status_code", refusal.status()));
    attributes.push(Attribute::seconds("slotwise.queued_seconds", queued));
    let retry =
        refusal.retry_after.map(|after| Attribute::seconds("slotwise.retry_after_seconds", after));
    attributes.extend(retry);
    attributes
}
