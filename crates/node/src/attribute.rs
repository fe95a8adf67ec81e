//! Attributes of trace spans.
#![expect(clippy::too_many_arguments, reason = "as for the calls of a scheduler")]

use napi::Either;
use napi_derive::napi;
use slotwise::{Dispatch, Priority, Request, Seconds, Usage};
use slotwise_wire::exposition::{
    AttributeValue, dispatch_attributes, refusal_attributes, usage_attributes,
};

use crate::error::Result;
use crate::number::{count, duration, finite, signed, to_endpoint_id, to_request_id};
use crate::refusal::refused;

/// Attributes of a span, in order.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Attributes {
    /// Their names.
    pub keys: Vec<&'static str>,
    /// Their values.
    pub values: Vec<Either<String, f64>>,
}

/// Span attributes of a dispatched request: the request, then its dispatch.
#[napi]
pub fn dispatch_of_span(
    model: String,
    adapter: Option<String>,
    session: Option<String>,
    flow: String,
    priority: f64,
    request_id: f64,
    endpoint_id: f64,
    name: String,
    alternatives: Vec<f64>,
    prompt_tokens: f64,
    cached_tokens: f64,
    best_cached_tokens: f64,
    cost: f64,
    queued: f64,
) -> Result<Attributes> {
    let mut asked = Request::new(&model);
    asked.adapter = adapter.as_deref();
    asked.session = session.as_deref();
    asked.flow = &flow;
    asked.priority = Priority(signed("priority", priority)?);
    let alternatives = alternatives.into_iter().map(|id| to_endpoint_id("alternatives", id));
    let mut dispatch =
        Dispatch::new(to_request_id(request_id)?, to_endpoint_id("endpointId", endpoint_id)?);
    dispatch.alternatives = alternatives.collect::<std::result::Result<_, _>>()?;
    dispatch.prompt_tokens = count("promptTokens", prompt_tokens)?;
    dispatch.cached_tokens = count("cachedTokens", cached_tokens)?;
    dispatch.best_cached_tokens = count("bestCachedTokens", best_cached_tokens)?;
    dispatch.cost = Seconds::new(finite("cost", cost)?);
    dispatch.queue_time = duration("queuedMs", queued)?;
    Ok(dispatch_attributes(&asked, &dispatch, &name).into_iter().collect())
}

/// Span attributes of a completed request.
#[napi]
pub fn usage_of_span(
    prompt_tokens: Option<f64>,
    cached_tokens: Option<f64>,
    completion_tokens: Option<f64>,
) -> Result<Attributes> {
    let usage = usage(prompt_tokens, cached_tokens, completion_tokens)?;
    Ok(usage_attributes(&usage).into_iter().collect())
}

/// Span attributes of a refused request.
#[napi]
pub fn refusal_of_span(
    reason: String,
    evicted: bool,
    retry_after: Option<f64>,
    queued: f64,
) -> Result<Attributes> {
    let refusal = refused(&reason, evicted, retry_after)?;
    let queued = duration("queuedMs", queued)?;
    Ok(refusal_attributes(&refusal, queued).into_iter().collect())
}

/// Usage that an engine reported.
pub(crate) fn usage(
    prompt: Option<f64>,
    cached: Option<f64>,
    completion: Option<f64>,
) -> Result<Usage> {
    let mut usage = Usage::default();
    usage.prompt_tokens = prompt.map(|tokens| count("promptTokens", tokens)).transpose()?;
    usage.cached_tokens = cached.map(|tokens| count("cachedTokens", tokens)).transpose()?;
    usage.completion_tokens =
        completion.map(|tokens| count("completionTokens", tokens)).transpose()?;
    Ok(usage)
}

impl<'a> FromIterator<slotwise_wire::exposition::Attribute<'a>> for Attributes {
    fn from_iter<I: IntoIterator<Item = slotwise_wire::exposition::Attribute<'a>>>(
        attributes: I,
    ) -> Self {
        let pairs = attributes.into_iter().map(|attribute| (attribute.key, value(attribute.value)));
        let (keys, values) = pairs.unzip();
        Self { keys, values }
    }
}

fn value(value: AttributeValue<'_>) -> Either<String, f64> {
    match value {
        AttributeValue::Text(text) => Either::A(text.into()),
        AttributeValue::Whole(number) => Either::B(number as f64),
        AttributeValue::Real(number) => Either::B(number),
        _ => Either::A(String::new()),
    }
}
