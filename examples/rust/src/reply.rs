//! What clients get: the rest of an answer, or a response of the gateway's own.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::Response;
use futures_util::{Stream, stream};
use slotwise_wire::outcome::{BodyShape, Refusal};
use slotwise_wire::response::CloseReason;

use crate::desk::Lease;

/// The rest of an answer. The lease ends with it, or with the client.
pub(crate) fn rest(lease: Lease, answer: reqwest::Response) -> impl Stream<Item = reqwest::Result<Bytes>> {
    stream::unfold((lease, answer), |(mut lease, mut answer)| async move {
        let chunk = answer.chunk().await;
        match &chunk {
            Ok(Some(chunk)) => _ = lease.feed(chunk),
            Ok(None) => _ = lease.finish(CloseReason::Clean),
            Err(_) => _ = lease.finish(CloseReason::Broken),
        }
        chunk.transpose().map(|chunk| (chunk, (lease, answer)))
    })
}

pub(crate) fn key_of(headers: &HeaderMap) -> &str {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

pub(crate) fn json(status: u16, body: String) -> Response {
    respond(status, "application/json", body)
}

pub(crate) fn error(status: u16, code: &str) -> Response {
    json(status, format!(r#"{{"error":{{"message":"{}","code":"{code}"}}}}"#, code.replace('_', " ")))
}

pub(crate) fn refusal(why: &Refusal<'_>, shape: BodyShape) -> Response {
    let named = Response::builder().status(why.status());
    let named = why.headers().fold(named, |named, (name, value)| named.header(name, value.as_ref()));
    named.body(Body::from(why.body(shape))).expect("its headers are valid")
}

pub(crate) fn respond(status: u16, content_type: &str, body: String) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response.body(Body::from(body)).expect("a valid type")
}
