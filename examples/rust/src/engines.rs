//! The pool: the engines, their pages, and the operator's verbs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use slotwise::Endpoint;
use slotwise_wire::exposition::Exposition;
use slotwise_wire::metrics::{MetricsReader, MetricsReport};
use tokio::task::JoinSet;

use crate::host::{Host, lock};
use crate::{argument, error, key_of, kv_events, respond};

const ADMIN_KEY: &str = "key-admin";

impl Host {
    pub(crate) fn add(self: &Arc<Self>, url: &str) {
        let task = tokio::spawn(Arc::clone(self).follow(url.to_owned()));
        lock(&self.engines).insert(url.to_owned(), task.abort_handle());
    }

    /// Scrapes an engine while it is in the pool. Its first page adds it.
    async fn follow(self: Arc<Self>, url: String) {
        let mut endpoint = None;
        let mut events = JoinSet::new(); // ends with this task
        loop {
            let page = self.page(&url).await;
            self.update(|gateway, now| {
                let scheduler = gateway.scheduler_mut();
                if let (Some(page), None) = (&page, endpoint) {
                    let engine = page.configure(Endpoint::new(&url));
                    endpoint = scheduler.add_endpoint(now, engine).ok();
                }
                match (page, endpoint) {
                    (Some(page), Some(id)) => _ = scheduler.handle_load(now, id, page.load()),
                    // No requests until a page or a trial succeeds.
                    (None, Some(id)) => _ = scheduler.handle_probe(now, id, false),
                    (_, None) => {}
                }
            });
            if let (true, Some(id), Some(sockets)) = (events.is_empty(), endpoint, sockets_of(&url))
            {
                events.spawn(kv_events::follow(Arc::clone(&self), id, sockets));
            }
            let seconds = argument("--scrape-every").parse().unwrap_or(1.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    }

    async fn page(&self, url: &str) -> Option<MetricsReport> {
        let page = self.http.get(format!("{url}/metrics")).timeout(Duration::from_secs(5));
        let page = page.send().await.ok()?.error_for_status().ok()?.bytes().await.ok()?;
        MetricsReader::detect().read(&page).ok()
    }
}

/// The sockets of an engine's events and replays, from `--kv-events URL=EVENTS[,REPLAY]`.
fn sockets_of(url: &str) -> Option<(String, String)> {
    let publisher = argument("--kv-events");
    let sockets = publisher.strip_prefix(url)?.strip_prefix('=')?;
    let (events, replay) = sockets.split_once(',').unwrap_or((sockets, ""));
    Some((events.to_owned(), replay.to_owned()))
}

/// POST /admin/VERB?engine=URL. An engine that dies returns to the pool without it.
///
/// - drain: before maintenance. Requests in flight go on; stop the engine when `in_flight` is 0.
/// - resume: after maintenance, if the process and its cache are the same.
/// - remove, then add: after a restart with an empty cache. remove alone: for good.
pub(crate) async fn admin(
    State(host): State<Arc<Host>>,
    Path(verb): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let url = query.get("engine").map_or("", String::as_str);
    if key_of(&headers) != ADMIN_KEY {
        return error(403, "not_an_admin");
    }
    let is_known = lock(&host.engines).contains_key(url);
    match verb.as_str() {
        "add" if !is_known => host.add(url),
        "remove" if is_known => _ = lock(&host.engines).remove(url).map(|task| task.abort()),
        "drain" | "resume" if is_known => {}
        _ => return error(404, "no_such_verb_or_engine"),
    }
    let in_flight = host.update(|gateway, now| {
        let id = gateway.scheduler().endpoint_named(url)?;
        match verb.as_str() {
            "drain" => gateway.scheduler_mut().drain_endpoint(now, id).ok()?,
            "resume" => gateway.scheduler_mut().resume_endpoint(now, id).ok()?,
            "remove" => drop(gateway.remove_endpoint(now, id)),
            _ => {}
        }
        gateway.scheduler().in_flight_on(id).ok()
    });
    respond(200, format!(r#"{{"in_flight":{}}}"#, in_flight.unwrap_or(0)))
}

pub(crate) async fn metrics(State(host): State<Arc<Host>>) -> Response {
    let mut text = String::new();
    let stats = host.update(|gateway, _| gateway.scheduler().stats());
    Exposition::new().render(&stats, &mut text);
    let response = Response::builder().header(CONTENT_TYPE, Exposition::CONTENT_TYPE);
    response.body(Body::from(text)).unwrap_or_default()
}

pub(crate) async fn health(State(host): State<Arc<Host>>) -> Response {
    let stats = host.update(|gateway, _| gateway.scheduler().stats());
    if stats.endpoints.iter().any(|endpoint| !endpoint.draining) {
        respond(200, r#"{"status":"ok"}"#.into())
    } else {
        error(503, "no_endpoints")
    }
}
