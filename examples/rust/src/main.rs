//! A gateway: slotwise-gateway --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080
mod desk;
mod engines;
mod reply;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header::CONTENT_TYPE};
use axum::response::Response;
use axum::routing::{get, post};
use desk::{Desk, Lease};
use engines::{admin, health, metrics};
use futures_util::{StreamExt, stream};
use reply::{error, key_of, refusal, rest};
use slotwise::{EndpointId, Instant, Priority, RejectReason};
use slotwise_wire::headers::{Allow, RequestHeaders};
use slotwise_wire::outcome::{BodyShape, Reason, Refusal};
use slotwise_wire::request::{Api, PriorityOrder, RequestReader};
use slotwise_wire::response::CloseReason;
use tokio::signal::unix::{SignalKind, signal};

/// Key, flow and priority. They come from the owner of the key, never from the client. A priority below 0 may be
/// shed under load. Replace the table with your own.
const KEYS: [(&str, &str, i32); 2] = [("key-chat", "chat", 1), ("key-batch", "batch", -1)];
const ATTEMPTS: usize = 3;
/// Bytes that are held back at most, until it is known whether another endpoint has to be asked.
const LOOK_AHEAD: usize = 65_536;

struct Gateway {
    desk: Arc<Desk>,
    http: reqwest::Client,
    engines: Mutex<HashMap<String, tokio::task::AbortHandle>>,
    scrape_every: Duration,
}
type Shared = State<Arc<Gateway>>;

/// One request, from its body to its response.
async fn serve(State(gateway): Shared, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let Some((_, flow, priority)) = KEYS.iter().find(|(key, ..)| *key == key_of(&headers)) else {
        return error(401, "invalid_api_key");
    };
    let Some(api) = Api::of_path(uri.path()) else { return error(404, "unknown_path") };
    let shape = if api == Api::Messages { BodyShape::Anthropic } else { BodyShape::OpenAi };
    let mut reader = RequestReader::new();
    let Ok(view) = reader.read(api, &body) else { return error(400, "malformed_body") };
    // What counts of a client's own body and headers. Priority, flow, TTL and deadline do not.
    let allow = Allow::default().session();
    let said = RequestHeaders::read(headers.iter().map(|(name, value)| (name.as_ref(), value.as_bytes())));
    let request = view.to_request_allowed(PriorityOrder::LowFirst, &allow);
    let request =
        said.apply_allowed(&allow, Instant::ORIGIN, request).flow(flow).priority(Priority(*priority));
    let (mut tried, mut refused) = (Vec::new(), None);
    while tried.len() < ATTEMPTS {
        let asked = request.clone().exclude(&tried);
        let (lease, endpoint) = match gateway.desk.acquire(&asked).await {
            Ok(acquired) => acquired,
            Err(why) => return refused.unwrap_or_else(|| refusal(&why, shape)),
        };
        match gateway.ask(lease, endpoint, uri.path(), body.clone()).await {
            Ok(response) => return response,
            Err(response) => refused = response.or(refused),
        }
        tried.push(endpoint);
    }
    let why = Refusal::new(Reason::Rejected(RejectReason::NoEndpoints)).retry_after(Duration::from_secs(1));
    refused.unwrap_or_else(|| refusal(&why, shape))
}

impl Gateway {
    /// Asks one endpoint. An error is what the client gets if no other endpoint answers.
    async fn ask(
        &self,
        mut lease: Lease,
        to: EndpointId,
        path: &str,
        body: Bytes,
    ) -> Result<Response, Option<Response>> {
        let url =
            self.desk.tell(|scheduler, _| scheduler.endpoint(to).map(|it| format!("{}{path}", it.name)));
        let request =
            self.http.post(url.unwrap_or_default()).header(CONTENT_TYPE, "application/json").body(body);
        // Resolves with the headers. They come before prefill, so they are not the first token.
        let Ok(mut answer) = request.send().await else {
            lease.finish(CloseReason::Broken);
            return Err(None);
        };
        let mut response = Response::builder().status(answer.status().as_u16());
        for name in ["content-type", "retry-after", "retry-after-ms"] {
            if let Some(value) = answer.headers().get(name) {
                response = response.header(name, value);
            }
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        lease.begin(answer.status().as_u16(), kind.unwrap_or_default());
        let (mut held, mut size, mut begun) = (Vec::new(), 0, false);
        let close = loop {
            if begun || size >= LOOK_AHEAD {
                let first = stream::iter(held.into_iter().map(Ok));
                return response.body(Body::from_stream(first.chain(rest(lease, answer)))).map_err(|_| None);
            }
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    (begun, size) = (lease.feed(&chunk), size + chunk.len());
                    held.push(chunk);
                }
                Ok(None) => break CloseReason::Clean,
                Err(_) => break CloseReason::Broken,
            }
        };
        let (outcome, whole) =
            (lease.finish(close), close == CloseReason::Clean && !answer.status().is_success());
        let response = response.body(Body::from(held.concat())).ok();
        if outcome.may_retry(false) { Err(response.filter(|_| whole)) } else { response.ok_or(None) }
    }
}

/// The value of `--name`.
fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().unwrap_or_else(|| default.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A redirect is an answer: it is not followed. Reads have no time-out: a stream is silent during a long prefill.
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let gateway = Arc::new(Gateway {
        desk: Desk::new(),
        http: http.connect_timeout(Duration::from_secs(5)).build()?,
        engines: Mutex::default(),
        scrape_every: Duration::from_secs_f64(argument("--scrape-every", "1").parse()?),
    });
    argument("--engines", "").split(',').filter(|url| !url.is_empty()).for_each(|url| gateway.add(url));
    let routes = axum::Router::new()
        .route("/v1/{*api}", post(serve))
        .route("/admin/{verb}", post(admin))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .with_state(gateway);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", argument("--port", "8080"))).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // SIGTERM: stops accepting, and ends when what is in flight has.
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, routes).with_graceful_shutdown(async move { _ = terminated.recv().await }).await?;
    Ok(())
}
