//! The pool: the engines, their pages, and the operator's verbs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use slotwise::Endpoint;
use slotwise_wire::exposition::Exposition;
use slotwise_wire::metrics::MetricsReader;

use crate::reply::{error, json, key_of, respond};
use crate::{Gateway, Shared};

const ADMIN_KEY: &str = "key-admin";

impl Gateway {
    /// Reads the page of an engine while it is in the pool. The first page puts it there.
    async fn follow(self: Arc<Self>, url: String) {
        let mut endpoint = None;
        loop {
            let page = async {
                let page = self.http.get(format!("{url}/metrics")).timeout(Duration::from_secs(5)).send();
                let page = page.await.ok()?.error_for_status().ok()?.bytes().await.ok()?;
                MetricsReader::detect().read(&page).ok()
            };
            match (page.await, endpoint) {
                (Some(report), _) => self.desk.tell(|scheduler, now| {
                    let new = || scheduler.add_endpoint(now, report.configure(Endpoint::new(&url))).ok();
                    endpoint = endpoint.or_else(new);
                    endpoint.map(|endpoint| scheduler.handle_load(now, endpoint, report.load()));
                }),
                // A failed scrape is a failed probe: out, until a page or a trial says otherwise.
                (None, Some(endpoint)) => self.desk.tell(|scheduler, now| {
                    let _ = scheduler.handle_probe(now, endpoint, false);
                }),
                (None, None) => {}
            }
            tokio::time::sleep(self.scrape_every).await;
        }
    }

    pub(crate) fn add(self: &Arc<Self>, url: &str) {
        let follower = tokio::spawn(Arc::clone(self).follow(url.to_owned()));
        self.engines.lock().expect("not poisoned").insert(url.to_owned(), follower.abort_handle());
    }
}

/// POST /admin/VERB?engine=URL. An engine that dies needs none of this: it comes back by itself.
///
/// - drain: before work on an engine. What is in flight goes on; stop it when `in_flight` is 0.
/// - resume: afterwards, if the process is the same and so has its cache.
/// - remove, then add: if it was restarted, with an empty cache. Remove alone: it is gone for good.
pub(crate) async fn admin(
    State(gateway): Shared,
    Path(verb): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let url = query.get("engine").map_or("", String::as_str);
    if key_of(&headers) != ADMIN_KEY {
        return error(403, "not_an_admin");
    }
    let known = gateway.engines.lock().expect("not poisoned").contains_key(url);
    let follower = || gateway.engines.lock().expect("not poisoned").remove(url);
    match verb.as_str() {
        "add" if !known => gateway.add(url),
        "remove" => _ = follower().map(|follower| follower.abort()),
        _ => {}
    }
    let done = gateway.desk.tell(|scheduler, now| match (verb.as_str(), scheduler.endpoint_named(url)) {
        ("drain", Some(id)) => scheduler.drain_endpoint(now, id).is_ok(),
        ("resume", Some(id)) => scheduler.resume_endpoint(now, id).is_ok(),
        ("remove", Some(id)) => scheduler.remove_endpoint(now, id).is_ok(),
        (verb, _) => verb == "add" && !known || verb == "remove" && known,
    });
    if !done {
        return error(404, "no_such_verb_or_engine");
    }
    let in_flight = gateway.desk.tell(|scheduler, _| {
        scheduler.endpoint_named(url).and_then(|id| scheduler.in_flight_on(id).ok()).unwrap_or(0)
    });
    json(200, format!(r#"{{"in_flight":{in_flight}}}"#))
}

pub(crate) async fn metrics(State(gateway): Shared) -> Response {
    let mut text = String::new();
    Exposition::new().render(&gateway.desk.tell(|scheduler, _| scheduler.stats()), &mut text);
    respond(200, Exposition::CONTENT_TYPE, text)
}

pub(crate) async fn health(State(gateway): Shared) -> Response {
    let stats = gateway.desk.tell(|scheduler, _| scheduler.stats());
    if stats.endpoints.iter().any(|it| !it.draining) {
        json(200, "{}".into())
    } else {
        error(503, "no_endpoints")
    }
}
