//! A gateway: example-gateway --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080
//! [--kv-events http://10.0.0.1:8000=tcp://10.0.0.1:5557,tcp://10.0.0.1:5558]
mod call;
mod engines;
mod host;
mod kv_events;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use call::Call;
use host::Host;
use slotwise::{Instant, Priority};
use slotwise_gateway::{Exchange, Output};
use slotwise_wire::headers::{Allow, RequestHeaders};
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::request::{Api, PriorityOrder, RequestReader};
use tokio::signal::unix::{SignalKind, signal};

/// Key, flow and priority. They come from the owner of the API key, never from the client. A
/// priority below 0 may be shed under load. Replace the table with your own.
const KEYS: [(&str, &str, i32); 2] = [("key-chat", "chat", 1), ("key-batch", "batch", -1)];

/// One request, from its body to its response.
async fn serve(host: State<Arc<Host>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let Some((_, flow, priority)) = KEYS.iter().find(|(key, ..)| *key == key_of(&headers)) else {
        return error(401, "invalid_api_key");
    };
    let Some(api) = Api::of_path(uri.path()) else { return error(404, "unknown_path") };
    let mut reader = RequestReader::new();
    let Ok(view) = reader.read(api, &body) else { return error(400, "malformed_body") };
    // What a client may set itself. Priority, flow, TTL and deadline are not among them.
    let allow = Allow::default().session();
    let claims = headers.iter().map(|(name, value)| (name.as_ref(), value.as_bytes()));
    let request = view.to_request_allowed(PriorityOrder::LowFirst, &allow);
    let request = RequestHeaders::read(claims).apply_allowed(&allow, Instant::ORIGIN, request);
    let request = request.flow(flow).priority(Priority(*priority));
    let mut call = Call::new(host.0, Exchange::new(BodyShape::of_path(uri.path())));
    loop {
        match call.next().await {
            Some(Output::Dispatch) => call.submit(&request).await,
            Some(Output::Send(to)) => call.send(to.url + uri.path(), body.clone()).await,
            Some(Output::Reply(reply)) => {
                let response = Response::builder().status(reply.status);
                let response = reply
                    .headers
                    .iter()
                    .fold(response, |response, (name, value)| response.header(*name, value));
                let response = response.body(Body::from_stream(call.into_body()));
                return response.unwrap_or_else(|_| error(502, "malformed_answer"));
            }
            _ => return error(502, "unknown_output"),
        }
    }
}

fn key_of(headers: &HeaderMap) -> &str {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

fn error(status: u16, code: &str) -> Response {
    let message = code.replace('_', " ");
    respond(status, format!(r#"{{"error":{{"message":"{message}","code":"{code}"}}}}"#))
}

fn respond(status: u16, json: String) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    response.body(Body::from(json)).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::new()?;
    tokio::spawn(Arc::clone(&host).keep_time());
    for url in argument("--engines").split(',').filter(|url| !url.is_empty()) {
        host.add(url);
    }
    let routes = axum::Router::new()
        .route("/v1/{*api}", post(serve))
        .route("/admin/{verb}", post(engines::admin))
        .route("/metrics", get(engines::metrics))
        .route("/health", get(engines::health))
        .with_state(host);
    let address = ("127.0.0.1", argument("--port").parse().unwrap_or(8080));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // SIGTERM: stops accepting connections, and exits when the last request in flight has ended.
    let mut terminated = signal(SignalKind::terminate())?;
    let ends = async move { _ = terminated.recv().await };
    Ok(axum::serve(listener, routes).with_graceful_shutdown(ends).await?)
}

/// The value of `--name`; empty if it is not given.
fn argument(name: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_default()
}
