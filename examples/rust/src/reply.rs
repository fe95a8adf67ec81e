//! What clients get: the rest of an answer, or a response of the gateway's own.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::Response;
use futures_util::{Stream, stream};
use slotwise_gateway::Output;
use slotwise_gateway::exchange::Reply;

use crate::desk::Call;

/// The client's response. The exchange ends with its body, or with the client.
pub(crate) fn respond_with(reply: Reply, call: Call) -> Response {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let response = response.body(Body::from_stream(body(call)));
    response.unwrap_or_else(|_| error(502, "malformed_answer"))
}

fn body(call: Call) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(call, |mut call| async move {
        loop {
            match call.exchange.poll() {
                Some(Output::Body(bytes)) => return Some((Ok(bytes.into()), call)),
                Some(Output::End) => return None,
                Some(Output::Break) => {
                    return Some((Err(io::ErrorKind::ConnectionAborted.into()), call));
                }
                Some(_) => call.upstream = None,
                None if call.exchange.has_ended() => return None,
                None => {}
            }
            if let Some(chunk) = call.read().await {
                return Some((Ok(chunk), call));
            }
        }
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

pub(crate) fn respond(status: u16, content_type: &str, body: String) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response.body(Body::from(body)).expect("a valid type")
}
