//! A gateway: example-gateway --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080
mod desk;
mod engines;
mod reply;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header::CONTENT_TYPE};
use axum::response::Response;
use axum::routing::{get, post};
use desk::{Call, Desk};
use engines::{admin, health, metrics};
use reply::{error, key_of, respond_with};
use slotwise::{Failure, Instant, Priority};
use slotwise_gateway::{Exchange, Output};
use slotwise_wire::headers::{Allow, RequestHeaders};
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::request::{Api, PriorityOrder, RequestReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// Key, flow and priority, which belong to the key's owner and never come from the client. A
/// priority below 0 may be shed under load. Replace the table with your own.
const KEYS: [(&str, &str, i32); 2] = [("key-chat", "chat", 1), ("key-batch", "batch", -1)];
const ATTEMPTS: usize = 3;

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
    let mut call = Call::new(&gateway.desk, Exchange::new(shape).attempts(ATTEMPTS));
    loop {
        while let Some(output) = call.exchange.poll() {
            match output {
                Output::Dispatch => {
                    let excluded = call.exchange.excluded().to_vec();
                    call.dispatch(&request.clone().exclude(&excluded)).await;
                }
                Output::Send { url, .. } => gateway.send(&mut call, url, &uri, body.clone()).await,
                Output::Abort => call.upstream = None,
                Output::Reply(reply) => return respond_with(reply, call),
                _ => {}
            }
        }
        call.read().await;
    }
}

impl Gateway {
    /// Sends the request to one endpoint.
    async fn send(&self, call: &mut Call, url: String, uri: &Uri, body: Bytes) {
        let request = self.http.post(format!("{url}{}", uri.path())).body(body);
        let request = request.header(CONTENT_TYPE, "application/json").send();
        // Resolves with the headers. They come before prefill, so they are not the first token.
        let failure = match timeout(call.patience(), request).await {
            Ok(Ok(answer)) => {
                call.exchange.handle_head(answer.status().as_u16(), answer.headers());
                call.upstream = Some(answer);
                return;
            }
            Ok(Err(_)) => Failure::Unreachable,
            Err(_) => Failure::Timeout,
        };
        call.input(|exchange, gateway, now| exchange.handle_unreachable(gateway, now, failure));
    }
}

/// The value of `--name`.
fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().unwrap_or_else(|| default.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A redirect is not followed: it is an answer. Reads have no timeout, since a stream is silent
    // during a long prefill.
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
