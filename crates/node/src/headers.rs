//! Headers of requests.

use std::borrow::Cow;

use napi_derive::napi;
use slotwise_wire::WireError;
use slotwise_wire::headers::{Forwarding, Header, LoadFormat};

use crate::number::millis;

/// What is wrong with some bytes.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct WireProblem {
    /// The first byte that is not as it should be.
    pub offset: f64,
    /// The kind of error, the same in every language.
    #[napi(
        ts_type = "'truncated' | 'unexpected' | 'not_utf8' | 'too_deep' | 'too_long' | 'out_of_range' | 'unsupported' | 'no_prompt'"
    )]
    pub code: &'static str,
    /// The same in words.
    pub message: String,
}

/// A header that was present but unusable, in whole or in part.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct UnusableHeader {
    /// The name that the request called it by, in lower case.
    pub name: &'static str,
    /// What is wrong with its value.
    pub error: WireProblem,
}

/// Scheduling headers of a request; null if absent or unusable.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RequestHeaders {
    /// The unit of fairness, `flow` in the package.
    pub fairness_id: Option<String>,
    /// The objective's name. Which priority it has is for the gateway to know.
    pub objective: Option<String>,
    /// The model's name when the request is passed on.
    pub model_rewrite: Option<String>,
    /// The time to the first token that is still of use, in milliseconds.
    pub slo_ttft_ms: Option<f64>,
    /// The time for each token after it, in milliseconds.
    pub slo_tpot_ms: Option<f64>,
    /// How long the request may wait for a decision, in milliseconds.
    pub ttl_ms: Option<f64>,
    /// The conversation's name.
    pub session_id: Option<String>,
    /// The conversation's token.
    pub session_token: Option<String>,
    /// The client's name for the request.
    pub request_id: Option<String>,
    /// The endpoints that may have it; null means all; an empty or unreadable one means none.
    pub subset: Option<String>,
    /// The priority as the scheduler has it: higher goes first.
    pub priority: Option<f64>,
    /// The form in which the client wants the engine's load.
    #[napi(ts_type = "'TEXT' | 'JSON' | 'BIN'")]
    pub load_format: Option<&'static str>,
    /// The headers that were there and cannot be used, or not wholly.
    pub unusable: Vec<UnusableHeader>,
}

/// The names of all headers that mean something, in lower case.
#[napi]
pub fn header_names() -> Vec<&'static str> {
    Header::ALL
        .into_iter()
        .flat_map(|header| [Some(header.name()), header.old_name()])
        .flatten()
        .collect()
}

/// Reads headers: names and values in turn, one character for each byte.
#[napi]
pub fn read_headers(headers: Vec<String>) -> RequestHeaders {
    let values = values(&headers);
    let said = slotwise_wire::headers::RequestHeaders::read(pairs(names(&headers), &values));
    let unusable =
        said.unusable().map(|it| UnusableHeader { name: it.name, error: it.error.into() });
    let text = |text: Option<&str>| text.map(String::from);
    RequestHeaders {
        fairness_id: text(said.fairness_id),
        objective: text(said.objective),
        model_rewrite: text(said.model_rewrite),
        slo_ttft_ms: said.slo_ttft.map(millis),
        slo_tpot_ms: said.slo_tpot.map(millis),
        ttl_ms: said.ttl.map(millis),
        session_id: text(said.session_id),
        session_token: text(said.session_token),
        request_id: text(said.request_id),
        subset: said.subset.map(|subset| subset.as_str().into()),
        priority: said.priority.map(|priority| priority.0.into()),
        load_format: said.load_format.map(LoadFormat::as_str),
        unusable: unusable.collect(),
    }
}

/// The headers of a client's request that go to an engine, and those that the host adds: names and
/// values in turn.
#[napi]
pub fn forwarded_headers(headers: Vec<String>, add: Vec<String>, credentials: bool) -> Vec<String> {
    forwarded(&headers, &add, credentials)
}

pub(crate) fn forwarded(headers: &[String], add: &[String], credentials: bool) -> Vec<String> {
    let values = values(headers);
    let forwarding = Forwarding::of_request(pairs(names(headers), &values));
    passed(headers, &values, &forwarding.credentials(credentials).replacing(added(add)), add)
}

/// The headers of an engine's response that go to the client, and those that the host adds.
#[napi]
pub fn response_headers(headers: Vec<String>, add: Vec<String>) -> Vec<String> {
    let values = values(&headers);
    let forwarding = Forwarding::of_response(pairs(names(&headers), &values));
    passed(&headers, &values, &forwarding.replacing(added(&add)), &add)
}

fn passed(
    headers: &[String],
    values: &[Cow<'_, [u8]>],
    forwarding: &Forwarding<'_>,
    add: &[String],
) -> Vec<String> {
    let pairs = names(headers).zip(headers.iter().skip(1).step_by(2)).zip(values);
    let passed = pairs.filter(|((name, _), octets)| forwarding.passes(name.as_bytes(), octets));
    let added = names(add).zip(add.iter().skip(1).step_by(2));
    passed
        .map(|(pair, _)| pair)
        .chain(added)
        .flat_map(|(name, value)| [name.to_ascii_lowercase(), value.clone()])
        .collect()
}

fn names(headers: &[String]) -> impl Iterator<Item = &str> {
    headers.iter().step_by(2).map(String::as_str)
}

fn added(headers: &[String]) -> impl Iterator<Item = &[u8]> {
    names(headers).map(str::as_bytes)
}

fn values(headers: &[String]) -> Vec<Cow<'_, [u8]>> {
    headers.iter().skip(1).step_by(2).map(|value| octets(value)).collect()
}

/// Names and values together.
pub(crate) fn pairs<'a>(
    names: impl Iterator<Item = &'a str>,
    values: &'a [Cow<'_, [u8]>],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    names.map(str::as_bytes).zip(values.iter().map(|value| &**value))
}

/// The bytes of a header, of which each character is one: what is beyond them was refused.
pub(crate) fn octets(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        Cow::Borrowed(text.as_bytes())
    } else {
        Cow::Owned(text.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect())
    }
}

impl From<WireError> for WireProblem {
    fn from(error: WireError) -> Self {
        Self { offset: error.offset as f64, code: error.problem.code(), message: error.to_string() }
    }
}
